import { Reflector, ServedResources } from '../../kubernetes/index.ts';
import type { ApiServer } from '../../kubernetes/index.ts';
import { POLICY_KINDS } from '../../mesh/index.ts';
import type { Mesh, MeshUpdate } from '../../mesh/index.ts';
import { CORE_KINDS, CoreStore } from './core-store.ts';
import { Memory } from './memory.ts';
import type { Remembered } from './memory.ts';
import { POLICY_GROUPS, POLICY_VERSIONS } from './policy-kinds.ts';
import { PolicyShelf } from './policy-shelf.ts';
import { PolicyStore } from './policy-store.ts';
import type { Store } from './store.ts';
import type { KubernetesReport, PolicyStatus } from './types.ts';

export interface KubernetesSourceOptions {
  readonly api: ApiServer;
  readonly mesh: Mesh;
  readonly random: () => number;
  /** A clock that only goes forward. */
  readonly monotonicMs: () => number;
  readonly rootNamespace: string;
  /** Must not throw. */
  readonly onReport: (report: KubernetesReport) => void;
  /** Where what is known is written down, for a start without the API server; without it, such a start waits. */
  readonly stateFile?: string;
  /** How long a start waits for the API server, where something is remembered. Default 5000. */
  readonly patienceMs?: number;
  /** How soon a CRD that was not there is looked for again. Default 2000. */
  readonly absentMs?: number;
  /** Objects in one page of a list. Default 500. */
  readonly pageSize?: number;
  /** Of one resource's failures. */
  readonly backOff?: { readonly firstMs: number; readonly mostMs: number };
}

/**
 * Keeps a mesh equal to the API server:
 *
 *   one reflector a resource -> its store (last good versions, what was known) -> updates
 *                            -> held until everything was listed once, then one batch a turn of the event loop
 */
export class KubernetesSource {
  readonly #options: KubernetesSourceOptions;
  readonly #core: readonly CoreStore[];
  readonly #policies: readonly PolicyStore[];
  readonly #memory: Memory | undefined;
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>[] = [];
  /** Resources that were not listed yet. */
  readonly #unlisted = new Set<string>();
  readonly #synced = Promise.withResolvers<void>();
  #pending: MeshUpdate[] = [];
  #flushing = false;

