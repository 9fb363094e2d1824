import { setImmediate as nextTurn } from 'node:timers/promises';
import type { IssuedSvid } from '../authority/index.ts';
import { keyOf, type MeshNotice, type ObjectKey, type Pod } from '../mesh/index.ts';
import type { MeshSettings } from '../policy/index.ts';
import { BundleSecrets } from './bundle-secrets.ts';
import { faultOf, type FilterSet } from './filters.ts';
import { IssuanceQueue } from './issuance-queue.ts';
import type { ProxiesOptions, ProxyLease, Workload } from './proxies-types.ts';
import { SvidKeeper } from './svid-keeper.ts';
import { isSame, type Entry, type Proof } from './workload-entry.ts';
import { WorkloadFilters } from './workload-filters.ts';
import { WorkloadProxy } from './workload-proxy.ts';

/** About 5 ms of work. */
const RENEWALS_AT_ONCE = 50;
/** Of each turn of the event loop: what arrives meanwhile waits about as long. */
const ISSUANCE_SLICE_MS = 5;

/**
 * The connected workloads. Changes of the mesh and of the bundle come in, and reach just those that they concern.
 * A workload is forgotten with its last stream, but not before its SVID would be renewed: an Envoy that comes back
 * with a fresh token finds the SVID that it holds.
 */
export class Proxies {
  readonly #options: ProxiesOptions;
  readonly #bundles: BundleSecrets;
  readonly #filters: WorkloadFilters;
  readonly #queue: IssuanceQueue;
  /** By the pod's name. A pod made anew, or running as another account, is another workload: see `isSame`. */
  readonly #byPod = new Map<ObjectKey, Entry>();
  readonly #unsubscribe: () => void;

