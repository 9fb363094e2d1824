import { hash, X509Certificate, type KeyObject } from 'node:crypto';
import {
  IdentityError,
  profile,
  signerTrustDomain,
  SpiffeId,
  TrustBundle,
  verifySvid,
  type Profiled,
  type TrustDomain,
} from '../identity/index.ts';
import { sequence, time } from './der.ts';
import { AuthorityError } from './errors.ts';
import { requestIntermediate, wholeSecond } from './intermediate.ts';
import { generateKeyNumbers, publicKeyInfo, randomSerial } from './keys.ts';
import { namesExtension, subjectOf } from './names.ts';
import { rootOf, type Root } from './root.ts';
import {
  isAnchorKey,
  keyKind,
  MAX_RSA_BITS,
  MIN_RSA_BITS,
  signatureAlgorithm,
  ANCHOR_KEYS,
  type SigningKey,
} from './signature.ts';

/** A CA of the operator's, checked: what signs, and what it leads to. */
export interface PluggedCa {
  /** What signs, with its chain up to the root. */
  readonly root: Root;
  /** All that is to be trusted, the root of the chain among them; DER. */
  readonly roots: readonly Buffer[];
  /** Of these: SHA-256, lower-case hex. */
  readonly fingerprints: readonly string[];
  /** Of what signs: SHA-256, lower-case hex. */
  readonly fingerprint: string;
}

export interface CaParts {
  /** What signs comes first, then what stands above it, in any order. DER. */
  readonly certificates: readonly Buffer[];
  /** What is to be trusted. Empty: the self-signed ones among the certificates. */
  readonly roots: readonly Buffer[];
  readonly key: SigningKey;
  /** Where it came from, for errors: no secret. */
  readonly where: string;
}

export interface CaRules {
  readonly trustDomain: TrustDomain;
  /** ms since the epoch. */
  readonly nowMs: number;
  /** That the certificate of the control plane itself will carry. */
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
}

/** With a leaf and an own intermediate a chain stays below what verifiers walk. */
const MAX_CHAIN = 5;
const MAX_ROOTS = 16;
const PROBE_MS = 60_000;

/**
 * Checks all that a peer will check, before anything is signed: that the key is that of a certificate, that this one
 * may sign and leads to a root, that all of it is valid now, and that an SVID below it verifies.
 * @throws AuthorityError `ca-malformed`, `ca-key-refused`, `ca-key-mismatch`, `ca-not-authority`, `ca-foreign`, `ca-untrusted`, `ca-path-length`, `ca-not-valid`, `ca-constrained`, `signer-unavailable`
 */
export async function checkCa(parts: CaParts, rules: CaRules): Promise<PluggedCa> {
  const refuse = (code: AuthorityError['code'], finding: string): AuthorityError =>
    new AuthorityError(code, `The CA in ${parts.where} cannot be used: ${finding}`);
  if (signatureAlgorithm(parts.key.publicKey) === undefined) {
    throw refuse(
      'ca-key-refused',
      `its key is ${keyKind(parts.key.publicKey)}, and ECDSA P-256 or P-384, or RSA of ${MIN_RSA_BITS} to ${MAX_RSA_BITS} bits, is allowed.`,
    );
  }
  const read = (der: Buffer, what: string): Profiled => readSigner(der, what, refuse);
  const certificates = parts.certificates.map((der, index) => read(der, `certificate ${index + 1}`));
  const given = parts.roots.map((der, index) => read(der, `root ${index + 1}`));
  const roots = given.length > 0 ? given : certificates.filter(isSelfSigned);
  if (roots.length > MAX_ROOTS)
    throw refuse('ca-malformed', `it names ${roots.length} roots, and at most ${MAX_ROOTS} are allowed.`);
  for (const root of roots) {
    if (!isSelfSigned(root))
      throw refuse('ca-untrusted', `the root ${nameOf(root)} is not self-signed: name the root above it.`);
  }
  const path = pathOf(parts.key.publicKey, certificates, roots, refuse);
  for (const signer of [...path, ...roots]) refuseForeign(signer, rules.trustDomain, refuse);
  for (const signer of path) refuseBadTime(signer, rules.nowMs, refuse);
  for (const signer of path) refuseBadPurpose(signer, refuse);
  const root = rootOf(
    path.map(({ certificate }) => certificate.raw),
    parts.key,
    parts.where,
  );
  refusePathLength(root, refuse);
  const trusted = roots.map(({ certificate }) => certificate.raw);
  await probe(root, trusted, rules, refuse);
  const [issuing = root.certificate] = root.chain;
  return {
    root,
    roots: trusted,
    fingerprints: trusted.map((der) => hash('sha256', der, 'hex')),
    fingerprint: hash('sha256', issuing, 'hex'),
  };
}

