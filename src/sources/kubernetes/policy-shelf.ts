import { createHash } from 'node:crypto';
import type { Fields } from '../../kubernetes/index.ts';
import { namespacedKey, renamedPolicy } from '../../mesh/index.ts';
import type { MeshUpdate, ObjectKey, PolicyKind, PolicyObject } from '../../mesh/index.ts';
import { POLICY_GROUPS } from './policy-kinds.ts';
import type { PolicyGroup } from './policy-kinds.ts';
import type { PolicyStatus } from './types.ts';

/** One policy object of the API server. */
export interface ShelfEntry {
  readonly status: PolicyStatus;
  /** The last version that could be used, and the document that it came from; undefined: there was none. */
  readonly good: { readonly object: PolicyObject; readonly document: Fields } | undefined;
}

const [OWN, OTHER] = POLICY_GROUPS;

/**
 * The policies of one kind, of both groups. Two of one name are two policies, and both count: to leave one out could
 * leave out a denial. In the mesh, the other group's is then known as `name@security.istio.io`, which is no name that
 * an object can have.
 */
export class PolicyShelf {
  readonly #kind: PolicyKind;
  readonly #entries: Readonly<Record<PolicyGroup, Map<ObjectKey, ShelfEntry>>> = {
    [OWN]: new Map(),
    [OTHER]: new Map(),
  };

  constructor(kind: PolicyKind) {
    this.#kind = kind;
  }

  get(group: PolicyGroup, key: ObjectKey): ShelfEntry | undefined {
    return this.#entries[group].get(key);
  }

  keys(group: PolicyGroup): Iterable<ObjectKey> {
    return this.#entries[group].keys();
  }

  entries(group: PolicyGroup): Iterable<ShelfEntry> {
    return this.#entries[group].values();
  }

  /** Undefined: there is no such object. */
  put(group: PolicyGroup, key: ObjectKey, entry: ShelfEntry | undefined): MeshUpdate[] {
    if (entry === undefined) this.#entries[group].delete(key);
    else this.#entries[group].set(key, entry);
    const own = this.get(OWN, key)?.good?.object;
    const other = this.get(OTHER, key)?.good?.object;
    const twin = own !== undefined && other !== undefined ? renamed(other) : undefined;
    return [this.#update(key, own ?? other), this.#update(twinKey(key), twin)];
  }

  /** The mesh's key of what is in force of a group's object. */
  keyOf(group: PolicyGroup, key: ObjectKey): ObjectKey {
    return group === OTHER && this.get(OWN, key)?.good !== undefined ? twinKey(key) : key;
  }

  #update(key: ObjectKey, object: PolicyObject | undefined): MeshUpdate {
    return object === undefined ? { op: 'delete', kind: this.#kind, key } : { op: 'set', object };
  }
}

function twinKey(key: ObjectKey): ObjectKey {
  return `${key}@${OTHER}`;
}

function renamed(object: PolicyObject): PolicyObject {
  const name = `${object.name}@${OTHER}`;
  // Another name is another meaning: it stands in the names of the rules.
  const meaning = `${object.policy.digest} ${namespacedKey(object.namespace, name)}`;
  return renamedPolicy(object, name, createHash('sha256').update(meaning).digest('hex'));
}