  constructor(options: ProxiesOptions) {
    this.#options = options;
    this.#bundles = new BundleSecrets(options.encoder, options.trust);
    this.#filters = new WorkloadFilters(options.mesh, options);
    this.#queue = new IssuanceQueue({
      ticks: options.ticks,
      sliceMs: ISSUANCE_SLICE_MS,
      nextTurn: setImmediate,
      onWaited: (ms) => options.observer.waited(ms),
    });
    this.#unsubscribe = options.mesh.subscribe((notice) => this.#meshChanged(notice));
  }

  get size(): number {
    return this.#byPod.size;
  }

  /** @param recheck proves the stream's workload again; text: why it no longer is what it was */
  open(workload: Workload, recheck: () => string | undefined): ProxyLease {
    const entry = this.#entryFor(workload);
    const { proofs, proxy, keeper } = entry;
    const proof: Proof = { workload, recheck };
    proofs.add(proof);
    keeper.resume();
    return { proxy, release: (): void => void proofs.delete(proof) };
  }

  /** Renews the SVID of a connected pod now. @returns it, or why there is none */
  renew(pod: ObjectKey): IssuedSvid | string {
    return this.#byPod.get(pod)?.keeper.renew() ?? 'no Envoy of this pod is connected';
  }

  /** The SVID that a connected pod holds, and when it is renewed (ms since the epoch). */
  svidOf(pod: ObjectKey): { readonly svid: IssuedSvid; readonly renewAtMs: number } | undefined {
    const keeper = this.#byPod.get(pod)?.keeper;
    const svid = keeper?.peek();
    return keeper === undefined || svid === undefined ? undefined : { svid, renewAtMs: keeper.renewAtMs };
  }

  /** The connected workloads that hold such an SVID. */
  holding(isSuch: (svid: IssuedSvid) => boolean): readonly Workload[] {
    return [...this.#byPod.values()].flatMap(({ workload, keeper, proofs }) => {
      const held = keeper.peek();
      return held !== undefined && proofs.size > 0 && isSuch(held) ? workload : [];
    });
  }

  /** Of the SVIDs that pods with an open stream hold, the one that ends first; undefined: none holds one. */
  soonestSvid(): { readonly pod: ObjectKey; readonly svid: IssuedSvid } | undefined {
    let soonest: { readonly pod: ObjectKey; readonly svid: IssuedSvid } | undefined;
    for (const [pod, { keeper, proofs }] of this.#byPod) {
      const svid = keeper.peek();
      if (svid === undefined || proofs.size === 0) continue;
      if (soonest === undefined || svid.notAfterMs < soonest.svid.notAfterMs) soonest = { pod, svid };
    }
    return soonest;
  }

  /** The clock was set, or time passed that no timer saw: what is due is renewed now, what ends first before the others. */
  clockMoved(): void {
    const entries = [...this.#byPod.values()];
    const endsMs = ({ keeper }: Entry): number => keeper.peek()?.notAfterMs ?? Number.MAX_SAFE_INTEGER;
    for (const { keeper } of entries.toSorted((a, b) => endsMs(a) - endsMs(b))) keeper.clockMoved();
  }

  /** Whether a name is the SPIFFE ID of this connected pod. */
  isOwnId(pod: ObjectKey, name: string): boolean {
    return this.#byPod.get(pod)?.workload.id.uri === name;
  }

  /** What a connected pod should run under this name now; undefined: it is not connected, or may not have it. */
  versionOf(pod: ObjectKey, typeUrl: string, name: string): string | undefined {
    const found = this.#byPod.get(pod)?.proxy.lookup(typeUrl, name);
    return found?.kind === 'found' ? found.resource.version : undefined;
  }

  /**
   * Renews the SVIDs of connected pods that are outdated, some at a time: the streams go on in between.
   * @returns how many are outdated still, because they were refused or failed
   */
  async renewOutdated(
    isOutdated: (svid: IssuedSvid) => boolean,
    reason: 'ordered' | 'rotation' = 'rotation',
  ): Promise<number> {
    let left = 0;
    for (const [index, { keeper }] of [...this.#byPod.values()].entries()) {
      if (index % RENEWALS_AT_ONCE === RENEWALS_AT_ONCE - 1) await nextTurn();
      const held = keeper.peek();
      if (held !== undefined && isOutdated(held) && typeof keeper.renew(reason) === 'string') left += 1;
    }
    return left;
  }

  /** The trust bundle is another one: every Envoy is told. */
  bundleChanged(): void {
    for (const { proxy } of this.#byPod.values()) proxy.secretsChanged();
  }

  /** The mesh's settings are others: every Envoy's filters are made anew, and those that differ are pushed. */
  settingsChanged(settings: MeshSettings): void {
    this.#filters.use(settings);
    for (const { proxy } of this.#byPod.values()) proxy.policiesChanged();
  }

  /** Others are in quarantine than before: every Envoy whose filters differ is told. */
  quarantineChanged(): void {
    for (const { proxy, keeper } of this.#byPod.values()) {
      proxy.policiesChanged();
      keeper.resume();
    }
    this.#filters.tidy(this.#byPod.size, () => this.#filtersInUse());
  }

  /** The keys behind a URI are others: those Envoys are told that verify tokens with them. */
  keysChanged(uri: string): void {
    for (const pod of this.#filters.podsUsing(uri)) this.#byPod.get(pod)?.proxy.policiesChanged();
    this.#filters.tidy(this.#byPod.size, () => this.#filtersInUse());
  }

  close(): void {
    this.#unsubscribe();
    this.#queue.close();
    for (const { keeper } of this.#byPod.values()) keeper.close();
    this.#byPod.clear();
  }

  #entryFor(workload: Workload): Entry {
    const key = keyOf(workload.pod);
    const known = this.#byPod.get(key);
    if (known !== undefined && isSame(known.workload, workload)) return known;
    known?.keeper.close();
    const entry = this.#create(workload);
    this.#byPod.set(key, entry);
    return entry;
  }

  #create(workload: Workload): Entry {
    const { mesh, nowMs, clockFault, random, issue, observer, encoder, quarantine } = this.#options;
    const proofs = new Set<Proof>();
    let proven = workload;
    let told: string | undefined;
    const keeper = new SvidKeeper({
      nowMs,
      ...(clockFault && { clockFault }),
      random,
      queue: this.#queue,
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
      filters: () => {
        const pod = mesh.get('Pod', keyOf(workload.pod)) ?? workload.pod;
        const filters = this.#filters.of(pod, quarantine(workload));
        const fault = faultOf(filters);
        if (fault !== undefined && fault !== told) observer.failed(workload, new Error(fault));
        told = fault;
        return filters;
      },
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
    if (proofs.size === 0) this.#forget(keyOf(pod));
    return why;
  }

  #forget(pod: ObjectKey): void {
    this.#byPod.get(pod)?.keeper.close();
    this.#byPod.delete(pod);
  }

  #meshChanged(notice: MeshNotice): void {
    for (const change of notice.changes)
      if (change.kind === 'Pod') this.#podChanged(change.key, change.after);
    for (const pod of this.#options.mesh.podsAffectedBy(notice))
      this.#byPod.get(pod)?.proxy.policiesChanged();
    this.#filters.tidy(this.#byPod.size, () => this.#filtersInUse());
  }

  /**
   * A pod that is gone, or that is no longer what was proven, proves nothing any more; its streams are ended by
   * whoever watches the proof. The renewal that it would have had is refused now, in words that the audit log keeps.
   */
  #podChanged(key: ObjectKey, after: Pod | undefined): void {
    const entry = this.#byPod.get(key);
    if (entry === undefined) return;
    const { workload, keeper } = entry;
    const before = workload.pod;
    if (after?.uid === before.uid && after.serviceAccount === before.serviceAccount) return;
    if (keeper.peek() !== undefined) {
      const what = after?.uid === before.uid ? 'runs as another service account' : 'is gone';
      this.#options.observer.refused(workload, `the pod ${what}: its SVID will not be renewed`);
    }
    this.#forget(key);
  }

  #filtersInUse(): ReadonlySet<FilterSet> {
    const used = new Set<FilterSet>();
    for (const { proxy } of this.#byPod.values()) if (proxy.filters !== undefined) used.add(proxy.filters);
    return used;
  }
}