  private constructor(options: KubernetesSourceOptions) {
    this.#options = options;
    const { onReport, rootNamespace } = options;
    this.#core = CORE_KINDS.map((kind) => new CoreStore(kind, onReport));
    this.#policies = POLICY_KINDS.flatMap((kind) => {
      const shelf = new PolicyShelf(kind);
      return POLICY_GROUPS.map(
        (group) => new PolicyStore({ kind, group, shelf, parse: { rootNamespace }, onReport }),
      );
    });
    this.#memory =
      options.stateFile === undefined
        ? undefined
        : new Memory({
            file: options.stateFile,
            content: () => this.#known(),
            onError: (error) => {
              onReport({ kind: 'not-remembered', error });
            },
          });
  }

  /**
   * Resolves when everything was listed and is in the mesh; or, where the API server is away and an earlier run has
   * written down what it knew, when that is.
   * @throws Error the state file cannot be read, or `signal` was aborted meanwhile
   */
  static async open(options: KubernetesSourceOptions, signal?: AbortSignal): Promise<KubernetesSource> {
    const source = new KubernetesSource(options);
    const remembered = source.#recall(await source.#memory?.read());
    source.#start();
    try {
      await source.#firstSight(remembered, signal);
    } catch (error) {
      await source.close();
      throw error;
    }
    return source;
  }

  /** Everything was listed once by this process. */
  get synced(): boolean {
    return this.#unlisted.size === 0;
  }

  /** What the status of each policy object should say, now. */
  policies(): readonly PolicyStatus[] {
    return this.#policies.flatMap((store) => [...store.statuses()]);
  }

  /** Stops watching; the mesh stays as it is. Resolves when nothing more will be applied. */
  async close(): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#running);
    this.#flush();
    await this.#memory?.close();
  }

  #start(): void {
    for (const [index, { plural }] of CORE_KINDS.entries()) {
      const store = this.#core[index];
      if (store !== undefined) this.#follow(plural, `/api/v1/${plural}`, store);
    }
    const { api, monotonicMs: nowMs } = this.#options;
    for (const group of POLICY_GROUPS) {
      const served = new ServedResources({ api, group, versions: POLICY_VERSIONS[group], nowMs });
      for (const store of this.#policies.filter((each) => each.group === group)) {
        const { resource, plural } = store;
        this.#follow(resource, `/apis/${group}/v1/${plural}`, store, async () => await served.pathOf(plural));
      }
    }
  }

  #follow<T>(
    resource: string,
    path: string,
    store: Store<T>,
    locate?: () => Promise<string | undefined>,
  ): void {
    const { api, random, monotonicMs, onReport, absentMs = 2_000, pageSize, backOff } = this.#options;
    let served: boolean | undefined;
    const nowServed = (value: boolean): void => {
      if (served !== value && (served !== undefined || !value)) {
        onReport({ kind: value ? 'served' : 'not-served', resource });
      }
      served = value;
    };
    this.#unlisted.add(resource);
    const reflector = new Reflector<T>({
      api,
      path,
      ...(locate && { locate }),
      random,
      nowMs: monotonicMs,
      absentMs,
      ...(pageSize !== undefined && { pageSize }),
      ...(backOff !== undefined && { backOff }),
      read: (object) => store.read(object),
      sink: {
        replaced: (items) => {
          nowServed(true);
          this.#take(store.replaced(items));
          this.#listed(resource);
        },
        set: (item) => {
          this.#take(store.set(item));
        },
        deleted: (item) => {
          this.#take(store.deleted(item));
        },
        absent: () => {
          nowServed(false);
          this.#take(store.replaced([]));
          this.#listed(resource);
        },
        failed: (error) => {
          onReport({ kind: 'failing', resource, error });
        },
        recovered: () => {
          onReport({ kind: 'recovered', resource });
        },
      },
    });
    this.#running.push(reflector.run(this.#stopping.signal));
  }

  #listed(resource: string): void {
    if (!this.#unlisted.delete(resource) || !this.synced) return;
    this.#flush();
    this.#options.onReport({ kind: 'synced' });
    this.#synced.resolve();
  }

  #take(updates: readonly MeshUpdate[]): void {
    for (const update of updates) this.#pending.push(update);
    if (this.#flushing || !this.synced || updates.length === 0) return;
    this.#flushing = true;
    setImmediate(() => {
      this.#flush();
    });
  }

  #flush(): void {
    this.#flushing = false;
    if (!this.synced) return;
    this.#apply(this.#pending.splice(0));
  }

  #apply(updates: readonly MeshUpdate[]): void {
    const notice = this.#options.mesh.update(updates);
    if (notice === undefined) return;
    this.#options.onReport({ kind: 'applied', notice });
    if (this.synced) this.#memory?.changed();
  }

  async #firstSight(remembered: readonly MeshUpdate[], signal: AbortSignal | undefined): Promise<void> {
    const { patienceMs = 5_000, onReport } = this.#options;
    const aborted = Promise.withResolvers<never>();
    const abort = (): void => {
      aborted.reject(signal?.reason);
    };
    aborted.promise.catch(() => {}); // Nobody may be waiting any more.
    signal?.addEventListener('abort', abort, { once: true });
    if (signal?.aborted === true) abort();
    const impatient = Promise.withResolvers<void>();
    const timer = remembered.length === 0 ? undefined : setTimeout(() => impatient.resolve(), patienceMs);
    try {
      await Promise.race([this.#synced.promise, impatient.promise, aborted.promise]);
      if (this.synced) return;
      this.#apply(remembered);
      onReport({ kind: 'remembered', objects: remembered.length });
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    }
  }

  #recall(remembered: Remembered | undefined): readonly MeshUpdate[] {
    if (remembered === undefined) return [];
    const updates = this.#core.flatMap((store) => store.recall(remembered.objects));
    for (const store of this.#policies) {
      const documents = remembered.documents.filter(({ resource }) => resource === store.resource);
      updates.push(...documents.flatMap(({ document }) => store.set(store.read(document))));
    }
    return updates;
  }

  #known(): Remembered {
    return {
      objects: this.#core.flatMap((store) => [...store.objects]),
      documents: this.#policies.flatMap(({ resource, documents }) =>
        documents.map((document) => ({ resource, document })),
      ),
    };
  }
}
