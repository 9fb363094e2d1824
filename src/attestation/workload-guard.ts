import { keyOf, namespacedKey } from '../mesh/index.ts';
import type { Mesh, MeshNotice, ObjectKey } from '../mesh/index.ts';
import { checkPod } from './factors.ts';
import { refuseToken } from './refusal.ts';
import type { ProvenWorkload, Refusal, WorkloadWatch } from './types.ts';

export interface WorkloadGuardOptions {
  readonly mesh: Mesh;
  readonly nowMs: () => number;
  /** Told of an `onGone` that threw; all others are called. Default: a process warning. */
  readonly onCallbackError?: (error: unknown) => void;
}

interface Watcher {
  readonly workload: ProvenWorkload;
  readonly onGone: (refusal: Refusal) => void;
}

/**
 * Watches over proven workloads. One listener on the mesh serves all of them:
 *
 *   notice -> key of the changed pod or service account -> the watchers under that key -> checked again -> called
 */
export class WorkloadGuard implements WorkloadWatch {
  readonly #mesh: Mesh;
  readonly #nowMs: () => number;
  readonly #onCallbackError: (error: unknown) => void;
  readonly #byPod = new Map<ObjectKey, Set<Watcher>>();
  readonly #byServiceAccount = new Map<ObjectKey, Set<Watcher>>();
  readonly #unsubscribe: () => void;

  constructor(options: WorkloadGuardOptions) {
    this.#mesh = options.mesh;
    this.#nowMs = options.nowMs;
    this.#onCallbackError = options.onCallbackError ?? warnOfCallback;
    this.#unsubscribe = options.mesh.subscribe((notice) => {
      this.#onNotice(notice);
    });
  }

  /** How many are watched over. */
  get watched(): number {
    let watched = 0;
    for (const watchers of this.#byPod.values()) watched += watchers.size;
    return watched;
  }

  recheck(workload: ProvenWorkload): Refusal | undefined {
    if (this.#nowMs() >= workload.tokenExpiresAtMs) {
      return refuseToken(`the token expired at ${new Date(workload.tokenExpiresAtMs).toISOString()}`);
    }
    return this.#podGone(workload);
  }

  watchRevocation(workload: ProvenWorkload, onGone: (refusal: Refusal) => void): () => void {
    const watcher = { workload, onGone };
    add(this.#byPod, keyOf(workload.pod), watcher);
    add(this.#byServiceAccount, serviceAccountKey(workload), watcher);
    // The pod may have gone between its proof and this call. Later, so that the caller holds the stop function first.
    if (this.#podGone(workload) !== undefined) {
      queueMicrotask(() => {
        this.#checkAll([watcher]);
      });
    }
    return () => {
      this.#remove(watcher);
    };
  }

  /** Stops watching; nobody is called any more. */
  close(): void {
    this.#unsubscribe();
    this.#byPod.clear();
    this.#byServiceAccount.clear();
  }

  #onNotice(notice: MeshNotice): void {
    const touched = new Set<Watcher>();
    for (const { kind, key } of notice.changes) {
      const index =
        kind === 'Pod' ? this.#byPod : kind === 'ServiceAccount' ? this.#byServiceAccount : undefined;
      for (const watcher of index?.get(key) ?? []) touched.add(watcher);
    }
    this.#checkAll(touched);
  }

  #checkAll(watchers: Iterable<Watcher>): void {
    for (const watcher of watchers) {
      if (this.#byPod.get(keyOf(watcher.workload.pod))?.has(watcher) !== true) continue;
      const refusal = this.#podGone(watcher.workload);
      if (refusal === undefined) continue;
      this.#remove(watcher);
      try {
        watcher.onGone(refusal);
      } catch (error) {
        // One bad callback must not leave another workload its right to be here.
        this.#onCallbackError(error);
      }
    }
  }

  #podGone({ pod, serviceAccountUid }: ProvenWorkload): Refusal | undefined {
    const check = checkPod(this.#mesh, {
      namespace: pod.namespace,
      name: pod.name,
      uid: pod.uid,
      serviceAccount: { name: pod.serviceAccount, uid: serviceAccountUid },
      nodeName: pod.nodeName,
    });
    return check.ok ? undefined : check.refusal;
  }

  #remove(watcher: Watcher): void {
    remove(this.#byPod, keyOf(watcher.workload.pod), watcher);
    remove(this.#byServiceAccount, serviceAccountKey(watcher.workload), watcher);
  }
}

function warnOfCallback(error: unknown): void {
  process.emitWarning(`A callback of a revoked workload threw: ${String(error)}`);
}

function serviceAccountKey({ pod }: ProvenWorkload): ObjectKey {
  return namespacedKey(pod.namespace, pod.serviceAccount);
}

function add(index: Map<ObjectKey, Set<Watcher>>, key: ObjectKey, watcher: Watcher): void {
  const watchers = index.get(key) ?? new Set<Watcher>();
  index.set(key, watchers.add(watcher));
}

function remove(index: Map<ObjectKey, Set<Watcher>>, key: ObjectKey, watcher: Watcher): void {
  const watchers = index.get(key);
  if (watchers?.delete(watcher) === true && watchers.size === 0) index.delete(key);
}
