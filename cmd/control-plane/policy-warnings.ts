import { isDeepStrictEqual } from 'node:util';
import {
  POLICY_KINDS,
  type Mesh,
  type MeshChange,
  type MeshKind,
  type MeshNotice,
  type PolicyKind,
} from '../../src/mesh/index.ts';
import {
  lintAuthn,
  lintTogether,
  type AuthnIssue,
  type AuthnSurroundings,
  type AuthorizationPolicy,
  type MeshSettings,
  type PeerAuthentication,
  type RequestAuthentication,
  type Surroundings,
} from '../../src/policy/index.ts';
import { isTcp } from '../authz-surroundings.ts';
import type { LiveSettings } from './live-settings.ts';

/** After the push, and once for changes that come together: a namespace arrives as several files. Milliseconds. */
const DELAY_MS = 1_000;
/** Of the time, at most one part in so many goes into judging: pods come and go all day. */
const SHARE = 50;
/** Of rules and values, at one time: warnings must not keep the control plane from its work. */
const COMPARISONS = 200_000;

/** The part of a log that warnings go to. */
export interface Warned {
  readonly warn: (about: object, message: string) => void;
}

/**
 * Warns of policies of all kinds that are legal and hardly meant, when they or what they are judged by change: other
 * policies, pods, Services, service accounts, namespaces, the settings. What was said of a policy before is not said
 * again.
 *
 * @returns the function that stops it.
 */
export function watchPolicies(mesh: Mesh, settings: LiveSettings, log: Warned): () => void {
  const changed = new Changed(settings);
  const said = new Map<string, ReadonlySet<string>>();
  let timer: NodeJS.Timeout | undefined;
  let earliestMs = 0;
  const judge = (): void => {
    timer = undefined;
    const begunMs = performance.now();
    const documents = new Map(POLICY_KINDS.flatMap((kind) => [...named(mesh, kind)]));
    const judged = changed.take(documents.values());
    const findings = Map.groupBy(findingsOf(mesh, settings.current, documents, judged), ({ policy }) =>
      idOf(documents.get(policy)),
    );
    for (const id of judged) {
      const before = said.get(id);
      const lines = new Set<string>();
      for (const { policy, code, path, message } of findings.get(id) ?? []) {
        const line = `${path}: ${message}`;
        lines.add(line);
        const { kind, key } = documents.get(policy) ?? {};
        if (before?.has(line) !== true) log.warn({ kind, policy: key, field: path, code }, message);
      }
      if (lines.size === 0) said.delete(id);
      else said.set(id, lines);
    }
    const nowMs = performance.now();
    earliestMs = nowMs + SHARE * (nowMs - begunMs);
  };
  const soon = (): void => {
    const delayMs = Math.max(DELAY_MS, earliestMs - performance.now());
    if (!changed.empty) timer ??= setTimeout(judge, delayMs).unref();
  };
  const unsubscribe = mesh.subscribe((notice: MeshNotice) => {
    changed.add(notice);
    soon();
  });
  const unsubscribeSettings = settings.onChange(() => {
    changed.addAll();
    soon();
  });
  return () => {
    unsubscribe();
    unsubscribeSettings();
    clearTimeout(timer);
  };
}

type Document = AuthorizationPolicy | RequestAuthentication | PeerAuthentication;

/** What a policy is known by. */
interface Named {
  readonly kind: PolicyKind;
  readonly namespace: string;
  readonly key: string;
}

function named(mesh: Mesh, kind: PolicyKind): (readonly [Document, Named])[] {
  return [...mesh.list(kind)].map(({ policy, namespace, name }) => [
    policy,
    { kind, namespace, key: `${namespace}/${name}` },
  ]);
}

function idOf(document: Pick<Named, 'kind' | 'key'> | undefined): string {
  return document === undefined ? '' : `${document.kind} ${document.key}`;
}

/** What is to be judged anew: policies that changed, and all of the namespaces in which anything did. */
class Changed {
  readonly #settings: LiveSettings;
  readonly #ids = new Set<string>();
  readonly #namespaces = new Set<string>();
  #all = false;

  constructor(settings: LiveSettings) {
    this.#settings = settings;
  }

