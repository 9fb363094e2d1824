import type { SpiffeId } from '../identity/index.ts';
import type { Pod } from '../mesh/index.ts';

/** What is proven about a caller, each on its own. */
export type Factor =
  | 'token'
  | 'pod'
  | 'service-account'
  | 'node'
  | 'peer-address'
  | 'token-review'
  | 'load'
  /** An operator's decision; not a proof. */
  | 'quarantine';

/** How one factor stood. */
export interface FactorVerdict {
  readonly factor: Factor;
  /**
   * `warned`: it failed, and the settings let that pass. `skipped`: the settings do not ask for it. `unavailable`: who
   * decides it could not be asked, and the settings let that pass.
   */
  readonly outcome: 'passed' | 'warned' | 'skipped' | 'unavailable';
  /** For logs and audit events; never a token. */
  readonly detail: string;
}

/** What a token with a valid signature claims. Nothing of it is proven yet. */
export interface ClaimedWorkload {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly pod: string | undefined;
  readonly podUid: string | undefined;
  readonly node: string | undefined;
  readonly tokenId: string;
}

export interface Refusal {
  readonly factor: Factor;
  /**
   * `UNAUTHENTICATED`: the token proves nothing. `PERMISSION_DENIED`: it is genuine, and its bearer has no right to be
   * here. `UNAVAILABLE`: it cannot be decided now; the same token may pass later. `RESOURCE_EXHAUSTED`: too many want
   * to be proven now.
   */
  readonly code: 'UNAUTHENTICATED' | 'PERMISSION_DENIED' | 'UNAVAILABLE' | 'RESOURCE_EXHAUSTED';
  /** When to come back, ms from now; absent: as the caller likes. */
  readonly retryAfterMs?: number;
  /** For the log: what was found and what was wanted. Never a token. */
  readonly detail: string;
  /** For the caller: names the factor and nothing else. */
  readonly publicMessage: string;
  /** Only where the signature was valid. */
  readonly claimed?: ClaimedWorkload;
}

export interface ProvenWorkload {
  readonly id: SpiffeId;
  /** As it was at the moment of proof. */
  readonly pod: Pod;
  readonly serviceAccountUid: string;
  /** Milliseconds since the epoch. */
  readonly tokenExpiresAtMs: number;
  /** The token's `jti`, or a prefix of its hash where it has none. No secret. */
  readonly tokenId: string;
  /** In the order in which they were checked. */
  readonly factors: readonly FactorVerdict[];
}

export type Verdict =
  | { readonly ok: true; readonly workload: ProvenWorkload }
  | { readonly ok: false; readonly refusal: Refusal };

export interface Peer {
  /** The IP address that the transport sees, without port; undefined where it sees none. */
  readonly address: string | undefined;
}

/** Token in, proven workload or a refusal out. */
export interface Attestor {
  /** Never rejects: what cannot be decided is refused. */
  attest(token: string | undefined, peer: Peer): Promise<Verdict>;
}

/** Watches over what was proven once. */
export interface WorkloadWatch {
  /** Whether what was proven still holds; undefined when it does. Asked before each renewal. */
  recheck(workload: ProvenWorkload): Refusal | undefined;
  /**
   * Calls back once, when the pod goes, is made anew, terminates, finishes, or changes account or node, or its service account
   * goes or is made anew. Expiry is not watched: the token's end is known beforehand.
   * @returns the function that stops it.
   */
  watchRevocation(workload: ProvenWorkload, onGone: (refusal: Refusal) => void): () => void;
}
