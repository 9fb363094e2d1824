import { X509Certificate } from 'node:crypto';
import type { TrustBundle } from '../identity/index.ts';
import { FederationError } from './errors.ts';

/**
 * Whether a fetched bundle may follow the one in force (SPIFFE_Trust_Domain_and_Bundle section 4.1.1). A bundle
 * without a sequence has 0, and may follow another such one.
 * @throws FederationError `sequence`
 */
export function refuseStep(current: TrustBundle | undefined, next: TrustBundle): void {
  if (current === undefined || next.sequence > current.sequence) return;
  if (next.sequence === current.sequence && (next.sequence === 0 || next.hasSameAuthorities(current))) return;
  const same = next.sequence === current.sequence;
  throw new FederationError(
    'sequence',
    same
      ? `The bundle has other roots than before, and the same sequence ${next.sequence}: the trust domain has to raise it.`
      : `The bundle has the sequence ${next.sequence}, and ${current.sequence} is known already: an old one is not taken. If the trust domain began anew, give a new trustDomainBundle.`,
  );
}

/**
 * A key vouches for one trust domain (SPIFFE_Trust_Domain_and_Bundle section 6.2).
 * @throws FederationError `shared-key`
 */
export function refuseSharedKeys(bundle: TrustBundle, others: Iterable<TrustBundle>): void {
  const keys = new Set(bundle.x509Authorities.map(keyOf));
  for (const other of others) {
    if (!other.x509Authorities.some((der) => keys.has(keyOf(der)))) continue;
    throw new FederationError(
      'shared-key',
      `The bundle has a key that is one of ${other.trustDomain.name}, too: a key may vouch for one trust domain alone.`,
    );
  }
}

function keyOf(der: Uint8Array): string {
  return new X509Certificate(der).publicKey.export({ format: 'der', type: 'spki' }).toString('base64');
}
