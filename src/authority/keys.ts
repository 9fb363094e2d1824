import {
  createECDH,
  generateKeyPairSync,
  randomBytes,
  randomFillSync,
  type KeyObject,
  type webcrypto,
} from 'node:crypto';
import { pemBlock } from './pem.ts';

/** A P-256 key pair as its numbers. */
export interface KeyNumbers {
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

/** The order of P-256's base point (SP 800-186). */
const ORDER = Buffer.from('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551', 'hex');
const ZERO = Buffer.alloc(32);

/** Whether it is a private number of P-256: from 1, and below the order. */
export function isPrivateNumber(secret: Buffer): boolean {
  return secret.length === 32 && secret.compare(ZERO) > 0 && secret.compare(ORDER) < 0;
}

/**
 * A key that is never used here, by rejection sampling (FIPS 186-5, A.2.2): a random number that is in range, and the
 * point that OpenSSL multiplies from it. `generateKeyPairSync` does the same, and takes twice as long until its key
 * object is exported: most of that are objects around the two numbers.
 */
export function generateKeyNumbers(): KeyNumbers {
  let secret = randomBytes(32);
  // Once in 2^32.
  while (!isPrivateNumber(secret)) secret = randomBytes(32);
  // A new one each time: it keeps its key for as long as it lives.
  const ecdh = createECDH('prime256v1');
  ecdh.setPrivateKey(secret);
  return { point: ecdh.getPublicKey(), secret };
}

/** How keys are asked for that other threads make: as JWK, by far the cheapest way from a key object to its numbers. */
export const P256_AS_JWK = {
  namedCurve: 'prime256v1',
  privateKeyEncoding: { format: 'jwk' },
} as const;

/** A key to sign with. */
export function generateKeyPair(): KeyNumbers & { readonly privateKey: KeyObject } {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  return { ...numbersOf(privateKey.export({ format: 'jwk' })), privateKey };
}

export function numbersOf({ x, y, d }: webcrypto.JsonWebKey): KeyNumbers {
  const point = Buffer.allocUnsafe(65);
  point[0] = 4;
  const secret = Buffer.from(String(d), 'base64url');
  const written = point.write(String(x), 1, 'base64url') + point.write(String(y), 33, 'base64url');
  if (written !== 64 || secret.length !== 32) throw new RangeError('A P-256 key has numbers of 32 bytes.');
  return { point, secret };
}

/** DER SubjectPublicKeyInfo, 91 bytes. */
export function publicKeyInfo(point: Buffer): Buffer {
  return Buffer.concat([PUBLIC_KEY_PREFIX, point], PUBLIC_KEY_PREFIX.length + point.length);
}

/** PKCS#8 PEM. */
export function privateKeyPem(keys: KeyNumbers): string {
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
