import { isDeepStrictEqual } from 'node:util';
import type { AuthorizationPolicy, PeerAuthentication, RequestAuthentication } from '../policy/index.ts';
import { keyOf, MESH_KINDS } from './keys.ts';
import { Notices } from './notices.ts';
import { PodIndex } from './pod-index.ts';
import { PolicyIndex } from './policy-index.ts';
import type {
  MeshChange,
  MeshKind,
  MeshNotice,
  MeshObject,
  MeshOptions,
  MeshUpdate,
  ObjectKey,
  ObjectOf,
  Pod,
  PolicySelector,
  PolicySubject,
} from './types.ts';

/**
 * What exists now. Sources write whole batches; readers see a batch entirely or not at all:
 *
 *   update(batch) -> objects by kind and key -> indexes -> one notice -> listeners
 *
 * Listeners are called synchronously, in the order of the generations. One that calls `update` itself has its
 * notice delivered after the present one has reached everybody.
 */
export class Mesh {
  readonly #objects: ReadonlyMap<MeshKind, Map<ObjectKey, MeshObject>> = new Map(
    MESH_KINDS.map((kind) => [kind, new Map<ObjectKey, MeshObject>()]),
  );
  readonly #pods: PodIndex;
  readonly #policies: PolicyIndex;
  readonly #notices: Notices;
  #generation = 0;

  constructor(options: MeshOptions) {
    this.#pods = new PodIndex(options.rootNamespace);
    this.#policies = new PolicyIndex(options.rootNamespace);
    this.#notices = new Notices(options.onListenerError);
  }

  /** 0 while empty; grows by one with each batch that changed anything. */
  get generation(): number {
    return this.#generation;
  }

  /** Pods and policies looked at by lookups so far: grows with what was asked, not with what exists. */
  get examined(): number {
    return this.#policies.examined + this.#pods.byLabels.examined;
  }

  /**
   * Applies a batch at once. Several updates of one object count as their last.
   * @returns what changed; undefined when nothing did.
   */
  update(updates: readonly MeshUpdate[]): MeshNotice | undefined {
    const changes = this.#changesOf(updates);
    if (changes.length === 0) return undefined;
    for (const change of changes) this.#apply(change);
    this.#generation += 1;
    const notice: MeshNotice = { generation: this.#generation, changes };
    this.#notices.deliver(notice);
    return notice;
  }

  get<K extends MeshKind>(kind: K, key: ObjectKey): ObjectOf<K> | undefined {
    const found = this.#of(kind).get(key);
    return found !== undefined && isKind(kind, found) ? found : undefined;
  }

  /** All of a kind, in no particular order. A copy: it does not change under the reader. */
  list<K extends MeshKind>(kind: K): readonly ObjectOf<K>[] {
    return [...this.#of(kind).values()].filter((object) => isKind(kind, object));
  }

  count(kind: MeshKind): number {
    return this.#of(kind).size;
  }

  /** @returns the function that stops it; it may be called from within the listener. */
  subscribe(listener: (notice: MeshNotice) => void): () => void {
    return this.#notices.subscribe(listener);
  }

  /** Undefined also when two pods claim the same UID. */
  podByUid(uid: string): Pod | undefined {
    return this.#pods.byUid(uid);
  }

  /** `ip` in canonical text form. Several: host network, or a finished pod whose address was given away again. */
  podsByIp(ip: string): readonly Pod[] {
    return this.#pods.byIp(ip);
  }

  podsOfServiceAccount(namespace: string, name: string): readonly Pod[] {
    return this.#pods.byServiceAccount(namespace, name);
  }

  /** The policies that select this pod, the root namespace's included, ordered by namespace and name. */
  policiesOf(subject: PolicySubject): readonly AuthorizationPolicy[] {
    return this.#policies.matching('AuthorizationPolicy', subject).sort(byNamespaceAndName);
  }

  /** As `policiesOf`. */
  requestAuthenticationsOf(subject: PolicySubject): readonly RequestAuthentication[] {
    return this.#policies.matching('RequestAuthentication', subject).sort(byNamespaceAndName);
  }

  /** As `policiesOf`. */
  peerAuthenticationsOf(subject: PolicySubject): readonly PeerAuthentication[] {
    return this.#policies.matching('PeerAuthentication', subject).sort(byNamespaceAndName);
  }

  /** The pods that this policy selects, ordered by namespace and name. The policy need not be in the mesh. */
  workloadsOf(policy: PolicySelector): readonly Pod[] {
    return this.#pods.byLabels.selectedBy(policy).sort(byNamespaceAndName);
  }

  /**
   * Keys of the pods that exist and may have other policies than before this notice: selected by a policy's old or
   * new form, new under their name, or with other labels.
   */
  podsAffectedBy(notice: MeshNotice): ReadonlySet<ObjectKey> {
    const affected = new Set<ObjectKey>();
    for (const change of notice.changes) {
      if (change.kind === 'Pod') {
        if (change.after !== undefined && isOtherSubject(change.before, change.after))
          affected.add(change.key);
        continue;
      }
      for (const form of [change.before, change.after]) {
        if (form === undefined || !('policy' in form)) continue;
        for (const pod of this.#pods.byLabels.selectedBy(form.policy)) affected.add(keyOf(pod));
      }
    }
    return affected;
  }

  #of(kind: MeshKind): Map<ObjectKey, MeshObject> {
    const objects = this.#objects.get(kind);
    if (objects === undefined)
      throw new TypeError(`${kind} is no kind of the mesh: ${MESH_KINDS.join(', ')} are`);
    return objects;
  }

  #changesOf(updates: readonly MeshUpdate[]): MeshChange[] {
    const wanted = new Map<string, { kind: MeshKind; key: ObjectKey; after: MeshObject | undefined }>();
    for (const update of updates) {
      const kind = update.op === 'set' ? update.object.kind : update.kind;
      const key = update.op === 'set' ? keyOf(update.object) : update.key;
      wanted.set(`${kind} ${key}`, { kind, key, after: update.op === 'set' ? update.object : undefined });
    }
    const changes: MeshChange[] = [];
    for (const { kind, key, after } of wanted.values()) {
      const before = this.#of(kind).get(key);
      if (!isDeepStrictEqual(before, after)) changes.push(changeOf(kind, key, before, after));
    }
    return changes;
  }

  #apply(change: MeshChange): void {
    const objects = this.#of(change.kind);
    if (change.after === undefined) objects.delete(change.key);
    else objects.set(change.key, change.after);
    if (change.kind === 'Pod') this.#pods.replace(change.before, change.after);
    else this.#policies.apply(change);
  }
}

function isKind<K extends MeshKind>(kind: K, object: MeshObject): object is ObjectOf<K> {
  return object.kind === kind;
}

/** The one place where kind, before and after are joined; `#of(kind)` holds objects of that kind only. */
function changeOf(
  kind: MeshKind,
  key: ObjectKey,
  before: MeshObject | undefined,
  after: MeshObject | undefined,
): MeshChange {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return { kind, key, before, after } as MeshChange;
}

function isOtherSubject(before: Pod | undefined, after: Pod): boolean {
  return before === undefined || before.uid !== after.uid || !isDeepStrictEqual(before.labels, after.labels);
}

interface Named {
  readonly namespace: string;
  readonly name: string;
}

/** By code units: the same on every machine, whatever its locale. */
function byNamespaceAndName(a: Named, b: Named): number {
  return compare(a.namespace, b.namespace) || compare(a.name, b.name);
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
