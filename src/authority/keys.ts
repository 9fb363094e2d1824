import { generateKeyPairSync, randomFillSync, type KeyObject } from 'node:crypto';
import { pemBlock } from './pem.ts';

/** A P-256 key pair, in the forms that certificates need. */
export interface KeyPair {
  readonly privateKey: KeyObject;
  /** The uncompressed point, 65 bytes. */
  readonly point: Buffer;
  /** The private number, 32 bytes. */
  readonly secret: Buffer;
}

/** SubjectPublicKeyInfo of P-256, up to the point (RFC 5480). */
const PUBLIC_KEY_PREFIX = Buffer.from('3059301306072a8648ce3d020106082a8648ce3d030107034200', 'hex');
/** PKCS#8 (RFC 5958) around the ECPrivateKey of RFC 5915, up to the private number, and from there to the point. */
const PRIVATE_KEY_PREFIX = Buffer.from(
  '308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420',
  'hex',
);
const PRIVATE_KEY_MIDDLE = Buffer.from('a144034200', 'hex');

export function generateKeyPair(): KeyPair {
  return keyPairOf(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey);
}

/**
 * The JWK export is by far the cheapest way to the numbers (10 us; the SPKI and PKCS#8 encoders take 30 to 75 us
 * each, as long as making the key), and around them both encodings are constant.
 */
export function keyPairOf(privateKey: KeyObject): KeyPair {
  const { x, y, d } = privateKey.export({ format: 'jwk' });
  const point = Buffer.allocUnsafe(65);
  point[0] = 4;
  const secret = Buffer.from(String(d), 'base64url');
  const written = point.write(String(x), 1, 'base64url') + point.write(String(y), 33, 'base64url');
  if (written !== 64 || secret.length !== 32) throw new RangeError('A P-256 key has numbers of 32 bytes.');
  return { privateKey, point, secret };
}

/** DER SubjectPublicKeyInfo, 91 bytes. */
export function publicKeyInfo(point: Buffer): Buffer {
  return Buffer.concat([PUBLIC_KEY_PREFIX, point], PUBLIC_KEY_PREFIX.length + point.length);
}

/** PKCS#8 PEM. */
export function privateKeyPem(keys: KeyPair): string {
  return pemBlock(
    'PRIVATE KEY',
    Buffer.concat([PRIVATE_KEY_PREFIX, keys.secret, PRIVATE_KEY_MIDDLE, keys.point]),
  );
}

const SERIAL_BYTES = 16;
/** Serials are public, so their randomness may wait in a pool; the system is asked once for many. */
const pool = Buffer.alloc(256 * SERIAL_BYTES);
let poolAt = pool.length;

/** 16 random bytes that are, as they stand, a positive INTEGER of that length: 126 of the bits are random. */
export function randomSerial(): Buffer {
  if (poolAt === pool.length) {
    randomFillSync(pool);
    poolAt = 0;
  }
  const serial = Buffer.from(pool.subarray(poolAt, poolAt + SERIAL_BYTES));
  poolAt += SERIAL_BYTES;
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
  return serial;
}
