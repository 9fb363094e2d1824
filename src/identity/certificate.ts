import { X509Certificate } from 'node:crypto';
import { DerReader, oidText, TAG } from './der.ts';
import { IdentityError } from './errors.ts';

export interface Extension {
  readonly critical: boolean;
  /** What stands inside the OCTET STRING. */
  readonly value: Buffer;
}

/** The fields of an X.509 v3 certificate (RFC 5280 section 4.1) that path validation looks at. */
export interface Certificate {
  readonly raw: Buffer;
  /** DER Names, compared as bytes. */
  readonly issuer: Buffer;
  readonly subject: Buffer;
  /** ms since the epoch; the last second is still valid. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** By OID. */
  readonly extensions: ReadonlyMap<string, Extension>;
  /** OpenSSL's reading of the same bytes: it checks signatures, and what it cannot read is refused too. */
  readonly openssl: X509Certificate;
}

/** Signature algorithms that still prove something: ECDSA and RSA with SHA-2, RSA-PSS, Ed25519. */
const SIGNATURE_ALGORITHMS: ReadonlySet<string> = new Set([
  '1.2.840.10045.4.3.2',
  '1.2.840.10045.4.3.3',
  '1.2.840.10045.4.3.4',
  '1.2.840.113549.1.1.10',
  '1.2.840.113549.1.1.11',
  '1.2.840.113549.1.1.12',
  '1.2.840.113549.1.1.13',
  '1.3.101.112',
]);

/**
 * Reads one certificate and nothing after it.
 * @throws IdentityError `der-malformed`, `certificate-malformed`
 */
export function readCertificate(der: Uint8Array): Certificate {
  const what = 'certificate';
  const outer = new DerReader(der, what);
  const { raw, content } = outer.read(TAG.sequence, 'it');
  outer.end('it');
  const parts = new DerReader(content, what);
  const body = parts.enter(TAG.sequence, 'its content');
  const outerAlgorithm = parts.read(TAG.sequence, 'its signature algorithm');
  parts.read(TAG.bitString, 'its signature');
  parts.end('its signature');

  const version = body.enter(0xa0, 'its version').read(TAG.integer, 'its version');
  if (version.content.length !== 1 || version.content[0] !== 2) throw malformed('is not of version 3');
  body.read(TAG.integer, 'its serial');
  const algorithm = body.read(TAG.sequence, 'its inner signature algorithm');
  if (!algorithm.raw.equals(outerAlgorithm.raw)) throw malformed('names two signature algorithms');
  const algorithmId = oidText(new DerReader(algorithm.content, what).read(TAG.oid, 'its algorithm').content);
  if (!SIGNATURE_ALGORITHMS.has(algorithmId)) {
    throw malformed(
      `is signed by the algorithm ${algorithmId}; ECDSA or RSA with SHA-2, or Ed25519, is allowed`,
    );
  }
  const issuer = body.read(TAG.sequence, 'its issuer').raw;
  const validity = body.enter(TAG.sequence, 'its validity');
  const notBeforeMs = readTime(validity, 'its first date');
  const notAfterMs = readTime(validity, 'its last date');
  validity.end('its validity');
  const subject = body.read(TAG.sequence, 'its subject').raw;
  body.read(TAG.sequence, 'its public key');
  body.readOptional(0x81, 'its issuer identifier');
  body.readOptional(0x82, 'its subject identifier');
  const extensions =
    body.peek() === undefined ? new Map() : readExtensions(body.enter(0xa3, 'its extensions'));
  body.end('its extensions');
  return { raw, issuer, subject, notBeforeMs, notAfterMs, extensions, openssl: readByOpenssl(raw) };
}

function readExtensions(wrapper: DerReader): ReadonlyMap<string, Extension> {
  const list = wrapper.enter(TAG.sequence, 'its list of extensions');
  wrapper.end('its list of extensions');
  const extensions = new Map<string, Extension>();
  while (!list.atEnd) {
    const fields = list.enter(TAG.sequence, 'an extension');
    const id = oidText(fields.read(TAG.oid, 'an extension name').content);
    const critical = readBoolean(fields, 'the critical mark of an extension');
    const { content } = fields.read(TAG.octetString, `the extension ${id}`);
    fields.end(`the extension ${id}`);
    // RFC 5280 section 4.2: each once. Otherwise two readers could each honour another one.
    if (extensions.has(id)) throw malformed(`has the extension ${id} twice`);
    extensions.set(id, { critical, value: content });
  }
  return extensions;
}

/** A BOOLEAN DEFAULT FALSE. */
export function readBoolean(reader: DerReader, part: string): boolean {
  const value = reader.readOptional(TAG.boolean, part);
  if (value === undefined) return false;
  const byte = value.content[0];
  if (value.content.length !== 1 || (byte !== 0x00 && byte !== 0xff))
    throw malformed(`has a bad BOOLEAN as ${part}`);
  return byte === 0xff;
}

/** RFC 5280 section 4.1.2.5: to the second, in UTC, nothing left out. */
function readTime(reader: DerReader, part: string): number {
  const value = reader.readAny(part);
  const text = value.content.toString('latin1');
  const long =
    value.tag === TAG.generalizedTime ? text : value.tag === TAG.utcTime ? century(text) + text : '';
  const match = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(long);
  if (match === null) throw malformed(`has ${part} in a form that is not allowed`);
  const iso = long.replace(/^(....)(..)(..)(..)(..)(..)Z$/, '$1-$2-$3T$4:$5:$6.000Z');
  const atMs = Date.parse(iso);
  // Date.parse takes 31 February for a day in March.
  if (Number.isNaN(atMs) || new Date(atMs).toISOString() !== iso)
    throw malformed(`has ${part} that does not exist`);
  return atMs;
}

function century(utcTime: string): string {
  return Number(utcTime.slice(0, 2)) < 50 ? '20' : '19';
}

function readByOpenssl(der: Buffer): X509Certificate {
  try {
    return new X509Certificate(der);
  } catch (cause) {
    throw new IdentityError('certificate-malformed', 'The certificate cannot be read by OpenSSL.', { cause });
  }
}

function malformed(finding: string): IdentityError {
  return new IdentityError('certificate-malformed', `The certificate ${finding}.`);
}
