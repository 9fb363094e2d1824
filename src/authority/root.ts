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
import type { TrustDomain } from '../identity/index.ts';
import { DerReader, TAG } from '../identity/index.ts';
import type { Issuer } from './certificate.ts';
import { keyIdOf } from './certificate.ts';
import { AuthorityError } from './errors.ts';
import { randomSerial } from './keys.ts';
import type { StoredRoot } from './key-store.ts';

/** A root that can sign. */
export interface Root {
  readonly certificate: Buffer;
  readonly issuer: Issuer;
  /** Its own validity, ms since the epoch. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** SHA-256 of the certificate, lower-case hex. */
  readonly fingerprint: string;
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
    privateKey = createPrivateKey(stored.privateKeyPem);
  } catch (cause) {
    throw refuse('its certificate or key is not readable', cause);
  }
  if (privateKey.asymmetricKeyType !== 'ec' || privateKey.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw refuse('its key is not ECDSA P-256');
  }
  if (!certificate.checkPrivateKey(privateKey)) throw refuse('its key belongs to another certificate');
  if (!certificate.ca || !certificate.verify(createPublicKey(privateKey))) {
    throw refuse('its certificate is not a self-signed CA');
  }
  const { subject, publicKeyBits } = nameAndKey(certificate.raw);
  return {
    certificate: certificate.raw,
    issuer: { name: subject, keyId: keyIdOf(publicKeyBits), privateKey },
    ...describeRoot({ certificate: certificate.raw }),
  };
}

function nameAndKey(der: Buffer): { readonly subject: Buffer; readonly publicKeyBits: Buffer } {
  const fields = new DerReader(der, 'root').enter(TAG.sequence, 'it').enter(TAG.sequence, 'its content');
  for (const part of ['version', 'serial', 'algorithm', 'issuer', 'validity']) fields.readAny(part);
  const subject = Buffer.from(fields.read(TAG.sequence, 'its subject').raw);
  const key = fields.enter(TAG.sequence, 'its key');
  key.read(TAG.sequence, 'its key algorithm');
  return { subject, publicKeyBits: key.read(TAG.bitString, 'its key').content.subarray(1) };
}
