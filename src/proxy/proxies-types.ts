import type { IssuedSvid } from '../authority/index.ts';
import type { SpiffeId } from '../identity/index.ts';
import type { Mesh, Pod } from '../mesh/index.ts';
import type { MeshSettings, QuarantineRule } from '../policy/index.ts';
import type { Trust } from './bundle-secrets.ts';
import type { ResourceEncoder } from './encoder.ts';
import type { IssueReason } from './svid-keeper.ts';
import type { WorkloadProxy } from './workload-proxy.ts';

export interface ProxiesOptions {
  readonly encoder: ResourceEncoder;
  readonly mesh: Mesh;
  readonly settings: MeshSettings;
  /** Whom a workload denies before any policy. */
  readonly quarantine: (workload: Pick<Workload, 'id' | 'pod'>) => readonly QuarantineRule[];
  /** The keys behind a URI, as fetched last; undefined: none yet. */
  readonly jwksOf: (uri: string) => string | undefined;
  readonly trust: () => Trust;
  readonly nowMs: () => number;
  /** Monotonic; milliseconds and parts of them. */
  readonly ticks: () => number;
  /** Why nothing can be judged by that clock now, for people; undefined: it can. */
  readonly clockFault?: () => string | undefined;
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

export interface ProxiesObserver {
  /** @param workload of the stream whose proof allowed it */
  issued(workload: Workload, svid: IssuedSvid, reason: IssueReason): void;
  /** An SVID had to wait before it was made, as more were wanted than there was time for. @param ms for how long */
  waited(ms: number): void;
  refused(workload: Workload, why: string): void;
  /** No SVID could be made; or a filter was too large to be sent, and everything is denied in its place. */
  failed(workload: Workload, error: Error): void;
}

/** A stream's hold on the proxy of its pod. */
export interface ProxyLease {
  readonly proxy: WorkloadProxy;
  release(): void;
}
