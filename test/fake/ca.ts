import { KeyObject, webcrypto } from 'node:crypto';
import 'reflect-metadata';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { type SpiffeId, TrustBundle, type TrustDomain } from '../../src/identity/index.ts';

/** Noon of the day on which the fake world stands still, ms since the epoch. */
export const FAKE_NOW_MS: number = Date.UTC(2026, 10, 22, 12);
const HOUR_MS = 3600 * 1000;
const P256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/** What a fake certificate deviates in. Absent: as a good one has it; `null`: without that extension. */
export interface Deviation {
  readonly uris?: readonly string[];
  readonly dnsNames?: readonly string[];
  readonly namesCritical?: boolean;
  /** A distinguished name such as `CN=web`; empty for none. */
  readonly subject?: string;
  readonly isAuthority?: boolean | null;
  readonly pathLength?: number;
  readonly keyUsage?: readonly KeyUsageFlags[] | null;
  readonly keyUsageCritical?: boolean;
  readonly extendedKeyUsage?: readonly ExtendedKeyUsage[] | null;
  readonly notBeforeMs?: number;
  readonly notAfterMs?: number;
  readonly extensions?: readonly Extension[];
  /** Signs with another digest than SHA-256. */
  readonly hash?: string;
}

/** One made certificate and its key. */
export interface Made {
  readonly der: Buffer;
  readonly privateKey: KeyObject;
}

/** A certificate authority that signs whatever a test asks for, right or wrong. Written by another library than ours. */
export class FakeCa {
  readonly trustDomain: TrustDomain;
  /** Its own certificate. */
  readonly der: Buffer;
  readonly #name: string;
  readonly #keys: webcrypto.CryptoKeyPair;

  private constructor(trustDomain: TrustDomain, name: string, keys: webcrypto.CryptoKeyPair, der: Buffer) {
    this.trustDomain = trustDomain;
    this.#name = name;
    this.#keys = keys;
    this.der = der;
  }

  /** A self-signed root. */
  static async root(trustDomain: TrustDomain, deviation: Deviation = {}): Promise<FakeCa> {
    const keys = await generate();
    const subject = deviation.subject ?? `CN=root of ${trustDomain.name}`;
    const der = await write({
      issuer: subject,
      issuerKeys: keys,
      keys,
      deviation: signer(trustDomain, { subject, ...deviation }),
    });
    return new FakeCa(trustDomain, subject, keys, der);
  }

  /** A root with the name and key of this one: another certificate for the same signer. */
  async again(deviation: Deviation = {}): Promise<FakeCa> {
    const complete = signer(this.trustDomain, { subject: this.#name, ...deviation });
    const der = await write({
      issuer: this.#name,
      issuerKeys: this.#keys,
      keys: this.#keys,
      deviation: complete,
    });
    return new FakeCa(this.trustDomain, this.#name, this.#keys, der);
  }

  /** A signing certificate below this one. */
  async intermediate(
    deviation: Deviation = {},
    trustDomain: TrustDomain = this.trustDomain,
  ): Promise<FakeCa> {
    const keys = await generate();
    const subject = deviation.subject ?? `CN=intermediate of ${trustDomain.name}`;
    const complete = signer(trustDomain, { subject, ...deviation });
    const der = await write({ issuer: this.#name, issuerKeys: this.#keys, keys, deviation: complete });
    return new FakeCa(trustDomain, subject, keys, der);
  }

  /** A leaf; good unless told otherwise. */
  async leaf(id: SpiffeId | string, deviation: Deviation = {}): Promise<Made> {
    const keys = await generate();
    const der = await write({
      issuer: this.#name,
      issuerKeys: this.#keys,
      keys,
      deviation: {
        uris: [String(id)],
        subject: '',
        isAuthority: false,
        keyUsage: [KeyUsageFlags.digitalSignature],
        extendedKeyUsage: [ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth],
        ...deviation,
      },
    });
    return { der, privateKey: KeyObject.from(keys.privateKey) };
  }

  /** The bundle with this certificate as its only root. */
  bundle(): TrustBundle {
    return TrustBundle.of({ trustDomain: this.trustDomain, x509Authorities: [this.der], sequence: 1 });
  }
}

function signer(trustDomain: TrustDomain, deviation: Deviation): Deviation {
  return {
    uris: [trustDomain.id.uri],
    namesCritical: false,
    isAuthority: true,
    keyUsage: [KeyUsageFlags.keyCertSign, KeyUsageFlags.cRLSign],
    extendedKeyUsage: null,
    notBeforeMs: FAKE_NOW_MS - 24 * HOUR_MS,
    notAfterMs: FAKE_NOW_MS + 24 * HOUR_MS,
    ...deviation,
  };
}

async function generate(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(P256, true, ['sign', 'verify']);
}

async function write(request: {
  readonly issuer: string;
  readonly issuerKeys: webcrypto.CryptoKeyPair;
  readonly keys: webcrypto.CryptoKeyPair;
  readonly deviation: Deviation;
}): Promise<Buffer> {
  const { deviation } = request;
  const certificate = await X509CertificateGenerator.create({
    issuer: request.issuer,
    subject: deviation.subject ?? '',
    notBefore: new Date(deviation.notBeforeMs ?? FAKE_NOW_MS - HOUR_MS),
    notAfter: new Date(deviation.notAfterMs ?? FAKE_NOW_MS + HOUR_MS),
    publicKey: request.keys.publicKey,
    signingKey: request.issuerKeys.privateKey,
    signingAlgorithm: { ...P256, hash: deviation.hash ?? 'SHA-256' },
    extensions: extensionsOf(deviation),
  });
  return Buffer.from(certificate.rawData);
}

function extensionsOf(deviation: Deviation): Extension[] {
  const { isAuthority = null, keyUsage = null, extendedKeyUsage = null } = deviation;
  const names = [
    ...(deviation.uris ?? []).map((value) => ({ type: 'url' as const, value })),
    ...(deviation.dnsNames ?? []).map((value) => ({ type: 'dns' as const, value })),
  ];
  return [
    ...(keyUsage === null
      ? []
      : [new KeyUsagesExtension(flagsOf(keyUsage), deviation.keyUsageCritical ?? true)]),
    ...(isAuthority === null ? [] : [new BasicConstraintsExtension(isAuthority, deviation.pathLength, true)]),
    ...(extendedKeyUsage === null ? [] : [new ExtendedKeyUsageExtension([...extendedKeyUsage])]),
    ...(names.length === 0
      ? []
      : [new SubjectAlternativeNameExtension(names, deviation.namesCritical ?? true)]),
    ...(deviation.extensions ?? []),
  ];
}

function flagsOf(usages: readonly KeyUsageFlags[]): KeyUsageFlags {
  // oxlint-disable-next-line typescript/no-unsafe-enum-assignment -- several flags add up to no member
  return usages.reduce<number>((flags, usage) => flags | usage, 0);
}
