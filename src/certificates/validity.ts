import { RequestError } from './errors.ts';

/** ms. */
export interface ValidityBounds {
  /** What may be asked for. */
  readonly minMs: number;
  readonly maxMs: number;
  /** What is given where nothing is asked for, and never exceeded: the mesh's SVID lifetime. */
  readonly svidTtlMs: number;
}

/**
 * The life of the certificate. A longer one than the mesh's is cut, not refused: Istio's agents ask for a day unless
 * they are told otherwise, and renew by what the certificate says.
 * @param seconds as requested; 0: not said
 * @returns ms
 * @throws RequestError `validity`
 */
export function grantedMs(seconds: number, { minMs, maxMs, svidTtlMs }: ValidityBounds): number {
  if (seconds === 0) return svidTtlMs;
  const askedMs = seconds * 1_000;
  if (askedMs >= minMs && askedMs <= maxMs) return Math.min(askedMs, svidTtlMs);
  throw new RequestError(
    'validity',
    `validity_duration is ${seconds} s: ${minMs / 1_000} to ${maxMs / 1_000} s may be asked for, or 0 for the mesh's ${svidTtlMs / 1_000} s, which is also the most that is given`,
  );
}
