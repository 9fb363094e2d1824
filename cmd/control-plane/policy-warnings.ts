import {
  POLICY_KINDS,
  type Mesh,
  type ObjectKey,
  type PolicyKind,
  type PolicyOf,
} from '../../src/mesh/index.ts';
import {
  lintAuthn,
  lintTogether,
  type AuthnIssue,
  type Issue,
  type MeshSettings,
} from '../../src/policy/index.ts';
import type { LiveSettings } from './live-settings.ts';
import { Changed, idOf, named, type Document, type Named } from './policy-changes.ts';
import { surroundingsOf } from './policy-surroundings.ts';

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
 */
export class PolicyWarnings {
  readonly #mesh: Mesh;
  readonly #settings: LiveSettings;
  readonly #log: Warned;
  readonly #unsubscribe: readonly (() => void)[];
  readonly #changed: Changed;
  /** By kind and key. */
  readonly #found = new Map<string, readonly Issue[]>();
  readonly #listeners = new Set<() => void>();
  #timer: NodeJS.Timeout | undefined;
  #earliestMs = 0;

  constructor(mesh: Mesh, settings: LiveSettings, log: Warned) {
    this.#mesh = mesh;
    this.#settings = settings;
    this.#log = log;
    this.#changed = new Changed(settings);
    this.#unsubscribe = [
      mesh.subscribe((notice) => {
        this.#changed.add(notice);
        this.#soon();
      }),
      settings.onChange(() => {
        this.#changed.addAll();
        this.#soon();
      }),
    ];
  }

  /** Of a policy, by the mesh's key. */
  of(kind: PolicyKind, key: ObjectKey): readonly Issue[] {
    return this.#found.get(idOf({ kind, key })) ?? [];
  }

  onChange(listener: () => void): void {
    this.#listeners.add(listener);
  }

  close(): void {
    for (const stop of this.#unsubscribe) stop();
    clearTimeout(this.#timer);
  }

  #soon(): void {
    if (this.#changed.empty) return;
    const delayMs = Math.max(DELAY_MS, this.#earliestMs - performance.now());
    this.#timer ??= setTimeout(() => this.#judge(), delayMs).unref();
  }

  #judge(): void {
    this.#timer = undefined;
    const begunMs = performance.now();
    const documents = new Map(POLICY_KINDS.flatMap((kind) => [...named(this.#mesh, kind)]));
    const judged = this.#changed.take(documents.values());
    const issues = findingsOf(this.#mesh, this.#settings.current, documents, judged);
    const findings = Map.groupBy(issues, ({ policy }) => idOf(documents.get(policy)));
    for (const id of judged) this.#tell(id, findings.get(id) ?? [], documents);
    for (const listener of this.#listeners) listener();
    const nowMs = performance.now();
    this.#earliestMs = nowMs + SHARE * (nowMs - begunMs);
  }

  #tell(id: string, found: readonly AuthnIssue[], documents: ReadonlyMap<Document, Named>): void {
    const before = new Set(this.#found.get(id)?.map(lineOf));
    for (const issue of found) {
      if (before.has(lineOf(issue))) continue;
      const { kind, key } = documents.get(issue.policy) ?? {};
      this.#log.warn({ kind, policy: key, field: issue.path, code: issue.code }, issue.message);
    }
    if (found.length === 0) this.#found.delete(id);
    else this.#found.set(id, found);
  }
}

function lineOf({ path, message }: Issue): string {
  return `${path}: ${message}`;
}

/** A document of any kind. */
type Judged = { [K in PolicyKind]: { readonly kind: K; readonly policy: PolicyOf<K> } }[PolicyKind];

/** What lints say of a document that is not in the mesh yet, beside those that are. */
export function warningsOf(
  { kind, policy }: Judged,
  mesh: Mesh,
  settings: MeshSettings,
  comparisons: number,
): readonly Issue[] {
  const { rootNamespace } = settings;
  const surroundings = {
    ...surroundingsOf(mesh, settings),
    judged: (each: Document): boolean => each === policy,
  };
  const documents = { policies: [], requestAuthentications: [], peerAuthentications: [] };
  const isFormer = former(policy);
  switch (kind) {
    case 'AuthorizationPolicy': {
      const others = [...mesh.list(kind)].flatMap(({ policy: other }) => {
        const near = other.namespace === policy.namespace || other.namespace === rootNamespace;
        return near && !isFormer(other) ? [other] : [];
      });
      const requestAuthentications = [...mesh.list('RequestAuthentication')].map((each) => each.policy);
      return [
        ...lintTogether([...others, policy], { ...surroundings, comparisons }),
        ...lintAuthn({ ...documents, policies: [policy], requestAuthentications }, surroundings),
      ];
    }
    case 'RequestAuthentication':
      return lintAuthn({ ...documents, requestAuthentications: [policy] }, surroundings);
    default: {
      const others = [...mesh.list(kind)].map((each) => each.policy).filter((other) => !isFormer(other));
      return lintAuthn({ ...documents, peerAuthentications: [...others, policy] }, surroundings);
    }
  }
}

/** Whether another one is the version that this one replaces. */
function former({ apiGroup, namespace, name }: Document): (other: Document) => boolean {
  return (other) =>
    other.apiGroup === apiGroup && other.namespace === namespace && other.name.split('@')[0] === name;
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
      policies,
      requestAuthentications: [...mesh.list('RequestAuthentication')].map(({ policy }) => policy),
      peerAuthentications: [...mesh.list('PeerAuthentication')].map(({ policy }) => policy),
    },
    { ...surroundings, judged },
  );
  return [...lintTogether(policies, { ...surroundings, judged, comparisons: COMPARISONS }), ...authn];
}
