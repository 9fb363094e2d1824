import type { TrustDomain } from '../identity/index.ts';
import { sign } from 'node:crypto';
import {
  keyIdOf,
  signedCertificate,
  signingCertificateBody,
  signingSubject,
  type SigningCertificateFields,
} from './certificate.ts';
import { generateKeyPair, publicKeyInfo, randomSerial } from './keys.ts';
import { pemBlock } from './pem.ts';
import { BACKDATE_MS, type Root } from './root.ts';
import { LeafTemplate } from './template.ts';

/** What signs leaves: a short-lived certificate below the root, with its key in memory alone. */
export interface Intermediate {
  /** From what signs leaves up to the root, which is not in it. DER. */
  readonly chain: readonly Buffer[];
  readonly pem: string;
  readonly template: LeafTemplate;
  /** Its validity, ms since the epoch, whole seconds. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** From here on it signs no more, where another one can be had: half of its life is over. */
  readonly replaceAtMs: number;
}

/** An intermediate that nobody has signed yet. */
interface Draft {
  readonly keys: ReturnType<typeof generateKeyPair>;
  readonly fields: SigningCertificateFields;
  readonly replaceAtMs: number;
}

/** Synchronous, so that the first request after a long sleep finds a fresh one too. Undefined: the key is not here. */
export function createIntermediate(
  root: Root,
  trustDomain: TrustDomain,
  nowMs: number,
  ttlMs: number,
): Intermediate | undefined {
  const { privateKey, algorithm } = root.key;
  if (privateKey === undefined) return undefined;
  if (root.pathLength === 0) return withoutOwn(root, privateKey);
  const draft = draftOf(root, trustDomain, nowMs, ttlMs);
  const body = signingCertificateBody(draft.fields, algorithm);
  return finish(draft, root, signedCertificate(body, algorithm, sign(algorithm.hash, body, privateKey)));
}

/** With a key wherever it is. @throws AuthorityError `signer-unavailable` */
export async function requestIntermediate(
  root: Root,
  trustDomain: TrustDomain,
  nowMs: number,
  ttlMs: number,
): Promise<Intermediate> {
  const here = createIntermediate(root, trustDomain, nowMs, ttlMs);
  if (here !== undefined) return here;
  const draft = draftOf(root, trustDomain, nowMs, ttlMs);
  const body = signingCertificateBody(draft.fields, root.key.algorithm);
  return finish(draft, root, signedCertificate(body, root.key.algorithm, await root.key.sign(body)));
}

/** A path of length 0 allows no certificate of our own in between: the operator's CA signs leaves itself. */
function withoutOwn(root: Root, privateKey: NonNullable<Root['key']['privateKey']>): Intermediate {
  return {
    chain: root.chain,
    pem: pemOf(root.chain),
    template: new LeafTemplate({ ...root.issuer, privateKey }),
    notBeforeMs: root.notBeforeMs,
    notAfterMs: root.notAfterMs,
    replaceAtMs: root.notAfterMs,
  };
}

function draftOf(root: Root, trustDomain: TrustDomain, nowMs: number, ttlMs: number): Draft {
  const keys = generateKeyPair();
  const serial = randomSerial();
  const notAfterMs = wholeSecond(Math.min(nowMs + ttlMs, root.notAfterMs));
  return {
    keys,
    fields: {
      issuer: root.issuer,
      serial,
      subject: signingSubject('Countersign Intermediate CA', serial),
      notBeforeMs: wholeSecond(Math.max(nowMs - BACKDATE_MS, root.notBeforeMs)),
      notAfterMs,
      publicKeyInfo: publicKeyInfo(keys.point),
      keyId: keyIdOf(keys.point),
      uri: trustDomain.id.uri,
      pathLength: 0,
    },
    replaceAtMs: nowMs + (notAfterMs - nowMs) / 2,
  };
}

function finish({ keys, fields, replaceAtMs }: Draft, root: Root, certificate: Buffer): Intermediate {
  const chain = [certificate, ...root.chain];
  return {
    chain,
    pem: pemOf(chain),
    template: new LeafTemplate({ name: fields.subject, keyId: fields.keyId, privateKey: keys.privateKey }),
    notBeforeMs: fields.notBeforeMs,
    notAfterMs: fields.notAfterMs,
    replaceAtMs,
  };
}

function pemOf(chain: readonly Buffer[]): string {
  return chain.map((der) => pemBlock('CERTIFICATE', der)).join('');
}

/** Certificates carry whole seconds. */
export function wholeSecond(atMs: number): number {
  return Math.floor(atMs / 1000) * 1000;
}
