import type { LocalAttestor, LocalIssuer } from '../../src/attestation/index.ts';
import type { Authority, KeyStore } from '../../src/authority/index.ts';
import type { StreamStatus } from '../../src/discovery/index.ts';
import type { SpiffeId } from '../../src/identity/index.ts';
import type { LinkFacts } from '../../src/expiry/index.ts';
import type { Mesh } from '../../src/mesh/index.ts';
import type { Proxies } from '../../src/proxy/index.ts';
import type { Report } from '../../src/status/index.ts';
import type { ControlPlaneConfig } from './config.ts';
import type { OwnCertificates } from './expiry.ts';
import type { LiveSettings } from './live-settings.ts';
import type { Witnesses } from './observers.ts';
import type { CaSource } from './own-ca.ts';
import type { Quarantine } from './quarantine.ts';
import type { PolicyWarnings } from './policy-warnings.ts';
import type { RootRotation } from './root-rotation.ts';

/** Where pods and policies come from, and who vouches for tokens: a directory of manifests, or an API server. */
export interface Home {
  readonly attestor: LocalAttestor;
  /** Of the directory alone: elsewhere the API server issues the tokens. */
  readonly issuer: LocalIssuer | undefined;
  /** Where the operator's CA comes from; undefined: there is none. */
  readonly caSource: CaSource | undefined;
  /** By what tokens and streams are judged: nothing lives longer than any clock that is known of says. */
  readonly nowMs: () => number;
  /** Why nothing may be dated by the own clock now, for people. Undefined: it may. */
  readonly clockFault: () => string | undefined;
  /** By what the entries of the quarantine end, ms since the epoch. Undefined: nobody can tell what has ended. */
  readonly endingMs: () => number | undefined;
  /** What callers' tokens are verified with. */
  readonly tokenKeys: () => LinkFacts;
  /** Where the root is kept. */
  readonly rootStore: KeyStore;
  /** Resolves when the mesh holds what there is; it is kept so from then on. */
  fill(): Promise<void>;
  /** From here on it takes its part among the replicas: everything is wired, and it serves. */
  join(wired: Wired): Promise<void>;
  /** Whether this replica does what one of all does alone. */
  leads(): boolean;
  /** Another CA of the operator's is at hand. */
  caPlugged(): void;
  /** A stream came or went, or an Envoy answered. */
  streamsChanged(): void;
  /** Why other replicas may not know who is in quarantine here; undefined: they do, or there are none. */
  quarantineUnshared(): string | undefined;
  /** What the other replicas that live say of their own Envoys, by identity. */
  otherReports(): ReadonlyMap<string, Report>;
  /** Why some Envoys may be spoken for by nobody, a line each. */
  silentReplicas(): readonly string[];
}

/** What a home is told of the rest. */
export interface Wired {
  readonly authority: Authority;
  readonly proxies: Proxies;
  readonly streams: () => readonly StreamStatus[];
  readonly rotation: RootRotation;
  readonly warnings: PolicyWarnings;
  readonly live: LiveSettings;
  readonly own: OwnCertificates;
  /** Of the control plane itself. */
  readonly id: SpiffeId;
}

/** What `/readyz` says. */
export interface Tell {
  /** What is waited for. */
  readonly starting: (step: string) => void;
  /** What there is to say though it serves; undefined: nothing any more. */
  readonly remark: (name: string, what: string | undefined) => void;
  /** Why it does not serve though it started; undefined: it does again. */
  readonly unready: (name: string, what: string | undefined) => void;
}

export interface HomeOptions {
  readonly config: ControlPlaneConfig;
  readonly mesh: Mesh;
  readonly witnesses: Witnesses;
  readonly tell: Tell;
  /** Aborted where the start is given up. */
  readonly signal: AbortSignal;
  readonly quarantine: Quarantine;
  /** What was opened is closed by these, the last first. */
  readonly closers: (() => void | Promise<void>)[];
}
