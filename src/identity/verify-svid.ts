import { IdentityError } from './errors.ts';
import { isUri, sameForm, type Name, type NameConstraints } from './extensions.ts';
import type { SpiffeId, TrustDomain } from './spiffe-id.ts';
import { isEmptyName, leafId, profile, signerTrustDomain, type Profiled } from './svid-profile.ts';
import type { TrustBundle } from './trust-bundle.ts';

/** Certificates of one chain, leaf included. */
const MAX_CHAIN = 8;
const MIN_RSA_BITS = 2048;
/** Tag of a directoryName, for a subject that constraints apply to. */
const DIRECTORY_NAME = 0xa4;

export interface VerifySvidInput {
  /** DER, leaf first, each the next one's issue. A root at the end is not needed. */
  readonly chain: readonly Uint8Array[];
  /** The bundle of a trust domain by its name, or `undefined` where it is not trusted. */
  readonly bundles: (trustDomain: string) => TrustBundle | undefined;
  /** ms since the epoch. */
  readonly nowMs: number;
}

/**
 * Validates an X.509-SVID: the leaf's profile, then the path (RFC 5280 section 6; X509-SVID section 5) up to a root
 * of the SVID's own trust domain, and of no other. Revocation lists and certificate policies play no part.
 * @returns the identity that is proven
 * @throws IdentityError `chain-*`, `bundle-missing`, `bundle-empty`, `certificate-*`, `der-malformed`
 */
export function verifySvid({ chain, bundles, nowMs }: VerifySvidInput): SpiffeId {
  if (chain.length > MAX_CHAIN) {
    throw new IdentityError(
      'chain-too-long',
      `The chain has ${chain.length} certificates: at most ${MAX_CHAIN} are allowed.`,
    );
  }
  const [first, ...rest] = chain;
  if (first === undefined) throw new IdentityError('chain-empty', 'The chain is empty: a leaf is needed.');
  const leaf = profile(first);
  const id = leafId(leaf);
  const anchors = anchorsOf(id.trustDomain, bundles);
  const paths = findPaths(leaf, rest, anchors);
  // Certificates of one signer differ in validity and constraints: one path that holds is enough.
  let refusal: IdentityError | undefined;
  for (const path of paths) {
    refusal = findFault(path, id.trustDomain, nowMs);
    if (refusal === undefined) return id;
  }
  throw (
    refusal ??
    new IdentityError(
      'chain-untrusted',
      `No root in the trust bundle of ${id.trustDomain.name} has signed this chain: send leaf and intermediates in order, and check that the bundle is current.`,
    )
  );
}

function findFault(
  path: readonly Profiled[],
  trustDomain: TrustDomain,
  nowMs: number,
): IdentityError | undefined {
  try {
    for (const { certificate } of path) refuseOutOfTime(certificate, nowMs);
    for (const [index, signer] of path.entries()) {
      if (index > 0) refuseBadSigner(signer, trustDomain, path.slice(0, index));
    }
    return undefined;
  } catch (error) {
    if (error instanceof IdentityError) return error;
    throw error;
  }
}

function anchorsOf(trustDomain: TrustDomain, bundles: VerifySvidInput['bundles']): readonly Profiled[] {
  const bundle = bundles(trustDomain.name);
  if (bundle === undefined || bundle.trustDomain.name !== trustDomain.name) {
    throw new IdentityError(
      'bundle-missing',
      `There is no trust bundle for ${trustDomain.name}: it is not trusted here.`,
    );
  }
  if (bundle.x509Authorities.length === 0) {
    throw new IdentityError(
      'bundle-empty',
      `The trust bundle of ${trustDomain.name} is empty: none of its SVIDs is trusted.`,
    );
  }
  return bundle.x509Authorities.map(profile);
}

/**
 * The paths of leaf, intermediates and root that the signatures bear out. What the peer sent are hints: a path ends
 * at an anchor, looked for at each step, so that a superfluous root at the end of the chain does no harm.
 */