type Refuse = (code: AuthorityError['code'], finding: string) => AuthorityError;

function readSigner(der: Buffer, what: string, refuse: Refuse): Profiled {
  let read: Profiled;
  try {
    read = profile(der);
  } catch (cause) {
    throw refuse('ca-malformed', `${what} is not readable as X.509 v3: ${reason(cause)}`);
  }
  const { publicKey } = read.certificate.openssl;
  if (!isAnchorKey(publicKey)) {
    throw refuse(
      'ca-key-refused',
      `the key of ${what} (${nameOf(read)}) is ${keyKind(publicKey)}, and ${ANCHOR_KEYS} is allowed above what signs.`,
    );
  }
  try {
    signerTrustDomain(read);
  } catch (cause) {
    throw refuse('ca-not-authority', `${what} (${nameOf(read)}) may not sign certificates: ${reason(cause)}`);
  }
  return read;
}

/** From what signs up to a root. What is not on the way must be a root, or it was put there by mistake. */
function pathOf(
  key: KeyObject,
  certificates: readonly Profiled[],
  roots: readonly Profiled[],
  refuse: Refuse,
): readonly Profiled[] {
  const [issuing] = certificates;
  if (issuing === undefined || !issuing.certificate.openssl.publicKey.equals(key)) {
    throw refuse(
      'ca-key-mismatch',
      `its key belongs to another certificate than the first one (${issuing === undefined ? 'there is none' : nameOf(issuing)}): give the one that signs first, and its own key.`,
    );
  }
  const path = [issuing];
  for (let last = issuing; !isIn(roots, last);) {
    const next = [...roots, ...certificates].find(
      (signer) => !path.includes(signer) && hasSigned(signer, last),
    );
    if (next === undefined) {
      throw refuse(
        'ca-untrusted',
        `nothing given has signed ${nameOf(last)}: give every certificate up to the root, and that root (${roots.map(nameOf).join(', ') || 'none was given'}).`,
      );
    }
    path.push(next);
    last = next;
  }
  if (path.length - 1 > MAX_CHAIN) {
    throw refuse(
      'ca-path-length',
      `${path.length - 1} certificates stand below the root: at most ${MAX_CHAIN} are allowed.`,
    );
  }
  const stray = certificates.find((one) => !isIn(path, one) && !isIn(roots, one));
  if (stray === undefined) return path;
  throw refuse('ca-malformed', `${nameOf(stray)} is not part of its chain: leave it out.`);
}

function hasSigned(signer: Profiled, issued: Profiled): boolean {
  return (
    signer.certificate.subject.equals(issued.certificate.issuer) &&
    issued.certificate.openssl.verify(signer.certificate.openssl.publicKey)
  );
}

function isSelfSigned(one: Profiled): boolean {
  return hasSigned(one, one);
}

function isIn(list: readonly Profiled[], one: Profiled): boolean {
  return list.some(({ certificate }) => certificate.raw.equals(one.certificate.raw));
}

function refuseForeign(signer: Profiled, trustDomain: TrustDomain, refuse: Refuse): void {
  const own = signerTrustDomain(signer);
  if (own === undefined || own.name === trustDomain.name) return;
  throw refuse(
    'ca-foreign',
    `${nameOf(signer)} signs for the trust domain ${own.name}, and this one is ${trustDomain.name}.`,
  );
}

