import { sign, type KeyObject } from 'node:crypto';
import { oid, sequence, tlv } from './der.ts';

/** How a key signs certificates (RFC 5758, RFC 4055). */
export interface SignatureAlgorithm {
  /** DER AlgorithmIdentifier. */
  readonly der: Buffer;
  readonly hash: 'sha256' | 'sha384';
}

/** A key that signs certificates, wherever it is kept. */
export interface SigningKey {
  readonly publicKey: KeyObject;
  readonly algorithm: SignatureAlgorithm;
  /** Absent: the key is in a token, and never here. */
  readonly privateKey?: KeyObject | undefined;
  /** @returns the signature as certificates carry it @throws AuthorityError `signer-unavailable` */
  sign(toBeSigned: Buffer): Promise<Buffer>;
  /** Where it is in a token: that it is still there. @throws AuthorityError `signer-unavailable` */
  check?(): Promise<void>;
}

const NULL = tlv(0x05, Buffer.alloc(0));
const P256: SignatureAlgorithm = { der: sequence(oid('1.2.840.10045.4.3.2')), hash: 'sha256' };
const P384: SignatureAlgorithm = { der: sequence(oid('1.2.840.10045.4.3.3')), hash: 'sha384' };
const RSA: SignatureAlgorithm = { der: sequence(oid('1.2.840.113549.1.1.11'), NULL), hash: 'sha256' };

export const MIN_RSA_BITS = 2048;
/** More only makes every handshake slower, and Envoy's TLS refuses what is much larger. */
export const MAX_RSA_BITS = 4096;

/** @returns undefined where the authority signs with no such key: only P-256, P-384 and RSA of 2048 to 4096 bits */
export function signatureAlgorithm(key: KeyObject): SignatureAlgorithm | undefined {
  const { namedCurve, modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType === 'ec') {
    if (namedCurve === 'prime256v1') return P256;
    return namedCurve === 'secp384r1' ? P384 : undefined;
  }
  const isGoodRsa =
    key.asymmetricKeyType === 'rsa' && modulusLength >= MIN_RSA_BITS && modulusLength <= MAX_RSA_BITS;
  return isGoodRsa ? RSA : undefined;
}

/**
 * Above what signs, a key need only be one whose signatures Envoy's TLS verifies: no other curves. Of RSA it verifies
 * more bits than these, which every handshake would pay for.
 */
const MAX_ANCHOR_RSA_BITS = 8192;
const ANCHOR_CURVES: ReadonlySet<string | undefined> = new Set(['prime256v1', 'secp384r1', 'secp521r1']);

export const ANCHOR_KEYS: string = `ECDSA P-256, P-384 or P-521, Ed25519, or RSA of ${MIN_RSA_BITS} to ${MAX_ANCHOR_RSA_BITS} bits`;

/** @returns whether it is one of ANCHOR_KEYS */
export function isAnchorKey({ asymmetricKeyType, asymmetricKeyDetails = {} }: KeyObject): boolean {
  const { namedCurve, modulusLength = 0 } = asymmetricKeyDetails;
  if (asymmetricKeyType === 'ec') return ANCHOR_CURVES.has(namedCurve);
  if (asymmetricKeyType === 'rsa')
    return modulusLength >= MIN_RSA_BITS && modulusLength <= MAX_ANCHOR_RSA_BITS;
  return asymmetricKeyType === 'ed25519';
}

/** What a key is, for people. */
export function keyKind(key: KeyObject): string {
  const { namedCurve, modulusLength } = key.asymmetricKeyDetails ?? {};
  const kind = key.asymmetricKeyType ?? key.type;
  if (namedCurve !== undefined) return `${kind} ${namedCurve}`;
  return modulusLength === undefined ? kind : `${kind} of ${modulusLength} bits`;
}

/** @throws TypeError for a key that `signatureAlgorithm` has no algorithm for */
export function algorithmOf(key: KeyObject): SignatureAlgorithm {
  const algorithm = signatureAlgorithm(key);
  if (algorithm === undefined) throw new TypeError(`Certificates are not signed with ${keyKind(key)}.`);
  return algorithm;
}

/** A key that is here. */
export function memoryKey(privateKey: KeyObject, publicKey: KeyObject): SigningKey {
  const algorithm = algorithmOf(privateKey);
  return {
    publicKey,
    algorithm,
    privateKey,
    sign: (toBeSigned) => Promise.resolve(sign(algorithm.hash, toBeSigned, privateKey)),
  };
}
