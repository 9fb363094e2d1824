export { BoundedAttestor } from './bounded-attestor.ts';
export type { BoundedAttestorOptions, ClaimedPod } from './bounded-attestor.ts';
export { AttestationError } from './errors.ts';
export type { AttestationErrorCode } from './errors.ts';
export { CutOffAttestor } from './cut-off.ts';
export type { CutOff, CutOffAttestorOptions } from './cut-off.ts';
export type { PeerAddressMode } from './factors.ts';
export { LocalAttestor } from './local-attestor.ts';
export type { LocalAttestorOptions, TokenReviewMode } from './local-attestor.ts';
export { LocalIssuer } from './local-issuer.ts';
export type { TokenRequest } from './local-issuer.ts';
export { JwksFollower, parseJwks } from './jwks-follower.ts';
export type { JwksFollowerOptions } from './jwks-follower.ts';
export { ApiServerReviewer } from './token-reviewer.ts';
export type { ApiServerReviewerOptions, ReviewOutcome, TokenReviewer } from './token-reviewer.ts';
export type { FollowedJwks, JwksSource } from './token-verifier.ts';
export type {
  Attestor,
  ClaimedWorkload,
  Factor,
  FactorVerdict,
  Peer,
  ProvenWorkload,
  Refusal,
  Verdict,
  WorkloadWatch,
} from './types.ts';
export { WorkloadGuard } from './workload-guard.ts';
export type { WorkloadGuardOptions } from './workload-guard.ts';
