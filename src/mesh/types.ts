import type { AuthorizationPolicy, PeerAuthentication, RequestAuthentication } from '../policy/index.ts';

/** What exists now, reduced to the fields that are used. All values are immutable: a change is a new value. */

export type Labels = Readonly<Record<string, string>>;

export interface Namespace {
  readonly kind: 'Namespace';
  readonly name: string;
  readonly labels: Labels;
}

export interface ServiceAccount {
  readonly kind: 'ServiceAccount';
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly annotations: Labels;
}

export interface Pod {
  readonly kind: 'Pod';
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly labels: Labels;
  readonly annotations: Labels;
  /** `default` where the manifest names none. */
  readonly serviceAccount: string;
  /** Empty until scheduled. */
  readonly nodeName: string;
  /** IPs in canonical text form. */
  readonly ips: readonly string[];
  readonly phase: 'Pending' | 'Running' | 'Succeeded' | 'Failed' | 'Unknown';
  /** `metadata.deletionTimestamp` is set. */
  readonly terminating: boolean;
}

export interface Service {
  readonly kind: 'Service';
  readonly namespace: string;
  readonly name: string;
  readonly selector: Labels;
  readonly ports: readonly ServicePort[];
}

export interface ServicePort {
  readonly name: string;
  readonly port: number;
  readonly targetPort: number | string;
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
  readonly appProtocol: string;
}

/** The kinds that select pods by their labels, and what their documents come to. */
interface Policies {
  readonly AuthorizationPolicy: AuthorizationPolicy;
  readonly RequestAuthentication: RequestAuthentication;
  readonly PeerAuthentication: PeerAuthentication;
}

export type PolicyKind = keyof Policies;
export type PolicyOf<K extends PolicyKind> = Policies[K];

/** The mesh's object for a policy: the parsed document, under its kind. */
export type PolicyObject<K extends PolicyKind = PolicyKind> = {
  [Kind in K]: {
    readonly kind: Kind;
    readonly namespace: string;
    readonly name: string;
    readonly policy: PolicyOf<Kind>;
  };
}[K];

export type MeshObject = Namespace | ServiceAccount | Pod | Service | PolicyObject;
export type MeshKind = MeshObject['kind'];

/** `namespace/name`; cluster-scoped kinds have just the name. */
export type ObjectKey = string;

export type MeshChange = {
  [K in MeshKind]: {
    readonly kind: K;
    readonly key: ObjectKey;
    readonly before: Extract<MeshObject, { kind: K }> | undefined;
    readonly after: Extract<MeshObject, { kind: K }> | undefined;
  };
}[MeshKind];

/** One batch that took effect at once. */
export interface MeshNotice {
  /** Grows by one with each batch that changed anything. */
  readonly generation: number;
  readonly changes: readonly MeshChange[];
}

/** One wish of a source. A `set` with an equal object, or a `delete` of what is not there, changes nothing. */
export type MeshUpdate =
  | { readonly op: 'set'; readonly object: MeshObject }
  | { readonly op: 'delete'; readonly kind: MeshKind; readonly key: ObjectKey };

/** The object type of one kind. */
export type ObjectOf<K extends MeshKind> = Extract<MeshObject, { kind: K }>;

/** What selects policies: a pod, or the labels of one that may exist. */
export interface PolicySubject {
  readonly namespace: string;
  readonly labels: Labels;
}

/** What selects workloads: a policy, or a selector that may become one. */
export interface PolicySelector {
  readonly namespace: string;
  readonly selector: Labels;
}

export interface MeshOptions {
  /** A policy in this namespace reaches every namespace. */
  readonly rootNamespace: string;
  /** Told of a listener that threw; the others have been or will be called. Default: a process warning. */
  readonly onListenerError?: (error: unknown) => void;
}
