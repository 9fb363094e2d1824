import { createPublicKey, hash, generateKeyPairSync, webcrypto } from 'node:crypto';
import 'reflect-metadata';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { beforeAll, describe, expect, it } from 'vitest';
import { DerReader, SpiffeId, TAG, TrustDomain } from '../identity/index.ts';
import { type Issuer, keyIdOf, leafSubject, signingSubject, writeSigningCertificate } from './certificate.ts';
import { sequence, time } from './der.ts';
import { randomSerial } from './keys.ts';
import { namesExtension } from './names.ts';
import { LeafTemplate } from './template.ts';

const P256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const td = TrustDomain.parse('example.org');
const POD_UID = '7d0f3b5c-58a1-4a55-9a6e-0b6c1f8f2a11';
const NOT_BEFORE_MS = Date.UTC(2026, 10, 22, 12);

interface Key {
  readonly spki: Buffer;
  readonly bits: Buffer;
  readonly publicKey: webcrypto.CryptoKey;
}

let issuer: Issuer;
let issuerKeys: webcrypto.CryptoKeyPair;
let issuerPublicKey: webcrypto.CryptoKey;
const issuerSerial = Buffer.from('0123456789abcdef0123456789abcdef', 'hex');
/** The issuer's name as the other library is told it. */
const issuerName = [
  { O: [{ utf8String: 'Countersign' }] },
  { CN: [{ utf8String: 'Some CA' }] },
  { '2.5.4.5': [{ printableString: issuerSerial.toString('hex') }] },
];

function keyOf(publicKey: webcrypto.CryptoKey, spki: ArrayBuffer): Key {
  const reader = new DerReader(Buffer.from(spki), 'key').enter(TAG.sequence, 'it');
  reader.read(TAG.sequence, 'algorithm');
  return { publicKey, spki: Buffer.from(spki), bits: reader.read(TAG.bitString, 'key').content.subarray(1) };
}

async function p256(): Promise<Key> {
  const { publicKey } = await webcrypto.subtle.generateKey(P256, true, ['sign', 'verify']);
  return keyOf(publicKey, await webcrypto.subtle.exportKey('spki', publicKey));
}

async function rsa(): Promise<Key> {
  const algorithm = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
  const spki = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({
    format: 'der',
    type: 'spki',
  });
  const publicKey = await webcrypto.subtle.importKey('spki', new Uint8Array(spki), algorithm, true, [
    'verify',
  ]);
  return keyOf(publicKey, new Uint8Array(spki).buffer);
}

beforeAll(async () => {
  issuerKeys = await webcrypto.subtle.generateKey(P256, true, ['sign', 'verify']);
  issuerPublicKey = issuerKeys.publicKey;
  const { bits } = keyOf(issuerPublicKey, await webcrypto.subtle.exportKey('spki', issuerPublicKey));
  issuer = {
    name: signingSubject('Some CA', issuerSerial),
    keyId: keyIdOf(bits),
    privateKey: (await import('node:crypto')).KeyObject.from(issuerKeys.privateKey),
  };
});

interface Wanted {
  readonly serial: Buffer;
  readonly subject: readonly object[];
  readonly notAfterMs: number;
  readonly key: Key;
  readonly extensions: Extension[];
}

/** What the other library makes of the same input: the TBSCertificate. */
async function theirs({ serial, subject, notAfterMs, key, extensions }: Wanted): Promise<string> {
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serial.toString('hex'),
    issuer: issuerName as never,
    subject: subject as never,
    notBefore: new Date(NOT_BEFORE_MS),
    notAfter: new Date(notAfterMs),
    publicKey: key.publicKey,
    signingKey: issuerKeys.privateKey,
    signingAlgorithm: P256,
    extensions,
  });
  return toBeSigned(Buffer.from(certificate.rawData));
}

function toBeSigned(certificate: Buffer): string {
  return new DerReader(certificate, 'certificate')
    .enter(TAG.sequence, 'it')
    .read(TAG.sequence, 'content')
    .raw.toString('hex');
}