  get empty(): boolean {
    return !this.#all && this.#ids.size === 0 && this.#namespaces.size === 0;
  }

  add({ changes }: MeshNotice): void {
    for (const change of changes) {
      if (meansNothing(change)) continue;
      const { kind, key } = change;
      const [namespace = ''] = key.split('/');
      if (isPolicy(kind)) this.#ids.add(idOf({ kind, key }));
      // Whoever names a caller may name this one.
      if (kind === 'ServiceAccount' || kind === 'Namespace') this.#all = true;
      else this.#namespaces.add(namespace);
    }
  }

  addAll(): void {
    this.#all = true;
  }

  /** Their ids; those that are gone included. */
  take(documents: Iterable<Named>): ReadonlySet<string> {
    const { rootNamespace } = this.#settings.current;
    const all = this.#all || this.#namespaces.has(rootNamespace);
    const ids = new Set(this.#ids);
    for (const document of documents) {
      const { namespace } = document;
      if (all || namespace === rootNamespace || this.#namespaces.has(namespace)) ids.add(idOf(document));
    }
    this.#ids.clear();
    this.#namespaces.clear();
    this.#all = false;
    return ids;
  }
}

/** Pods tell of their phase all day; who they are stays. */
function meansNothing({ kind, before, after }: MeshChange): boolean {
  if (before === undefined || after === undefined) return false;
  if (kind === 'ServiceAccount' || kind === 'Namespace') return true;
  return kind === 'Pod' && isDeepStrictEqual(before.labels, after.labels);
}

function isPolicy(kind: MeshKind): kind is PolicyKind {
  return (POLICY_KINDS as readonly string[]).includes(kind);
}

function findingsOf(
  mesh: Mesh,
  settings: MeshSettings,
  documents: ReadonlyMap<Document, Named>,
  ids: ReadonlySet<string>,
): AuthnIssue[] {
  const judged = (policy: Document): boolean => ids.has(idOf(documents.get(policy)));
  const policies = [...mesh.list('AuthorizationPolicy')].map(({ policy }) => policy);
  const surroundings = surroundingsOf(mesh, settings);
  const authn = lintAuthn(
    {
      policies: policies.filter(judged),
      requestAuthentications: [...mesh.list('RequestAuthentication')].map(({ policy }) => policy),
      peerAuthentications: [...mesh.list('PeerAuthentication')].map(({ policy }) => policy),
    },
    surroundings,
  );
  return [
    ...lintTogether(policies, { ...surroundings, judged, comparisons: COMPARISONS }),
    ...authn.filter(({ policy }) => judged(policy)),
  ];
}

function surroundingsOf(mesh: Mesh, settings: MeshSettings): Surroundings & AuthnSurroundings {
  const services = Map.groupBy(mesh.list('Service'), ({ namespace }) => namespace);
  return {
    rootNamespace: settings.rootNamespace,
    trustDomains: [settings.trustDomain, ...(settings.trustDomainAliases ?? [])],
    providers: (settings.authorizers ?? []).map(({ name }) => name),
    ...(mesh.count('Namespace') > 0 && {
      hasNamespace: (name): boolean => mesh.get('Namespace', name) !== undefined,
    }),
    // Kubernetes itself makes this one in every namespace.
    hasServiceAccount: (namespace, name): boolean =>
      name === 'default' || mesh.get('ServiceAccount', `${namespace}/${name}`) !== undefined,
    selectsAny: (policy): boolean => mesh.workloadsOf(policy).length > 0,
    tcpPorts: (policy): readonly number[] => {
      const ports = new Set<number>();
      for (const { namespace, labels } of mesh.workloadsOf(policy)) {
        for (const { selector, ports: served } of services.get(namespace) ?? []) {
          const wanted = Object.entries(selector);
          if (wanted.length === 0 || !wanted.every(([name, value]) => labels[name] === value)) continue;
          for (const { name, appProtocol, port, targetPort } of served)
            if (isTcp(name, appProtocol)) ports.add(typeof targetPort === 'number' ? targetPort : port);
        }
      }
      return [...ports].toSorted((a, b) => a - b);
    },
  };
}
