import { X509Certificate } from 'node:crypto';
import type { SpiffeId, TrustBundle } from '../identity/index.ts';
import { AuthorityError } from './errors.ts';

export function checkIssued(issued: {
  readonly id: SpiffeId;
  readonly chain: readonly Buffer[];
  readonly bundle: TrustBundle;
  readonly nowMs: number;
}): void {
  const [leaf, intermediate] = issued.chain;
  if (leaf === undefined || intermediate === undefined) return;
  if (!new X509Certificate(leaf).verify(new X509Certificate(intermediate).publicKey)) {
    throw new AuthorityError(
      'self-check-failed',
      `A certificate issued for ${issued.id.uri} does not verify.`,
    );
  }
}
