import { readCertificate, type Certificate } from './certificate.ts';
import { IdentityError, quote } from './errors.ts';
import { isUri, OID, readUsage, type Usage } from './extensions.ts';
import { SpiffeId, type TrustDomain } from './spiffe-id.ts';

/** A certificate with what its extensions say. */
export interface Profiled {
  readonly certificate: Certificate;
  readonly usage: Usage;
}

/**
 * Checks that a certificate has all that the profile asks of a leaf (X509-SVID sections 2, 3.1, 4, 5.2). Who signed
 * it, and when it is valid, is `verifySvid`'s to say.
 * @param der one certificate
 * @throws IdentityError `der-malformed`, `certificate-malformed`, `certificate-profile`, and those of `SpiffeId.parse`
 */
export function checkLeaf(der: Uint8Array): SpiffeId {
  return leafId(profile(der));
}

/**
 * Checks that a certificate has all that the profile asks of a signing certificate that is itself an SVID
 * (X509-SVID sections 3.2, 4).
 * @returns the trust domain it signs for
 * @throws IdentityError as `checkLeaf`
 */
export function checkSigningCertificate(der: Uint8Array): TrustDomain {
  const trustDomain = signerTrustDomain(profile(der));
  if (trustDomain !== undefined) return trustDomain;
  throw refuse(
    'has no SPIFFE ID: a signing certificate carries that of its trust domain, such as "spiffe://example.org"',
  );
}

export function profile(der: Uint8Array): Profiled {
  const certificate = readCertificate(der);
  return { certificate, usage: readUsage(certificate) };
}

export function leafId({ certificate, usage }: Profiled): SpiffeId {
  const { keyUsage, extendedKeyUsage } = usage;
  if (usage.isAuthority) throw refuse('is a CA (cA is true): a leaf must not be one');
  if (keyUsage === undefined || !keyUsage.critical) throw refuse('has no critical keyUsage');
  if (keyUsage.keyCertSign || keyUsage.crlSign)
    throw refuse('may sign certificates or CRLs: a leaf must not');
  if (!keyUsage.digitalSignature) throw refuse('has a keyUsage without digitalSignature');
  if (
    extendedKeyUsage !== undefined &&
    !(extendedKeyUsage.has(OID.serverAuth) && extendedKeyUsage.has(OID.clientAuth))
  ) {
    throw refuse('has an extendedKeyUsage without both serverAuth and clientAuth');
  }
  if (usage.nameConstraints !== undefined) throw refuse('has nameConstraints, which only a CA may have');
  const id = spiffeId(usage);
  if (id === undefined) throw refuse('has no URI name: exactly one is needed, the SPIFFE ID');
  if (id.path === '')
    throw refuse(`has the SPIFFE ID ${quote(id.uri)} without a path: that is a trust domain's, not a leaf's`);
  if (isEmptyName(certificate.subject) && !usage.namesCritical) {
    throw refuse('has no subject and a subjectAltName that is not critical');
  }
  return id;
}

/** The trust domain of a signing certificate, or `undefined` where it has no SPIFFE ID, which it only should have. */
export function signerTrustDomain({ certificate, usage }: Profiled): TrustDomain | undefined {
  const { keyUsage } = usage;
  if (!usage.isAuthority) throw refuse('is not a CA (cA is not true), so it must not sign certificates');
  if (certificate.extensions.get(OID.basicConstraints)?.critical !== true) {
    throw refuse('has basicConstraints that are not critical, as a CA needs them');
  }
  if (keyUsage === undefined || !keyUsage.critical) throw refuse('has no critical keyUsage');
  if (!keyUsage.keyCertSign)
    throw refuse('has a keyUsage without keyCertSign, so it must not sign certificates');
  if (isEmptyName(certificate.subject)) throw refuse('has no subject, which a CA needs');
  const id = spiffeId(usage);
  if (id !== undefined && id.path !== '') {
    throw refuse(`has the SPIFFE ID ${quote(id.uri)} with a path: a signing certificate must not have one`);
  }
  return id?.trustDomain;
}

function spiffeId(usage: Usage): SpiffeId | undefined {
  const uris = usage.names.filter(isUri);
  if (uris.length > 1) throw refuse(`has ${uris.length} URI names: exactly one is allowed, the SPIFFE ID`);
  // latin1 keeps each byte one character, so that no byte can fold into an allowed one.
  return uris[0] === undefined ? undefined : SpiffeId.parse(uris[0].value.toString('latin1'));
}

export function isEmptyName(name: Buffer): boolean {
  return name.length === 2;
}

function refuse(finding: string): IdentityError {
  return new IdentityError('certificate-profile', `The certificate ${finding}.`);
}