describe('LeafTemplate', () => {
  it.each([
    ['a P-256 key', p256, {}, '/ns/shop/sa/web', Date.UTC(2026, 10, 22, 13)],
    ['a pod', p256, { pod: true }, '/ns/shop/sa/web', Date.UTC(2026, 10, 22, 13)],
    ['an RSA key', rsa, {}, '/ns/shop/sa/web', Date.UTC(2026, 10, 22, 13)],
    [
      'DNS names and addresses',
      p256,
      { dns: ['web.shop.svc', '*.web'], ips: ['10.1.2.3', '2001:db8::1'] },
      '/a',
      Date.UTC(2026, 10, 22, 13),
    ],
    ['a very long ID', p256, {}, `/${'a'.repeat(2000)}`, Date.UTC(2026, 10, 22, 13)],
    ['an end beyond 2049', p256, {}, '/a', Date.UTC(2050, 0, 1)],
    ['the last second of 2049', p256, {}, '/a', Date.UTC(2050, 0, 1) - 1000],
  ] as const)(
    'writes, for %s, byte for byte what @peculiar/x509 does',
    async (_title, makeKey, names, path, notAfterMs) => {
      const key = await makeKey();
      const serial = randomSerial();
      const id = SpiffeId.parse(`${td.id.uri}${path}`);
      const { dns = [], ips = [] } = names as { dns?: readonly string[]; ips?: readonly string[] };
      const ours = new LeafTemplate(issuer).write({
        serial,
        validity: sequence(time(NOT_BEFORE_MS), time(notAfterMs)),
        subject: leafSubject(
          NOT_BEFORE_MS + 30_123,
          'pod' in names ? { podUid: POD_UID, node: 'node-1' } : undefined,
        ),
        publicKeyInfo: key.spki,
        publicKeyBits: key.bits,
        subjectAltName: namesExtension(id, dns, ips),
      });
      const expected = await theirs({
        serial,
        subject: [
          ...('pod' in names
            ? [
                { OU: [{ utf8String: hash('sha256', 'node-1').slice(0, 16) }] },
                { '0.9.2342.19200300.100.1.1': [{ utf8String: POD_UID }] },
              ]
            : []),
          { '2.5.4.46': [{ printableString: '20261122120030.123Z' }] },
        ],
        notAfterMs,
        key,
        extensions: [
          new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
          new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
          new BasicConstraintsExtension(false, undefined, true),
          await AuthorityKeyIdentifierExtension.create(issuerPublicKey),
          await SubjectKeyIdentifierExtension.create(key.publicKey),
          new SubjectAlternativeNameExtension(
            [
              { type: 'url', value: id.uri },
              ...dns.map((value) => ({ type: 'dns' as const, value })),
              ...ips.map((value) => ({ type: 'ip' as const, value })),
            ],
            false,
          ),
        ],
      });
      expect(toBeSigned(ours)).toBe(expected);
    },
  );
});

describe('writeSigningCertificate', () => {
  it('writes byte for byte what @peculiar/x509 does', async () => {
    const key = await p256();
    const serial = randomSerial();
    const notAfterMs = NOT_BEFORE_MS + 1000;
    const ours = writeSigningCertificate({
      issuer,
      serial,
      subject: issuer.name,
      notBeforeMs: NOT_BEFORE_MS,
      notAfterMs,
      publicKeyInfo: key.spki,
      keyId: keyIdOf(key.bits),
      uri: td.id.uri,
      pathLength: 0,
    });
    const expected = await theirs({
      serial,
      subject: issuerName,
      notAfterMs,
      key,
      extensions: [
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
        new BasicConstraintsExtension(true, 0, true),
        await SubjectKeyIdentifierExtension.create(key.publicKey),
        await AuthorityKeyIdentifierExtension.create(issuerPublicKey),
        new SubjectAlternativeNameExtension([{ type: 'url', value: td.id.uri }]),
      ],
    });
    expect(toBeSigned(ours)).toBe(expected);
    expect(createPublicKey({ key: key.spki, format: 'der', type: 'spki' }).asymmetricKeyType).toBe('ec');
  });
});

describe('randomSerial', () => {
  it('gives positive numbers of 16 bytes, each another', () => {
    const serials = Array.from({ length: 200 }, randomSerial);
    for (const serial of serials) {
      expect(serial).toHaveLength(16);
      expect(serial[0]).toBeGreaterThanOrEqual(0x40);
      expect(serial[0]).toBeLessThanOrEqual(0x7f);
    }
    expect(new Set(serials.map((serial) => serial.toString('hex'))).size).toBe(200);
  });
});
