import { isDeepStrictEqual } from 'node:util';
import { fieldsAt, isFields, textAt } from '../../kubernetes/index.ts';
import type { Fields } from '../../kubernetes/index.ts';
import { namespacedKey, readPolicy } from '../../mesh/index.ts';
import type { MeshUpdate, ObjectKey, PolicyKind, ReadPolicy } from '../../mesh/index.ts';
import type { ParseOptions } from '../../policy/index.ts';
import { PLURALS } from './policy-kinds.ts';
import type { PolicyGroup } from './policy-kinds.ts';
import type { PolicyShelf } from './policy-shelf.ts';
import type { Store } from './store.ts';
import type { KubernetesReport, PolicyStatus } from './types.ts';

/** A policy as it came. */
export interface PolicyItem {
  readonly key: ObjectKey;
  readonly about: Pick<PolicyStatus, 'namespace' | 'name' | 'uid' | 'generation' | 'resourceVersion'>;
  readonly read: ReadPolicy;
  /** What it was read from, without what is not looked at. */
  readonly document: Fields;
}

export interface PolicyStoreOptions {
  readonly kind: PolicyKind;
  readonly group: PolicyGroup;
  /** Shared with the other group's store of the kind. */
  readonly shelf: PolicyShelf;
  readonly parse: ParseOptions;
  readonly onReport: (report: KubernetesReport) => void;
}

/** The policies of one kind and group: what cannot be used leaves the last good version of that object in force. */
export class PolicyStore implements Store<PolicyItem> {
  readonly resource: string;
  /** As in the paths of the API. */
  readonly plural: string;
  readonly group: PolicyGroup;
  readonly #options: PolicyStoreOptions;

  constructor(options: PolicyStoreOptions) {
    this.#options = options;
    this.plural = PLURALS[options.kind];
    this.group = options.group;
    this.resource = `${this.plural}.${this.group}`;
  }

  read(object: Fields): PolicyItem {
    const { kind, group, parse } = this.#options;
    const metadata = fieldsAt(object, 'metadata');
    const namespace = textAt(metadata, 'namespace') ?? '';
    const name = textAt(metadata, 'name') ?? '';
    const document = { ...object, apiVersion: `${group}/v1`, kind };
    return {
      key: namespacedKey(namespace, name),
      about: {
        namespace,
        name,
        uid: textAt(metadata, 'uid') ?? '',
        generation: typeof metadata['generation'] === 'number' ? metadata['generation'] : 0,
        resourceVersion: textAt(metadata, 'resourceVersion') ?? '',
      },
      read: readPolicy(kind, document, parse),
      document: trimmed(document),
    };
  }

  replaced(items: readonly PolicyItem[]): MeshUpdate[] {
    const { shelf, group } = this.#options;
    const gone = new Set(shelf.keys(group));
    for (const { key } of items) gone.delete(key);
    return [...[...gone].flatMap((key) => this.#remove(key)), ...items.flatMap((item) => this.set(item))];
  }

  set({ key, about, read, document }: PolicyItem): MeshUpdate[] {
    const { shelf, group, kind } = this.#options;
    const before = shelf.get(group, key);
    // Of this object: one that was made anew under the name inherits nothing.
    const earlier = before?.status.uid === about.uid ? before.good : undefined;
    const { object, issues } = read;
    const good = object === undefined ? earlier : { object, document };
    const status: PolicyStatus = {
      ...about,
      resource: this.resource,
      kind,
      ok: object !== undefined,
      issues,
      inForce: object !== undefined ? 'this' : good === undefined ? 'none' : 'earlier',
      key: shelf.keyOf(group, key),
    };
    const updates = shelf.put(group, key, { status, good });
    if (before === undefined || !saysTheSame(before.status, status)) {
      this.#options.onReport({ kind: 'policy', status });
    }
    return updates;
  }

  deleted({ key }: PolicyItem): MeshUpdate[] {
    return this.#remove(key);
  }

  /** What each object's status should say. */
  *statuses(): Generator<PolicyStatus, void, undefined> {
    const { shelf, group } = this.#options;
    for (const { status } of shelf.entries(group)) {
      yield { ...status, key: shelf.keyOf(group, namespacedKey(status.namespace, status.name)) };
    }
  }

  /** The documents that are in force. */
  get documents(): readonly Fields[] {
    return [...this.#options.shelf.entries(this.#options.group)].flatMap(({ good }) =>
      good === undefined ? [] : [good.document],
    );
  }

  #remove(key: ObjectKey): MeshUpdate[] {
    const { shelf, group, onReport } = this.#options;
    const before = shelf.get(group, key);
    if (before === undefined) return [];
    const updates = shelf.put(group, key, undefined);
    onReport({ kind: 'policy-gone', status: before.status });
    return updates;
  }
}

/** A status that was written is a change of the object too, and nothing to tell of. */
function saysTheSame(a: PolicyStatus, b: PolicyStatus): boolean {
  return (
    a.uid === b.uid &&
    a.generation === b.generation &&
    a.ok === b.ok &&
    a.inForce === b.inForce &&
    a.key === b.key &&
    isDeepStrictEqual(a.issues, b.issues)
  );
}

function trimmed(document: Fields): Fields {
  const metadata = Object.entries(fieldsAt(document, 'metadata')).filter(([name]) => KEPT.has(name));
  const { apiVersion, kind, spec } = document;
  return {
    apiVersion,
    kind,
    metadata: Object.fromEntries(
      metadata.map(([name, value]) => [name, name === 'annotations' ? annotations(value) : value]),
    ),
    ...(spec !== undefined && { spec }),
  };
}

const KEPT: ReadonlySet<string> = new Set([
  'namespace',
  'name',
  'uid',
  'generation',
  'resourceVersion',
  'creationTimestamp',
  'annotations',
]);

/** kubectl's copy of the whole document is not needed twice. */
function annotations(value: unknown): unknown {
  if (!isFields(value)) return value;
  return Object.fromEntries(
    Object.entries(value).filter(([name]) => name !== 'kubectl.kubernetes.io/last-applied-configuration'),
  );
}
