import { createPublicKey, verify, type KeyObject } from 'node:crypto';
import { DerReader, IdentityError, TAG, wholeBytes } from '../identity/index.ts';
import { AuthorityError } from './errors.ts';

/** The one thing of a certificate request that counts, its key, and what is to prove that its sender holds it. */
export interface ReadCsr {
  /** DER SubjectPublicKeyInfo. These are views of the request. */
  readonly publicKeyInfo: Buffer;
  readonly publicKeyBits: Buffer;
  /** DER CertificationRequestInfo. */
  readonly signed: Buffer;
  readonly signature: Buffer;
  /** By which it says that it is signed; undefined: by none that is taken. */
  readonly algorithm: { readonly key: KeyKind; readonly digest: string } | undefined;
}

type KeyKind = 'ec' | 'rsa';

/** A key of a kind that is taken, in its canonical form. Nobody was seen to hold it yet. */
export interface ReadKey {
  readonly csr: ReadCsr;
  readonly key: KeyObject;
  readonly kind: KeyKind;
}

/** Bytes of a request; the largest honest one (RSA 4096) is below 2 KiB. */
const MAX_CSR_BYTES = 16 * 1024;
const MIN_RSA_BITS = 2048;
const MAX_RSA_BITS = 4096;

/** Signature algorithms that prove possession (RFC 5758, RFC 4055), by the content of their OID. SHA-1 is not among them. */
const ALGORITHMS: ReadonlyMap<string, NonNullable<ReadCsr['algorithm']>> = new Map([
  ['2a8648ce3d040302', { key: 'ec', digest: 'sha256' }],
  ['2a8648ce3d040303', { key: 'ec', digest: 'sha384' }],
  ['2a8648ce3d040304', { key: 'ec', digest: 'sha512' }],
  ['2a864886f70d01010b', { key: 'rsa', digest: 'sha256' }],
  ['2a864886f70d01010c', { key: 'rsa', digest: 'sha384' }],
  ['2a864886f70d01010d', { key: 'rsa', digest: 'sha512' }],
]);

/** SubjectPublicKeyInfo prefixes of the curves taken, uncompressed point: no other spelling of them is. */
const CURVES = [
  {
    name: 'P-256',
    prefix: Buffer.from('3059301306072a8648ce3d020106082a8648ce3d03010703420004', 'hex'),
    size: 91,
  },
  {
    name: 'P-384',
    prefix: Buffer.from('3076301006072a8648ce3d020106052b8104002203620004', 'hex'),
    size: 120,
  },
] as const;

/**
 * Reads a PKCS#10 request (RFC 2986). Subject, names and extensions that it asks for are not looked at: what is signed
 * is what attestation proved.
 * @param csr PEM text with one block, or DER
 * @throws AuthorityError `csr-malformed`
 */
export function readCsr(csr: string | Uint8Array): ReadCsr {
  try {
    return readRequest(typeof csr === 'string' ? fromPem(csr) : csr);
  } catch (error) {
    if (!(error instanceof IdentityError)) throw error;
    throw new AuthorityError('csr-malformed', error.message, { cause: error });
  }
}

/** @throws AuthorityError `key-refused` */
export function readKey(csr: ReadCsr): ReadKey {
  const { publicKeyInfo } = csr;
  if (CURVES.some((curve) => isOn(curve, publicKeyInfo))) {
    return { csr, key: importKey(publicKeyInfo), kind: 'ec' };
  }
  const key = importKey(publicKeyInfo);
  if (key.asymmetricKeyType === 'rsa') {
    refuseWeakRsa(key, publicKeyInfo);
    return { csr, key, kind: 'rsa' };
  }
  throw new AuthorityError(
    'key-refused',
    `The certificate request has a key of the kind ${key.asymmetricKeyType ?? 'unknown'} ${key.asymmetricKeyDetails?.namedCurve ?? ''}: ECDSA on ${CURVES.map(({ name }) => name).join(' or ')} (named curve, uncompressed), or RSA of ${MIN_RSA_BITS} to ${MAX_RSA_BITS} bits is allowed.`,
  );
}

/**
 * Verifies that the sender of a request holds its key.
 * @throws AuthorityError `csr-algorithm`, `csr-signature`
 */
