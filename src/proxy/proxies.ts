import type { IssuedSvid } from '../authority/index.ts';
import type { SpiffeId, TrustBundle } from '../identity/index.ts';
import type { Mesh, MeshNotice, ObjectKey, Pod } from '../mesh/index.ts';
import type { MeshSettings } from '../policy/index.ts';
import { BundleSecrets } from './bundle-secrets.ts';
import type { ResourceEncoder } from './encoder.ts';
import { FilterCache, type FilterSet } from './filters.ts';
import { SvidKeeper, type IssueReason } from './svid-keeper.ts';
import { WorkloadProxy } from './workload-proxy.ts';

export interface ProxiesOptions {
  readonly encoder: ResourceEncoder;
  readonly mesh: Mesh;
  readonly settings: MeshSettings;
  readonly bundle: () => TrustBundle;
  readonly nowMs: () => number;
  readonly random: () => number;
  /** Makes an SVID for a proven workload. */
  readonly issue: (workload: Workload) => IssuedSvid;
  readonly observer: ProxiesObserver;
}

/** Who it is, as attestation proved it. */
export interface Workload {
  readonly id: SpiffeId;
  readonly pod: Pod;
  /** What was proven, and how each factor stood. */
  readonly factors: readonly { readonly factor: string; readonly outcome: string }[];
}

/** One stream's proof of its workload. */
interface Proof {
  readonly workload: Workload;
  /** Whether it still holds; text: why it does not. */
  readonly recheck: () => string | undefined;
}

export interface ProxiesObserver {
  /** @param workload of the stream whose proof allowed it */
  issued(workload: Workload, svid: IssuedSvid, reason: IssueReason): void;
  refused(workload: Workload, why: string): void;
  failed(workload: Workload, error: Error): void;
}

interface Entry {
  readonly workload: Workload;
  readonly proxy: WorkloadProxy;
  readonly keeper: SvidKeeper;
  /** Proofs of the streams that are open; the SVID is renewed while any of them still holds. */
  readonly proofs: Set<Proof>;
}

/** A stream's hold on the proxy of its pod. */
export interface ProxyLease {
  readonly proxy: WorkloadProxy;
  release(): void;
}

/**
 * The connected workloads. Changes of the mesh and of the bundle come in, and reach just those that they concern.
 * A workload is forgotten with its last stream, but not before its SVID would be renewed: an Envoy that comes back
 * with a fresh token finds the SVID that it holds.
 */
export class Proxies {
  readonly #options: ProxiesOptions;
  readonly #bundles: BundleSecrets;
  readonly #filters: FilterCache;
  /** By pod UID: a pod re-created under the same name is another workload. */
  readonly #byUid = new Map<string, Entry>();
  readonly #unsubscribe: () => void;

  constructor(options: ProxiesOptions) {
    this.#options = options;
    this.#bundles = new BundleSecrets(options.encoder, options.bundle);
    this.#filters = new FilterCache(options.encoder, options.settings);
    this.#unsubscribe = options.mesh.subscribe((notice) => this.#meshChanged(notice));
  }

  get size(): number {
    return this.#byUid.size;
  }

  /** @param recheck proves the stream's workload again; text: why it no longer is what it was */
  open(workload: Workload, recheck: () => string | undefined): ProxyLease {
    const uid = workload.pod.uid;
    let entry = this.#byUid.get(uid);
    if (entry === undefined) {
      entry = this.#create(workload);
      this.#byUid.set(uid, entry);
    }
    const { proofs, proxy } = entry;
    const proof: Proof = { workload, recheck };
    proofs.add(proof);
    return { proxy, release: (): void => void proofs.delete(proof) };
  }

  /** Renews the SVID of a connected pod now. @returns undefined where the pod is not connected or was refused. */
  renew(pod: ObjectKey): IssuedSvid | undefined {
    return this.#entryOf(pod)?.keeper.renew();
  }

