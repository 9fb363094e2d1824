import type { Fields } from '../../kubernetes/index.ts';
import { fieldsAt, textAt } from '../../kubernetes/index.ts';
import { keyOf } from '../../mesh/index.ts';
import type { MeshKind, MeshObject, MeshUpdate, ObjectKey, PolicyKind } from '../../mesh/index.ts';
import { readNamespace, readPod, readService, readServiceAccount, Unreadable } from './core-objects.ts';
import type { Store } from './store.ts';
import type { KubernetesReport } from './types.ts';

export interface CoreKind {
  readonly kind: Exclude<MeshKind, PolicyKind>;
  /** As in the path of the API. */
  readonly plural: string;
  readonly read: (object: Fields) => MeshObject;
}

export const CORE_KINDS: readonly CoreKind[] = [
  { kind: 'Namespace', plural: 'namespaces', read: readNamespace },
  { kind: 'ServiceAccount', plural: 'serviceaccounts', read: readServiceAccount },
  { kind: 'Pod', plural: 'pods', read: readPod },
  { kind: 'Service', plural: 'services', read: readService },
];

/** One of Kubernetes' objects as it came. */
export interface CoreItem {
  readonly key: ObjectKey;
  /** Undefined: it cannot be read. */
  readonly object: MeshObject | undefined;
  readonly fault: string;
}

/** The objects of one of Kubernetes' own kinds. */
export class CoreStore implements Store<CoreItem> {
  readonly #kind: CoreKind;
  readonly #onReport: (report: KubernetesReport) => void;
  readonly #objects = new Map<ObjectKey, MeshObject>();

  constructor(kind: CoreKind, onReport: (report: KubernetesReport) => void) {
    this.#kind = kind;
    this.#onReport = onReport;
  }

  read(object: Fields): CoreItem {
    try {
      const read = this.#kind.read(object);
      return { key: keyOf(read), object: read, fault: '' };
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      const metadata = fieldsAt(object, 'metadata');
      const key = [textAt(metadata, 'namespace'), textAt(metadata, 'name')].filter(Boolean).join('/');
      return { key, object: undefined, fault: error.message };
    }
  }

  replaced(items: readonly CoreItem[]): MeshUpdate[] {
    const gone = new Set(this.#objects.keys());
    for (const { key } of items) gone.delete(key);
    return [...[...gone].flatMap((key) => this.#remove(key)), ...items.flatMap((item) => this.set(item))];
  }

  set(item: CoreItem): MeshUpdate[] {
    const { key, object, fault } = item;
    if (object === undefined) {
      // It proves nothing, whoever it was before.
      this.#onReport({ kind: 'unreadable', resource: this.#kind.plural, key, message: fault });
      return this.#remove(key);
    }
    this.#objects.set(key, object);
    return [{ op: 'set', object }];
  }

  deleted({ key }: CoreItem): MeshUpdate[] {
    return this.#remove(key);
  }

  /** Puts in what an earlier run knew. */
  recall(objects: readonly MeshObject[]): MeshUpdate[] {
    return objects
      .filter(({ kind }) => kind === this.#kind.kind)
      .map((object) => {
        this.#objects.set(keyOf(object), object);
        return { op: 'set', object };
      });
  }

  get objects(): Iterable<MeshObject> {
    return this.#objects.values();
  }

  #remove(key: ObjectKey): MeshUpdate[] {
    return this.#objects.delete(key) ? [{ op: 'delete', kind: this.#kind.kind, key }] : [];
  }
}
