import { createPublicKey, verify, type KeyObject } from 'node:crypto';
import { DerReader, IdentityError, oidText, TAG, wholeBytes } from '../identity/index.ts';
import { AuthorityError } from './errors.ts';

/** The one thing of a certificate request that counts: a key that its sender was seen to hold. */
export interface ProvenKey {
  /** DER SubjectPublicKeyInfo, canonical. */
  readonly publicKeyInfo: Buffer;
  readonly publicKeyBits: Buffer;
}

/** Bytes of a request; the largest honest one (RSA 4096) is below 2 KiB. */
const MAX_CSR_BYTES = 16 * 1024;
const MIN_RSA_BITS = 2048;
const MAX_RSA_BITS = 4096;

/** Signature algorithms that prove possession, by OID (RFC 5758, RFC 4055). SHA-1 is not among them. */
const ALGORITHMS: Readonly<Record<string, { readonly key: 'ec' | 'rsa'; readonly digest: string }>> = {
  '1.2.840.10045.4.3.2': { key: 'ec', digest: 'sha256' },
  '1.2.840.10045.4.3.3': { key: 'ec', digest: 'sha384' },
  '1.2.840.10045.4.3.4': { key: 'ec', digest: 'sha512' },
  '1.2.840.113549.1.1.11': { key: 'rsa', digest: 'sha256' },
  '1.2.840.113549.1.1.12': { key: 'rsa', digest: 'sha384' },
  '1.2.840.113549.1.1.13': { key: 'rsa', digest: 'sha512' },
};

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
 * Reads a PKCS#10 request (RFC 2986) and verifies that its sender holds the key. Subject, names and extensions
 * that it asks for are not looked at: what is signed is what attestation proved.
 * @param csr PEM text with one block, or DER
 * @throws AuthorityError `csr-malformed`, `csr-algorithm`, `csr-signature`, `key-refused`
 */
export function readCsr(csr: string | Uint8Array): ProvenKey {
  try {
    return verifyRequest(typeof csr === 'string' ? fromPem(csr) : csr);
  } catch (error) {
    if (!(error instanceof IdentityError)) throw error;
    throw new AuthorityError('csr-malformed', error.message, { cause: error });
  }
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

function verifyRequest(der: Uint8Array): ProvenKey {
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

  const key = readKey(publicKeyInfo);
  const known = ALGORITHMS[oidText(algorithm.content)];
  if (known === undefined || known.key !== key.asymmetricKeyType) {
    throw new AuthorityError(
      'csr-algorithm',
      'The certificate request is signed by an algorithm that is not taken: use ECDSA or RSA (PKCS#1) with SHA-256, SHA-384 or SHA-512.',
    );
  }
  if (!verify(known.digest, info.raw, key, signature)) {
    throw new AuthorityError(
      'csr-signature',
      'The certificate request is not signed by the key it names: its sender did not prove that it holds the private key.',
    );
  }
  return { publicKeyInfo: Buffer.from(publicKeyInfo), publicKeyBits: Buffer.from(publicKeyBits) };
}

function readKey(publicKeyInfo: Buffer): KeyObject {
  let key: KeyObject;
  try {
    key = createPublicKey({ key: publicKeyInfo, format: 'der', type: 'spki' });
  } catch (cause) {
    throw new AuthorityError('key-refused', 'The public key of the certificate request is not a valid key.', {
      cause,
    });
  }
  if (key.asymmetricKeyType === 'rsa') refuseWeakRsa(key, publicKeyInfo);
  else if (
    !CURVES.some(
      ({ prefix, size }) =>
        publicKeyInfo.length === size && publicKeyInfo.subarray(0, prefix.length).equals(prefix),
    )
  ) {
    throw new AuthorityError(
      'key-refused',
      `The certificate request has a key of the kind ${key.asymmetricKeyType ?? 'unknown'} ${key.asymmetricKeyDetails?.namedCurve ?? ''}: ECDSA on ${CURVES.map(({ name }) => name).join(' or ')} (named curve, uncompressed), or RSA of ${MIN_RSA_BITS} to ${MAX_RSA_BITS} bits is allowed.`,
    );
  }
  return key;
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
