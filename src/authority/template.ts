import { sign } from 'node:crypto';
import {
  authorityKeyIdentifier,
  keyIdOf,
  LEAF_EXTENSIONS,
  subjectKeyIdentifier,
  VERSION_3,
  type Issuer,
} from './certificate.ts';
import { sizeOf, writeHeader } from './der.ts';
import { algorithmOf, type SignatureAlgorithm } from './signature.ts';

/** What differs from leaf to leaf. */
export interface LeafFields {
  /** 16 bytes, the first 0x40 to 0x7f. */
  readonly serial: Buffer;
  /** DER Validity. */
  readonly validity: Buffer;
  /** DER Name. */
  readonly subject: Buffer;
  /** DER SubjectPublicKeyInfo, and the bits of its key. */
  readonly publicKeyInfo: Buffer;
  readonly publicKeyBits: Buffer;
  /** The whole encoded extension. */
  readonly subjectAltName: Buffer;
}

/** The subject key identifier up to its value, which is as long in all leaves. */
const KEY_ID_HEAD = subjectKeyIdentifier(Buffer.alloc(20)).subarray(0, -20);

/**
 * Writes the leaves of one issuer. What is the same in all of them is encoded once; a leaf is then a few copies
 * into one buffer and one signature.
 */
export class LeafTemplate {
  readonly #issuer: Issuer;
  readonly #algorithm: SignatureAlgorithm;
  /** signature algorithm, issuer */
  readonly #middle: Buffer;
  /** key usage, extended key usage, basic constraints, authority key identifier */
  readonly #extensions: Buffer;

  constructor(issuer: Issuer) {
    this.#issuer = issuer;
    this.#algorithm = algorithmOf(issuer.privateKey);
    this.#middle = Buffer.concat([this.#algorithm.der, issuer.name]);
    this.#extensions = Buffer.concat([LEAF_EXTENSIONS, authorityKeyIdentifier(issuer.keyId)]);
  }

  /** The TBSCertificate (RFC 5280 section 4.1), as DER. */
  toBeSigned(fields: LeafFields): Buffer {
    const { serial, validity, subject, publicKeyInfo } = fields;
    const keyId = keyIdOf(fields.publicKeyBits);
    const extensionsLength =
      this.#extensions.length + KEY_ID_HEAD.length + keyId.length + fields.subjectAltName.length;
    const wrapped = sizeOf(extensionsLength);
    const length =
      VERSION_3.length +
      sizeOf(serial.length) +
      this.#middle.length +
      validity.length +
      subject.length +
      publicKeyInfo.length +
      sizeOf(wrapped);
    const out = Buffer.allocUnsafe(sizeOf(length));
    let at = writeHeader(out, 0, 0x30, length);
    at = put(out, at, VERSION_3);
    at = put(out, writeHeader(out, at, 0x02, serial.length), serial);
    at = put(out, at, this.#middle);
    at = put(out, at, validity);
    at = put(out, at, subject);
    at = put(out, at, publicKeyInfo);
    at = writeHeader(out, at, 0xa3, wrapped);
    at = writeHeader(out, at, 0x30, extensionsLength);
    at = put(out, at, this.#extensions);
    at = put(out, at, KEY_ID_HEAD);
    at = put(out, at, keyId);
    put(out, at, fields.subjectAltName);
    return out;
  }

  /** A signed certificate, as DER. */
  write(fields: LeafFields): Buffer {
    const toBeSigned = this.toBeSigned(fields);
    return this.assemble(toBeSigned, this.sign(toBeSigned));
  }

  /** @param toBeSigned as `toBeSigned` writes it */
  sign(toBeSigned: Buffer): Buffer {
    return sign(this.#algorithm.hash, toBeSigned, this.#issuer.privateKey);
  }

  /** The certificate around both, as DER. */
  assemble(toBeSigned: Buffer, signature: Buffer): Buffer {
    const { der } = this.#algorithm;
    const length = toBeSigned.length + der.length + sizeOf(signature.length + 1);
    // A leaf is kept for its whole life; in the pool of small buffers it would keep 64 KiB alive.
    const out = Buffer.allocUnsafeSlow(sizeOf(length));
    let at = put(out, writeHeader(out, 0, 0x30, length), toBeSigned);
    at = put(out, at, der);
    at = writeHeader(out, at, 0x03, signature.length + 1);
    out[at] = 0;
    put(out, at + 1, signature);
    return out;
  }
}

function put(target: Buffer, at: number, source: Buffer): number {
  target.set(source, at);
  return at + source.length;
}