function refuseBadTime({ certificate, ...rest }: Profiled, nowMs: number, refuse: Refuse): void {
  const { notBeforeMs, notAfterMs } = certificate;
  if (nowMs >= notBeforeMs && nowMs < notAfterMs) return;
  throw refuse(
    'ca-not-valid',
    `${nameOf({ certificate, ...rest })} is valid from ${iso(notBeforeMs)} to ${iso(notAfterMs)}, and it is ${iso(nowMs)}: renew it, or check the clock.`,
  );
}

/** Verifiers take the purposes of a CA as a limit to what is below it. */
function refuseBadPurpose(signer: Profiled, refuse: Refuse): void {
  const purposes = signer.usage.extendedKeyUsage;
  if (purposes === undefined || isSelfSigned(signer)) return;
  const any = '2.5.29.37.0';
  const [server, client] = ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'];
  if (purposes.has(any) || (purposes.has(server) && purposes.has(client))) return;
  throw refuse(
    'ca-constrained',
    `${nameOf(signer)} has an extendedKeyUsage without serverAuth and clientAuth, which limits all below it: leave the extension out.`,
  );
}

function refusePathLength({ pathLength, key }: Root, refuse: Refuse): void {
  if (pathLength === undefined) return;
  if (pathLength < 0) {
    throw refuse(
      'ca-path-length',
      'a certificate above it allows fewer signing certificates below (pathlen) than there are.',
    );
  }
  if (pathLength === 0 && key.privateKey === undefined) {
    throw refuse(
      'ca-path-length',
      'its path length is 0, so each SVID would have to be signed in the token: give it a pathlen of 1, for the short-lived intermediates of the control plane.',
    );
  }
}

/** An SVID made as all later ones will be, verified as a peer does it. */
async function probe(
  root: Root,
  roots: readonly Buffer[],
  { trustDomain, nowMs, dnsNames, ipAddresses }: CaRules,
  refuse: Refuse,
): Promise<void> {
  const signer = await requestIntermediate(root, trustDomain, nowMs, PROBE_MS);
  const keys = generateKeyNumbers();
  const id = SpiffeId.workload(trustDomain, 'countersign', 'probe');
  const leaf = signer.template.write({
    serial: randomSerial(),
    validity: sequence(
      time(wholeSecond(Math.max(nowMs, signer.notBeforeMs))),
      time(wholeSecond(Math.min(nowMs + PROBE_MS, signer.notAfterMs))),
    ),
    subject: subjectOf(nowMs, { podUid: 'probe', node: 'probe' }),
    publicKeyInfo: publicKeyInfo(keys.point),
    publicKeyBits: keys.point,
    subjectAltName: namesExtension(id, dnsNames, ipAddresses),
  });
  const bundle = TrustBundle.of({ trustDomain, x509Authorities: roots, sequence: 0 });
  try {
    verifySvid({ chain: [leaf, ...signer.chain], bundles: () => bundle, nowMs });
  } catch (cause) {
    throw refuse(
      'ca-constrained',
      `an SVID of ${trustDomain.name} below it would not be accepted: ${reason(cause)} See its constraints, or whether its key answers for another one.`,
    );
  }
}

/**
 * The certificates in a PEM text, DER; what stands around them does not count.
 * @throws AuthorityError `ca-malformed`
 */
export function readCertificates(pem: string, where: string): readonly Buffer[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/gu) ?? [];
  if (blocks.length === 0)
    throw new AuthorityError('ca-malformed', `There is no certificate (PEM) in ${where}.`);
  return blocks.map((block, index) => {
    try {
      return new X509Certificate(block).raw;
    } catch (cause) {
      throw new AuthorityError('ca-malformed', `Certificate ${index + 1} in ${where} is not readable.`, {
        cause,
      });
    }
  });
}

function nameOf({ certificate }: Profiled): string {
  return JSON.stringify(certificate.openssl.subject.replaceAll('\n', ', ').slice(0, 200));
}

function reason(error: unknown): string {
  if (error instanceof IdentityError) return error.message;
  throw error;
}

function iso(atMs: number): string {
  return new Date(atMs).toISOString();
}