export function proveKey({ csr, key, kind }: ReadKey): ReadCsr {
  const { algorithm } = csr;
  if (algorithm?.key !== kind) {
    throw new AuthorityError(
      'csr-algorithm',
      'The certificate request is signed by an algorithm that is not taken: use ECDSA or RSA (PKCS#1) with SHA-256, SHA-384 or SHA-512.',
    );
  }
  if (!verify(algorithm.digest, csr.signed, key, csr.signature)) {
    throw new AuthorityError(
      'csr-signature',
      'The certificate request is not signed by the key it names: its sender did not prove that it holds the private key.',
    );
  }
  return csr;
}

function fromPem(text: string): Buffer {
  const block =
    /^\s*-----BEGIN (NEW )?CERTIFICATE REQUEST-----\s([A-Za-z0-9+/=\s]+)-----END \1?CERTIFICATE REQUEST-----\s*$/;
  if (text.length > 2 * MAX_CSR_BYTES) {
    throw new AuthorityError(
      'csr-malformed',
      `The certificate request has ${text.length} characters: at most ${2 * MAX_CSR_BYTES} are allowed.`,
    );
  }
  const body = block.exec(text)?.[2];
  if (body === undefined) {
    throw new AuthorityError(
      'csr-malformed',
      'The certificate request is not one PEM block "CERTIFICATE REQUEST": send that and nothing else.',
    );
  }
  return Buffer.from(body, 'base64');
}

function readRequest(der: Uint8Array): ReadCsr {
  if (der.length > MAX_CSR_BYTES) {
    throw new AuthorityError(
      'csr-malformed',
      `The certificate request has ${der.length} bytes: at most ${MAX_CSR_BYTES} are allowed.`,
    );
  }
  const outer = new DerReader(der, 'certificate request');
  const request = outer.enter(TAG.sequence, 'the request');
  outer.end('the request');
  const info = request.read(TAG.sequence, 'its content');
  const algorithm = request.enter(TAG.sequence, 'its signature algorithm').read(TAG.oid, 'its algorithm');
  const signature = wholeBytes(
    request.read(TAG.bitString, 'its signature'),
    'signature of the certificate request',
  );
  request.end('its signature');

  const content = new DerReader(info.content, 'certificate request');
  content.read(TAG.integer, 'its version');
  content.read(TAG.sequence, 'its subject');
  const { raw: publicKeyInfo, content: keyContent } = content.read(TAG.sequence, 'its public key');
  const keyReader = new DerReader(keyContent, 'certificate request');
  keyReader.read(TAG.sequence, 'its key algorithm');
  const publicKeyBits = wholeBytes(
    keyReader.read(TAG.bitString, 'its key'),
    'key of the certificate request',
  );
  keyReader.end('its key');

  return {
    publicKeyInfo,
    publicKeyBits,
    signed: info.raw,
    signature,
    algorithm: ALGORITHMS.get(algorithm.content.toString('hex')),
  };
}

function isOn({ prefix, size }: (typeof CURVES)[number], publicKeyInfo: Buffer): boolean {
  return (
    publicKeyInfo.length === size && publicKeyInfo.compare(prefix, 0, prefix.length, 0, prefix.length) === 0
  );
}

/** Checks that a point is on its curve, too. */
function importKey(publicKeyInfo: Buffer): KeyObject {
  try {
    return createPublicKey({ key: publicKeyInfo, format: 'der', type: 'spki' });
  } catch (cause) {
    throw new AuthorityError('key-refused', 'The public key of the certificate request is not a valid key.', {
      cause,
    });
  }
}

function refuseWeakRsa(key: KeyObject, publicKeyInfo: Buffer): void {
  const { modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {};
  if (
    modulusLength < MIN_RSA_BITS ||
    modulusLength > MAX_RSA_BITS ||
    publicExponent < 65537n ||
    publicExponent % 2n === 0n
  ) {
    throw new AuthorityError(
      'key-refused',
      `The certificate request has an RSA key of ${modulusLength} bits and exponent ${publicExponent}: ${MIN_RSA_BITS} to ${MAX_RSA_BITS} bits and an odd exponent from 65537 are allowed.`,
    );
  }
  if (!key.export({ format: 'der', type: 'spki' }).equals(publicKeyInfo)) {
    throw new AuthorityError(
      'key-refused',
      'The RSA key of the certificate request is not in its canonical form.',
    );
  }
}
