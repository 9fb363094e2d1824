import type { Workload } from './proxies-types.ts';
import type { SvidKeeper } from './svid-keeper.ts';
import type { WorkloadProxy } from './workload-proxy.ts';

/** One stream's proof of its workload. */
export interface Proof {
  readonly workload: Workload;
  /** Whether it still holds; text: why it does not. */
  readonly recheck: () => string | undefined;
}

/** One workload that is connected, or was a moment ago. */
export interface Entry {
  readonly workload: Workload;
  readonly proxy: WorkloadProxy;
  readonly keeper: SvidKeeper;
  /** Proofs of the streams that are open; the SVID is renewed while any of them still holds. */
  readonly proofs: Set<Proof>;
}

/** A UID alone is not enough: the account may have changed under it, and a manifest may claim another pod's. */
export function isSame(known: Workload, proven: Workload): boolean {
  return known.pod.uid === proven.pod.uid && known.id.equals(proven.id);
}
