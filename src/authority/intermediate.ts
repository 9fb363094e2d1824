import type { TrustDomain } from '../identity/index.ts';
import { keyIdOf, signingSubject, writeSigningCertificate } from './certificate.ts';
import { generateKeyPair, publicKeyInfo, randomSerial } from './keys.ts';
import { pemBlock } from './pem.ts';
import { BACKDATE_MS, type Root } from './root.ts';
import { LeafTemplate } from './template.ts';

/** A short-lived signing certificate below the root. Its key lives in memory alone. */
export interface Intermediate {
  readonly certificate: Buffer;
  readonly pem: string;
  readonly template: LeafTemplate;
  /** Its validity, ms since the epoch, whole seconds. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** From here on it signs no more: half of its life is over. */
  readonly replaceAtMs: number;
}

/** Synchronous, so that the first request after a long sleep finds a fresh one too. */
export function createIntermediate(
  root: Root,
  trustDomain: TrustDomain,
  nowMs: number,
  ttlMs: number,
): Intermediate {
  const keys = generateKeyPair();
  const serial = randomSerial();
  const keyId = keyIdOf(keys.point);
  const subject = signingSubject('Countersign Intermediate CA', serial);
  const notBeforeMs = wholeSecond(Math.max(nowMs - BACKDATE_MS, root.notBeforeMs));
  const notAfterMs = wholeSecond(Math.min(nowMs + ttlMs, root.notAfterMs));
  const certificate = writeSigningCertificate({
    issuer: root.issuer,
    serial,
    subject,
    notBeforeMs,
    notAfterMs,
    publicKeyInfo: publicKeyInfo(keys.point),
    keyId,
    uri: trustDomain.id.uri,
    pathLength: 0,
  });
  return {
    certificate,
    pem: pemBlock('CERTIFICATE', certificate),
    template: new LeafTemplate({ name: subject, keyId, privateKey: keys.privateKey }),
    notBeforeMs,
    notAfterMs,
    replaceAtMs: nowMs + (notAfterMs - nowMs) / 2,
  };
}

/** Certificates carry whole seconds. */
export function wholeSecond(atMs: number): number {
  return Math.floor(atMs / 1000) * 1000;
}
