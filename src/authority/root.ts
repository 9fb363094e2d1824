import { createPrivateKey, createPublicKey, hash, X509Certificate, type KeyObject } from 'node:crypto';
import 'reflect-metadata';
import { Crypto } from '@peculiar/webcrypto';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { DerReader, profile, TAG, type Profiled, type TrustDomain } from '../identity/index.ts';
import type { Issuer } from './certificate.ts';
import { keyIdOf } from './certificate.ts';
import { AuthorityError } from './errors.ts';
import { randomSerial } from './keys.ts';
import type { StoredRoot } from './key-store.ts';
import { memoryKey, type SigningKey } from './signature.ts';

/** A root that can sign: itself, or by a CA below it. */
export interface Root {
  /** The trust anchor. */
  readonly certificate: Buffer;
  /** Of the anchor: SHA-256 of the certificate, lower-case hex. */
  readonly fingerprint: string;
  /** What signs, as it goes into what it signs. */
  readonly issuer: Pick<Issuer, 'name' | 'keyId'>;
  readonly key: SigningKey;
  /** From what signs up to the anchor, which is not in it; empty where the anchor itself signs. DER. */
  readonly chain: readonly Buffer[];
  /** How many signing certificates may follow below what signs; `undefined`: any. */
  readonly pathLength: number | undefined;
  /** When all of anchor and chain are valid, ms since the epoch. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** Where it is kept, for people. */
  readonly where: string;
}

/** A root as an operator sees it. */
export interface RootDescription {
  /** SHA-256 of the certificate, lower-case hex. */
  readonly fingerprint: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

export function describeRoot({ certificate }: Pick<StoredRoot, 'certificate'>): RootDescription {
  const { validFromDate, validToDate } = new X509Certificate(certificate);
  return {
    fingerprint: hash('sha256', certificate, 'hex'),
    notBeforeMs: validFromDate.getTime(),
    notAfterMs: validToDate.getTime(),
  };
}

/** How far back certificates begin, for peers whose clock is behind. */
export const BACKDATE_MS = 30_000;

/** Roots are made with the WebCrypto that `@peculiar/x509` is made for, whatever the runtime's own does. */
const webcrypto = new Crypto();
const P256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/** A new self-signed root of the trust domain, with its key (X509-SVID section 3.2). */
export async function createRoot(
  trustDomain: TrustDomain,
  nowMs: number,
  ttlMs: number,
): Promise<StoredRoot> {
  const keys = await webcrypto.subtle.generateKey(P256, true, ['sign', 'verify']);
  const serial = randomSerial().toString('hex');
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: serial,
      name: [{ O: ['Countersign'] }, { CN: ['Countersign Root CA'] }, { '2.5.4.5': [serial] }],
      notBefore: new Date(nowMs - BACKDATE_MS),
      notAfter: new Date(nowMs + ttlMs),
      keys,
      signingAlgorithm: P256,
      extensions: [
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
        new BasicConstraintsExtension(true, undefined, true),
        await SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
        await AuthorityKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
        new SubjectAlternativeNameExtension([{ type: 'url', value: trustDomain.id.uri }]),
      ],
    },
    webcrypto,
  );
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  const privateKey = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
  return {
    certificate: Buffer.from(certificate.rawData),
    privateKeyPem: privateKey.export({ format: 'pem', type: 'pkcs8' }),
  };
}

/**
 * Makes a stored root usable, after checking that it is one: a self-signed CA whose key this is.
 * @param where names the store in errors.
 * @throws AuthorityError `store-corrupted`
 */
export function openRoot(stored: StoredRoot, where: string): Root {
  const refuse = (finding: string, cause?: unknown): AuthorityError =>
    new AuthorityError(
      'store-corrupted',
      `The root in ${where} cannot be used: ${finding}. Restore the store from a backup.`,
      { cause },
    );
  let certificate: X509Certificate;
  let privateKey: KeyObject;
  try {
    certificate = new X509Certificate(stored.certificate);
    privateKey = createPrivateKey(stored.privateKeyPem ?? '');
  } catch (cause) {
    throw refuse('its certificate or key is not readable', cause);
  }
  if (privateKey.asymmetricKeyType !== 'ec' || privateKey.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw refuse('its key is not ECDSA P-256');
  }
  if (!certificate.checkPrivateKey(privateKey)) throw refuse('its key belongs to another certificate');
  const publicKey = createPublicKey(privateKey);
  if (!certificate.ca || !certificate.verify(publicKey)) {
    throw refuse('its certificate is not a self-signed CA');
  }
  return rootOf([certificate.raw], memoryKey(privateKey, publicKey), where);
}

/**
 * @param path from what signs to the anchor, DER; each is the next one's issue
 * @throws IdentityError where one of them is no certificate that may sign
 */
export function rootOf(path: readonly Buffer[], key: SigningKey, where: string): Root {
  const profiles = path.map(profile);
  const [issuing] = profiles;
  const anchor = profiles.at(-1);
  if (issuing === undefined || anchor === undefined)
    throw new RangeError('A root is a path of at least one.');
  const left = profiles.flatMap(({ usage }, below) =>
    usage.pathLength === undefined ? [] : [usage.pathLength - below],
  );
  return {
    certificate: anchor.certificate.raw,
    fingerprint: hash('sha256', anchor.certificate.raw, 'hex'),
    issuer: { name: issuing.certificate.subject, keyId: subjectKeyId(issuing) },
    key,
    chain: profiles.slice(0, -1).map(({ certificate }) => certificate.raw),
    pathLength: left.length === 0 ? undefined : Math.min(...left),
    notBeforeMs: Math.max(...profiles.map(({ certificate }) => certificate.notBeforeMs)),
    notAfterMs: Math.min(...profiles.map(({ certificate }) => certificate.notAfterMs)),
    where,
  };
}

/** As the certificate says, for others made theirs in their own way; else as RFC 5280 section 4.2.1.2 does it. */
export function subjectKeyId({ certificate }: Profiled): Buffer {
  const stated = certificate.extensions.get('2.5.29.14');
  if (stated === undefined) return keyIdOf(keyBits(certificate.raw));
  return Buffer.from(new DerReader(stated.value, 'key identifier').read(TAG.octetString, 'it').content);
}

function keyBits(der: Buffer): Buffer {
  const fields = new DerReader(der, 'root').enter(TAG.sequence, 'it').enter(TAG.sequence, 'its content');
  for (const part of ['version', 'serial', 'algorithm', 'issuer', 'validity', 'subject'])
    fields.readAny(part);
  const key = fields.enter(TAG.sequence, 'its key');
  key.read(TAG.sequence, 'its key algorithm');
  return key.read(TAG.bitString, 'its key').content.subarray(1);
}
