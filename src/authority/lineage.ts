import { X509Certificate, type KeyObject } from 'node:crypto';
import { crossChain } from './cross.ts';
import { AuthorityError } from './errors.ts';
import type { StoredAuthority } from './key-store.ts';
import { describeRoot } from './root.ts';

/**
 * What takes the place of a known state must come from it: not be older, and sign with a root that is trusted already
 * or that trusted roots vouch for. Any other root would cut off whoever holds the known bundle.
 * @param where names the store in errors
 * @throws AuthorityError `root-outdated`, `root-replaced`
 */
export function refuseOtherLine(known: StoredAuthority, next: StoredAuthority, where: string): void {
  const [before, after] = [known.bundle.sequence, next.bundle.sequence];
  if (after < before) {
    throw new AuthorityError(
      'root-outdated',
      `${where} holds the bundle number ${after}, and number ${before} is in use: an old copy was put there. Restore the newest one.`,
    );
  }
  if ((after > before || hasSameRoots(known, next)) && isVouchedFor(known, next)) return;
  throw new AuthorityError(
    'root-replaced',
    `${where} holds another root (${describeRoot(next.root).fingerprint}) than the one in use (${describeRoot(known.root).fingerprint}), and no rotation leads there: whoever trusts the present one would be cut off. Restore it.`,
  );
}

function hasSameRoots(known: StoredAuthority, next: StoredAuthority): boolean {
  const { x509Authorities } = next.bundle;
  return (
    x509Authorities.length === known.bundle.x509Authorities.length &&
    x509Authorities.every((der) => isIn(known, der))
  );
}

function isIn({ bundle }: StoredAuthority, der: Buffer): boolean {
  return bundle.x509Authorities.some((known) => known.equals(der));
}

/** By the known bundle: the root itself, or the first of its cross certificates that a known root signed. */
function isVouchedFor(known: StoredAuthority, next: StoredAuthority): boolean {
  if (isIn(known, next.root.certificate)) return true;
  const trusted = known.bundle.x509Authorities.map((der) => new X509Certificate(der));
  let key = new X509Certificate(next.root.certificate).publicKey;
  const chain = crossChain(next.crosses, describeRoot(next.root).fingerprint);
  for (const [index, der] of chain.entries()) {
    const cross = new X509Certificate(der);
    if (!cross.publicKey.equals(key)) return false;
    if (trusted.some((root) => cross.verify(root.publicKey))) return true;
    const signer = keyOf(chain[index + 1]);
    if (signer === undefined || !cross.verify(signer)) return false;
    key = signer;
  }
  return false;
}

function keyOf(der: Buffer | undefined): KeyObject | undefined {
  return der === undefined ? undefined : new X509Certificate(der).publicKey;
}
