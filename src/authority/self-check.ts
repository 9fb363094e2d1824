import { IdentityError, verifySvid, type TrustBundle, type SpiffeId } from '../identity/index.ts';
import { AuthorityError } from './errors.ts';

/** What is about to leave. */
export interface Candidate {
  readonly id: SpiffeId;
  /** DER, leaf first. */
  readonly chain: readonly Buffer[];
  readonly bundle: TrustBundle;
  readonly nowMs: number;
}

/**
 * Reads a chain back as a peer will, with code that shares nothing with what wrote it.
 * @throws AuthorityError `self-check-failed`
 */
export function checkIssued({ id, chain, bundle, nowMs }: Candidate): void {
  let proven: SpiffeId;
  try {
    proven = verifySvid({
      chain,
      bundles: (name) => (name === bundle.trustDomain.name ? bundle : undefined),
      nowMs,
    });
  } catch (cause) {
    if (!(cause instanceof IdentityError)) throw cause;
    throw failed(id, cause.message, cause);
  }
  if (!proven.equals(id)) throw failed(id, `it proves ${proven.uri}`);
}

function failed(id: SpiffeId, finding: string, cause?: unknown): AuthorityError {
  return new AuthorityError(
    'self-check-failed',
    `The certificate made for ${id.uri} does not hold, and was not given out: ${finding} Report this, with the version.`,
    { cause },
  );
}
