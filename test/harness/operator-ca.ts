import { KeyObject, webcrypto } from 'node:crypto';
import 'reflect-metadata';
import {
  BasicConstraintsExtension,
  cryptoProvider,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  AuthorityKeyIdentifierExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';

const { subtle } = webcrypto;
cryptoProvider.set(webcrypto);

export type CaKeyKind = 'P-256' | 'P-384' | 'P-521' | 'RSA-1024' | 'RSA-2048' | 'RSA-3072' | 'Ed25519';

export interface CaOptions {
  readonly name: string;
  readonly key?: CaKeyKind;
  /** Of a key that is kept elsewhere, P-256 or RSA: what signs here is not its own then. */
  readonly publicKey?: KeyObject;
  /** Absent: self-signed. */
  readonly by?: OperatorCa;
  readonly pathLength?: number;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  readonly isAuthority?: boolean;
  readonly keyUsage?: KeyUsageFlags;
  /** URI names. */
  readonly uris?: readonly string[];
  readonly purposes?: readonly string[];
  readonly extensions?: readonly Extension[];
}

/** A CA as an operator would bring it. */
export interface OperatorCa {
  readonly certificate: X509Certificate;
  readonly keys: webcrypto.CryptoKeyPair;
  readonly pem: string;
  /** PKCS#8. */
  readonly keyPem: string;
  readonly der: Buffer;
}

function algorithmOf(
  kind: CaKeyKind,
): webcrypto.RsaHashedKeyGenParams | webcrypto.EcKeyGenParams | webcrypto.Algorithm {
  if (kind === 'Ed25519') return { name: 'Ed25519' };
  if (kind.startsWith('P-')) return { name: 'ECDSA', namedCurve: kind };
  return {
    name: 'RSASSA-PKCS1-v1_5',
    hash: 'SHA-256',
    modulusLength: Number(kind.slice(4)),
    publicExponent: Uint8Array.of(1, 0, 1),
  };
}

async function imported(key: KeyObject): Promise<webcrypto.CryptoKey> {
  const algorithm = algorithmOf(key.asymmetricKeyType === 'rsa' ? 'RSA-2048' : 'P-256');
  return await subtle.importKey('spki', key.export({ format: 'der', type: 'spki' }), algorithm, true, [
    'verify',
  ]);
}

function signingOf(keys: webcrypto.CryptoKeyPair): webcrypto.Algorithm | webcrypto.EcdsaParams {
  const { algorithm } = keys.privateKey;
  if (algorithm.name !== 'ECDSA') return algorithm;
  return {
    name: 'ECDSA',
    hash: (algorithm as webcrypto.EcKeyAlgorithm).namedCurve === 'P-384' ? 'SHA-384' : 'SHA-256',
  };
}

export async function operatorCa(options: CaOptions): Promise<OperatorCa> {
  const { name, key = 'P-256', by, pathLength, isAuthority = true } = options;
  const keys = (await subtle.generateKey(algorithmOf(key), true, [
    'sign',
    'verify',
  ])) as webcrypto.CryptoKeyPair;
  const publicKey = options.publicKey === undefined ? keys.publicKey : await imported(options.publicKey);
  const signer = by?.keys ?? keys;
  const uris = options.uris ?? [];
  const certificate = await X509CertificateGenerator.create({
    serialNumber: webcrypto.randomUUID().replaceAll('-', '').replace(/^./u, '4'),
    subject: `CN=${name}`,
    issuer: by?.certificate.subject ?? `CN=${name}`,
    notBefore: options.notBefore ?? new Date(Date.now() - 60_000),
    notAfter: options.notAfter ?? new Date(Date.now() + 30 * 24 * 3_600_000),
    publicKey,
    signingKey: signer.privateKey,
    signingAlgorithm: signingOf(signer),
    extensions: [
      new BasicConstraintsExtension(isAuthority, pathLength, true),
      new KeyUsagesExtension(options.keyUsage ?? KeyUsageFlags.keyCertSign, true),
      await SubjectKeyIdentifierExtension.create(publicKey),
      await AuthorityKeyIdentifierExtension.create(signer.publicKey),
      ...(uris.length === 0
        ? []
        : [new SubjectAlternativeNameExtension(uris.map((value) => ({ type: 'url' as const, value })))]),
      ...(options.purposes === undefined ? [] : [new ExtendedKeyUsageExtension([...options.purposes])]),
      ...(options.extensions ?? []),
    ],
  });
  return {
    certificate,
    keys,
    pem: `${certificate.toString('pem')}\n`,
    keyPem: KeyObject.from(keys.privateKey).export({ format: 'pem', type: 'pkcs8' }),
    der: Buffer.from(certificate.rawData),
  };
}