  /** The SVID that a connected pod holds, and when it is renewed (ms since the epoch). */
  svidOf(pod: ObjectKey): { readonly svid: IssuedSvid; readonly renewAtMs: number } | undefined {
    const keeper = this.#entryOf(pod)?.keeper;
    const svid = keeper?.peek();
    return keeper === undefined || svid === undefined ? undefined : { svid, renewAtMs: keeper.renewAtMs };
  }

  /** The trust bundle is another one: every Envoy is told. */
  bundleChanged(): void {
    for (const { proxy } of this.#byUid.values()) proxy.secretsChanged();
  }

  close(): void {
    this.#unsubscribe();
    for (const { keeper } of this.#byUid.values()) keeper.close();
    this.#byUid.clear();
  }

  #entryOf(pod: ObjectKey): Entry | undefined {
    return this.#byUid.get(this.#options.mesh.get('Pod', pod)?.uid ?? '');
  }

  #create(workload: Workload): Entry {
    const { mesh, nowMs, random, issue, observer, encoder } = this.#options;
    const proofs = new Set<Proof>();
    let proven = workload;
    const keeper = new SvidKeeper({
      nowMs,
      random,
      issue: () => issue(proven),
      recheck: () => {
        const found = this.#recheck(workload, proofs);
        if (typeof found === 'string') return found;
        proven = found;
        return undefined;
      },
      onIssued: (svid, reason) => observer.issued(proven, svid, reason),
      // With no stream left nobody was refused anything: the workload is just forgotten.
      onRefused: (why) => {
        if (proofs.size > 0) observer.refused(workload, why);
      },
      onError: (error) => observer.failed(workload, error),
      onRenewed: () => proxy.secretsChanged(),
    });
    const proxy = new WorkloadProxy(workload.id, workload.pod, {
      encoder,
      bundles: this.#bundles,
      svid: () => keeper.current(),
      // Labels may have changed since the pod was proven: what the mesh says now counts.
      filters: () => this.#filters.get(mesh.policiesOf(mesh.podByUid(workload.pod.uid) ?? workload.pod)),
    });
    return { workload, proxy, keeper, proofs };
  }

  /** @returns a workload whose proof still holds, or why none does. */
  #recheck({ pod }: Workload, proofs: ReadonlySet<Proof>): Workload | string {
    let why = 'no stream of this workload is open';
    for (const { workload, recheck } of proofs) {
      const failed = recheck();
      if (failed === undefined) return workload;
      why = failed;
    }
    if (proofs.size === 0) this.#forget(pod.uid);
    return why;
  }

  #forget(uid: string): void {
    this.#byUid.get(uid)?.keeper.close();
    this.#byUid.delete(uid);
  }

  #meshChanged(notice: MeshNotice): void {
    const { mesh } = this.#options;
    const affected = mesh.podsAffectedBy(notice);
    for (const key of affected) {
      const pod = mesh.get('Pod', key);
      const entry = pod === undefined ? undefined : this.#byUid.get(pod.uid);
      entry?.proxy.policiesChanged();
    }
    // A pod that is gone proves nothing any more; its streams are ended by whoever watches the proof.
    for (const change of notice.changes) {
      if (change.kind !== 'Pod' || change.before === undefined) continue;
      if (change.after?.uid !== change.before.uid) this.#expire(change.before.uid);
    }
    if (this.#filters.size > this.#byUid.size + 64) this.#filters.keepOnly(this.#filtersInUse());
  }

  /** The renewal that a gone pod would have had is refused now, in words that the audit log keeps. */
  #expire(uid: string): void {
    const entry = this.#byUid.get(uid);
    if (entry === undefined) return;
    if (entry.keeper.peek() !== undefined) {
      this.#options.observer.refused(entry.workload, 'the pod is gone: its SVID will not be renewed');
    }
    this.#forget(uid);
  }

  #filtersInUse(): ReadonlySet<FilterSet> {
    const used = new Set<FilterSet>();
    for (const { proxy } of this.#byUid.values()) if (proxy.filters !== undefined) used.add(proxy.filters);
    return used;
  }
}
