import { hash, sign, type KeyObject } from 'node:crypto';
import { issueStamp, nodeTag, type SvidHolder } from '../identity/index.ts';
import {
  bitString,
  EMPTY_SEQUENCE,
  extension,
  octetString,
  oid,
  positiveInteger,
  sequence,
  sizeOf,
  time,
  tlv,
  TRUE,
  writeHeader,
} from './der.ts';
import { algorithmOf, type SignatureAlgorithm } from './signature.ts';

/** Who signs: its name and key identifier as they go into what it signs. */
export interface Issuer {
  /** The DER Name. */
  readonly name: Buffer;
  readonly keyId: Buffer;
  readonly privateKey: KeyObject;
}

/** Object identifiers of RFC 5280 and RFC 5758, and the encoded parts that never change. */
const OID = {
  subjectKeyIdentifier: oid('2.5.29.14'),
  keyUsage: oid('2.5.29.15'),
  subjectAltName: oid('2.5.29.17'),
  basicConstraints: oid('2.5.29.19'),
  authorityKeyIdentifier: oid('2.5.29.35'),
  extendedKeyUsage: oid('2.5.29.37'),
} as const;

export const VERSION_3: Buffer = tlv(0xa0, tlv(0x02, Buffer.of(2)));

/** What the SVID profile asks of every leaf (X509-SVID sections 4.1, 4.3, 4.4). */
export const LEAF_EXTENSIONS: Buffer = Buffer.concat([
  extension(OID.keyUsage, true, tlv(0x03, Buffer.of(7, 0x80))),
  extension(OID.extendedKeyUsage, false, sequence(oid('1.3.6.1.5.5.7.3.1'), oid('1.3.6.1.5.5.7.3.2'))),
  extension(OID.basicConstraints, true, EMPTY_SEQUENCE),
]);

/** keyCertSign and cRLSign. */
const SIGNING_KEY_USAGE = extension(OID.keyUsage, true, tlv(0x03, Buffer.of(1, 0x06)));

/** The key identifier of RFC 5280 section 4.2.1.2 (1): SHA-1 of the key's bits. An identifier, not a proof. */
export function keyIdOf(publicKeyBits: Uint8Array): Buffer {
  return hash('sha1', publicKeyBits, 'buffer');
}

export function subjectKeyIdentifier(keyId: Buffer): Buffer {
  return extension(OID.subjectKeyIdentifier, false, octetString(keyId));
}

export function authorityKeyIdentifier(keyId: Buffer): Buffer {
  return extension(OID.authorityKeyIdentifier, false, sequence(tlv(0x80, keyId)));
}

/** Critical where the subject is empty, and only there (RFC 5280 section 4.2.1.6). */
export function subjectAltName(critical: boolean, ...names: readonly Buffer[]): Buffer {
  return extension(OID.subjectAltName, critical, sequence(...names));
}

export function uriName(uri: string): Buffer {
  return tlv(0x86, Buffer.from(uri, 'latin1'));
}

export function dnsName(name: string): Buffer {
  return tlv(0x82, Buffer.from(name, 'latin1'));
}

/** @param bytes 4 or 16 */
export function ipName(bytes: Uint8Array): Buffer {
  return tlv(0x87, bytes);
}

/** The subject of a signing certificate. The serial is in it: verifiers give up on many roots of one name. */
export function signingSubject(commonName: string, serial: Buffer): Buffer {
  const attribute = (type: string, tag: number, value: string): Buffer =>
    tlv(0x31, sequence(oid(type), tlv(tag, Buffer.from(value, 'utf8'))));
  return sequence(
    attribute('2.5.4.10', 0x0c, 'Countersign'),
    attribute('2.5.4.3', 0x0c, commonName),
    attribute('2.5.4.5', 0x13, serial.toString('hex')),
  );
}

const NAME = {
  node: oid('2.5.4.11'),
  pod: oid('0.9.2342.19200300.100.1.1'),
  issuedAt: oid('2.5.4.46'),
} as const;

/** The subject of a leaf: node (OU), pod (userid) and time of issue (dnQualifier). `subjectText` is how it is read. */
export function leafSubject(issuedAtMs: number, holder: SvidHolder | undefined): Buffer {
  const issued = namePart(NAME.issuedAt, 0x13, issueStamp(issuedAtMs));
  if (holder === undefined) return sequence(issued);
  return sequence(nodePart(holder.node), namePart(NAME.pod, 0x0c, holder.podUid), issued);
}

/** One attribute: a SET of a SEQUENCE of type and value, written at once, as each leaf has new ones. */
function namePart(type: Buffer, tag: number, value: string): Buffer {
  const pair = type.length + sizeOf(value.length);
  const out = Buffer.allocUnsafe(sizeOf(sizeOf(pair)));
  let at = writeHeader(out, 0, 0x31, sizeOf(pair));
  at = writeHeader(out, at, 0x30, pair);
  out.set(type, at);
  at = writeHeader(out, at + type.length, tag, value.length);
  out.write(value, at, 'latin1');
  return out;
}

/** Nodes are few, and hashing one costs as much as all the rest of a subject. */
const nodeParts = new Map<string, Buffer>();
const MAX_NODE_PARTS = 8_192;

function nodePart(node: string): Buffer {
  const known = nodeParts.get(node);
  if (known !== undefined) return known;
  if (nodeParts.size >= MAX_NODE_PARTS) nodeParts.clear();
  const part = namePart(NAME.node, 0x0c, nodeTag(node));
  nodeParts.set(node, part);
  return part;
}

export interface SigningCertificateFields {
  readonly issuer: Pick<Issuer, 'name' | 'keyId'>;
  readonly serial: Buffer;
  readonly subject: Buffer;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** DER SubjectPublicKeyInfo and the identifier of its key. */
  readonly publicKeyInfo: Buffer;
  readonly keyId: Buffer;
  /** The trust domain's own SPIFFE ID. */
  readonly uri: string;
  /** How many signing certificates may follow; `undefined` sets no limit. At most 127. */
  readonly pathLength: number | undefined;
}

/** What is to be signed of a signing certificate after X509-SVID sections 3.2 and 4, as DER. */
export function signingCertificateBody(
  fields: SigningCertificateFields,
  algorithm: SignatureAlgorithm,
): Buffer {
  const { issuer, pathLength } = fields;
  const limit = pathLength === undefined ? [] : [tlv(0x02, Buffer.of(pathLength))];
  return sequence(
    VERSION_3,
    positiveInteger(fields.serial),
    algorithm.der,
    issuer.name,
    sequence(time(fields.notBeforeMs), time(fields.notAfterMs)),
    fields.subject,
    fields.publicKeyInfo,
    tlv(
      0xa3,
      sequence(
        SIGNING_KEY_USAGE,
        extension(OID.basicConstraints, true, sequence(TRUE, ...limit)),
        subjectKeyIdentifier(fields.keyId),
        authorityKeyIdentifier(issuer.keyId),
        subjectAltName(false, uriName(fields.uri)),
      ),
    ),
  );
}

/** A signing certificate, signed with a key that is here. */
export function writeSigningCertificate(fields: SigningCertificateFields & { issuer: Issuer }): Buffer {
  const { privateKey } = fields.issuer;
  const algorithm = algorithmOf(privateKey);
  const body = signingCertificateBody(fields, algorithm);
  return signedCertificate(body, algorithm, sign(algorithm.hash, body, privateKey));
}

export function signedCertificate(
  toBeSigned: Buffer,
  algorithm: SignatureAlgorithm,
  signature: Buffer,
): Buffer {
  return sequence(toBeSigned, algorithm.der, bitString(signature));
}
