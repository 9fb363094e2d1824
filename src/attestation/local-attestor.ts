import { SpiffeId } from '../identity/index.ts';
import type { TrustDomain } from '../identity/index.ts';
import type { Mesh } from '../mesh/index.ts';
import { claimedBy } from './claims.ts';
import type { TokenClaims } from './claims.ts';
import { AttestationError } from './errors.ts';
import { checkPeerAddress, checkPod } from './factors.ts';
import type { PeerAddressMode } from './factors.ts';
import { refuseFactor, refuseReviewed, refuseToken, refuseUnreviewed } from './refusal.ts';
import type { TokenReviewer } from './token-reviewer.ts';
import { TokenVerifier } from './token-verifier.ts';
import type { JwksSource } from './token-verifier.ts';
import type { Attestor, Peer, ProvenWorkload, Refusal, Verdict, WorkloadWatch } from './types.ts';
import { WorkloadGuard } from './workload-guard.ts';

export interface LocalAttestorOptions {
  /** The issuer's public keys. A function is asked at each verification that is not cached. */
  readonly jwks: JwksSource;
  readonly issuer: string;
  /** Countersign's own, never the API server's. */
  readonly audience: string;
  readonly trustDomain: TrustDomain;
  readonly mesh: Mesh;
  readonly nowMs: () => number;
  /** Whether the peer's address must be one of the pod's. */
  readonly peerAddress: PeerAddressMode;
  /** Absent: nobody is asked who may know more of a token than its signature says. */
  readonly review?: {
    readonly reviewer: TokenReviewer;
    /** What a token is worth that nothing speaks against, while the reviewer cannot be asked. */
    readonly mode: TokenReviewMode;
  };
  /** Default 8192; the API server's tokens have 1 to 2 thousand bytes. */
  readonly maxTokenBytes?: number;
  /** How long a verified signature is believed again; default and maximum 60 000. The pod is looked at anew each time. */
  readonly cacheMs?: number;
  /** Default 10 000. */
  readonly maxCachedTokens?: number;
  /** Told of a revocation callback that threw. Default: a process warning. */
  readonly onCallbackError?: (error: unknown) => void;
}

/** `require`: nothing. `when-available`: what its signature and its pod say. */
export type TokenReviewMode = 'require' | 'when-available';

/**
 * Proves a caller by its projected service account token, the issuer's public keys and the mesh: no call leaves the
 * process. Whoever passes all that is then asked about where there is a reviewer.
 */
export class LocalAttestor implements Attestor, WorkloadWatch {
  readonly #options: LocalAttestorOptions;
  readonly #verifier: TokenVerifier;
  readonly #guard: WorkloadGuard;

  /** @throws AttestationError CONFIGURATION: an empty issuer or audience would match what must not match */
  constructor(options: LocalAttestorOptions) {
    for (const name of ['issuer', 'audience'] as const) {
      if (options[name] === '')
        throw new AttestationError('CONFIGURATION', `The token ${name} is empty: name one.`);
    }
    this.#options = options;
    this.#guard = new WorkloadGuard(options);
    this.#verifier = new TokenVerifier({
      ...options,
      maxTokenBytes: options.maxTokenBytes ?? 8192,
      cacheMs: options.cacheMs ?? 60_000,
      maxCachedTokens: options.maxCachedTokens ?? 10_000,
    });
  }

  async attest(token: string | undefined, peer: Peer): Promise<Verdict> {
    if (token === undefined || token === '') return refused(refuseToken('no token was sent'));
    const verified = await this.#verifier.verify(token);
    if (!verified.ok) return refused(verified.refusal);
    const { claims } = verified;
    const verdict = this.#judge(claims, peer);
    const { review } = this.#options;
    if (!verdict.ok || review === undefined) return verdict;

    const outcome = await review.reviewer.review(token, claims);
    const { kind, detail } = outcome;
    if (kind === 'refused') return refused(refuseReviewed(detail, claimedBy(claims)));
    if (kind === 'unavailable' && review.mode === 'require') {
      return refused(refuseUnreviewed(detail, claimedBy(claims)));
    }
    // The pod may have gone meanwhile.
    const now = this.#judge(claims, peer);
    if (!now.ok) return now;
    const factors = [...now.workload.factors, { factor: 'token-review', outcome: kind, detail } as const];
    return { ok: true, workload: { ...now.workload, factors } };
  }

  recheck(workload: ProvenWorkload): Refusal | undefined {
    return this.#guard.recheck(workload);
  }

  watchRevocation(workload: ProvenWorkload, onGone: (refusal: Refusal) => void): () => void {
    return this.#guard.watchRevocation(workload, onGone);
  }

  /** Stops watching the mesh. */
  close(): void {
    this.#guard.close();
  }

  #judge(claims: TokenClaims, peer: Peer): Verdict {
    const { mesh, trustDomain, peerAddress } = this.#options;
    const claimed = claimedBy(claims);
    const { namespace, serviceAccount, pod: bound, node } = claims;
    if (bound === undefined) return refused(refuseFactor('pod', 'the token is bound to no pod', claimed));
    if (node === undefined) return refused(refuseFactor('node', 'the token names no node', claimed));
    const check = checkPod(
      mesh,
      { namespace, name: bound.name, uid: bound.uid, serviceAccount, nodeName: node.name },
      claimed,
    );
    if (!check.ok) return refused(check.refusal);
    const address = checkPeerAddress(peerAddress, check.pod, peer.address, claimed);
    if ('code' in address) return refused(address);

    let id: SpiffeId;
    try {
      id = SpiffeId.workload(trustDomain, namespace, serviceAccount.name);
    } catch (error) {
      return refused(refuseFactor('service-account', `it has no SPIFFE ID: ${String(error)}`, claimed));
    }
    return {
      ok: true,
      workload: {
        id,
        pod: check.pod,
        serviceAccountUid: serviceAccount.uid,
        tokenExpiresAtMs: claims.expiresAtMs,
        tokenId: claims.tokenId,
        factors: [
          { factor: 'token', outcome: 'passed', detail: `${claims.tokenId} of ${this.#options.issuer}` },
          ...check.factors,
          address,
        ],
      },
    };
  }
}

function refused(refusal: Refusal): Verdict {
  return { ok: false, refusal };
}