function findPaths(
  leaf: Profiled,
  sent: readonly Uint8Array[],
  anchors: readonly Profiled[],
): readonly (readonly Profiled[])[] {
  const paths: (readonly Profiled[])[] = [];
  const hints = sent.map(profile);
  const path = [leaf];
  let last = leaf;
  for (;;) {
    const issued = last;
    for (const anchor of anchors) if (hasSigned(anchor, issued)) paths.push([...path, anchor]);
    const next = hints.shift();
    if (next === undefined || !hasSigned(next, last)) return paths;
    path.push(next);
    last = next;
  }
}

function hasSigned(signer: Profiled, issued: Profiled): boolean {
  if (!signer.certificate.subject.equals(issued.certificate.issuer)) return false;
  const key = signer.certificate.openssl.publicKey;
  const bits = key.asymmetricKeyDetails?.modulusLength;
  if (bits !== undefined && bits < MIN_RSA_BITS) return false;
  return issued.certificate.openssl.verify(key);
}

function refuseOutOfTime(certificate: Profiled['certificate'], nowMs: number): void {
  const { notBeforeMs, notAfterMs } = certificate;
  if (nowMs < notBeforeMs) {
    throw new IdentityError(
      'certificate-not-yet-valid',
      `A certificate of the chain is valid only from ${iso(notBeforeMs)}.`,
    );
  }
  // The second of notAfter is still in (RFC 5280 section 4.1.2.5).
  if (nowMs >= notAfterMs + 1000) {
    throw new IdentityError(
      'certificate-expired',
      `A certificate of the chain has expired at ${iso(notAfterMs)}.`,
    );
  }
}

/** @param below what stands under this signer, leaf first */
function refuseBadSigner(signer: Profiled, trustDomain: TrustDomain, below: readonly Profiled[]): void {
  const own = signerTrustDomain(signer);
  if (own !== undefined && own.name !== trustDomain.name) {
    throw new IdentityError(
      'chain-constraint',
      `A signing certificate of ${own.name} has signed for ${trustDomain.name}.`,
    );
  }
  const { pathLength, nameConstraints } = signer.usage;
  const intermediates = below
    .slice(1)
    .filter(({ certificate }) => !certificate.subject.equals(certificate.issuer));
  if (pathLength !== undefined && intermediates.length > pathLength) {
    throw new IdentityError(
      'chain-constraint',
      `A signing certificate allows ${pathLength} intermediates below it, and there are ${intermediates.length}.`,
    );
  }
  if (nameConstraints === undefined) return;
  for (const issued of below) {
    const { subject } = issued.certificate;
    const subjectName = isEmptyName(subject) ? [] : [{ tag: DIRECTORY_NAME, value: subject }];
    for (const name of [...subjectName, ...issued.usage.names]) refuseConstrained(name, nameConstraints);
  }
}

/** URI constraints are applied; a constraint of another form that applies to a name cannot be decided: refused. */
function refuseConstrained(name: Name, { permitted, excluded }: NameConstraints): void {
  const allowed = permitted.filter((subtree) => sameForm(subtree, name));
  const forbidden = excluded.filter((subtree) => sameForm(subtree, name));
  if (allowed.length === 0 && forbidden.length === 0) return;
  const within = (subtree: Name): boolean => isWithin(name, subtree);
  if (isUri(name) && (allowed.length === 0 || allowed.some(within)) && !forbidden.some(within)) return;
  throw new IdentityError(
    'chain-constraint',
    isUri(name)
      ? 'The nameConstraints of a signing certificate do not allow the SPIFFE ID.'
      : 'The nameConstraints of a signing certificate apply to a name that is no URI, which is not supported.',
  );
}

/** RFC 5280 section 4.2.1.10, URIs: a host exactly, or with a leading dot every host below it. */
function isWithin(uri: Name, subtree: Name): boolean {
  const host = /^[a-z]+:\/\/([^/]*)/.exec(uri.value.toString('latin1'))?.[1] ?? '';
  const base = subtree.value.toString('latin1').toLowerCase();
  return base.startsWith('.') ? host.endsWith(base) : host === base;
}

function iso(atMs: number): string {
  return new Date(atMs).toISOString();
}
