import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { EndpointCredentials } from '../../src/federation/index.ts';
import { readSmallFile } from '../mapping.ts';
import { reasonOf } from './data-dir.ts';

/** How often the files are read. A new content counts when it was the same twice: one of them may be half written. */
const POLL_MS = 1_000;

export interface WebCertificateFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

/** A checked chain with its key, PEM. */
export interface WebCertificate extends EndpointCredentials {
  readonly cert: string;
  readonly key: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

export interface WebCertificateObserver {
  renewed(certificate: WebCertificate): void;
  /** The files hold what cannot be served. */
  refused(message: string): void;
  /** They hold what is served again. */
  restored(): void;
}

/** @throws Error that says which file is at fault */
export async function readWebCertificate(
  files: WebCertificateFiles,
  nowMs: () => number,
): Promise<WebCertificate> {
  return check(await readBoth(files), files, nowMs());
}

/**
 * Follows the files: what can be served is, anything else is told and leaves the one before.
 * @returns the function that stops it
 */
export function watchWebCertificate(
  files: WebCertificateFiles,
  first: WebCertificate,
  nowMs: () => number,
  observer: WebCertificateObserver,
): () => void {
  let seen = '';
  let judged = textOf(first);
  let served = judged;
  const look = async (): Promise<void> => {
    let read: Pair | undefined;
    let content: string;
    try {
      read = await readBoth(files);
      content = textOf(read);
    } catch (error) {
      content = String(error);
    }
    const settled = content === seen;
    seen = content;
    if (closed || !settled || content === judged) return;
    judged = content;
    if (content === served) return observer.restored();
    try {
      const certificate = check(read ?? (await readBoth(files)), files, nowMs());
      served = textOf(certificate);
      observer.renewed(certificate);
    } catch (error) {
      observer.refused(error instanceof Error ? error.message : String(error));
    }
  };
  let timer: NodeJS.Timeout | undefined;
  let closed = false;
  const follow = (): void => {
    void look().finally(() => {
      if (!closed) timer = setTimeout(follow, POLL_MS).unref();
    });
  };
  follow();
  return () => {
    closed = true;
    clearTimeout(timer);
  };
}

interface Pair {
  readonly cert: string;
  readonly key: string;
}

function textOf({ cert, key }: Pair): string {
  return JSON.stringify([cert, key]);
}

async function readBoth({ certFile, keyFile }: WebCertificateFiles): Promise<Pair> {
  const read = async (flag: string, file: string): Promise<string> => {
    try {
      return await readSmallFile(file);
    } catch (error) {
      throw new Error(`${flag} ${file} cannot be read: ${reasonOf(error)}`, { cause: error });
    }
  };
  return {
    cert: await read('--bundle-endpoint-cert', certFile),
    key: await read('--bundle-endpoint-key', keyFile),
  };
}

function check(
  { cert, key }: Pair,
  { certFile, keyFile }: WebCertificateFiles,
  nowMs: number,
): WebCertificate {
  const blocks = cert.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/gu) ?? [];
  const chain = blocks.map((block) => parsed(block, `--bundle-endpoint-cert ${certFile}`));
  const [leaf, ...issuers] = chain;
  if (leaf === undefined)
    throw new Error(`--bundle-endpoint-cert ${certFile} holds no certificate: it is PEM, leaf first`);
  const fault = (what: string): Error => new Error(`--bundle-endpoint-cert ${certFile}: ${what}`);
  if (leaf.ca) throw fault('the first certificate is that of an authority: the leaf comes first');
  if (!/\b(?:DNS|IP Address):/u.test(leaf.subjectAltName ?? ''))
    throw fault('the leaf names no host (DNS name or IP address)');
  for (const [index, issuer] of issuers.entries()) {
    if (chain[index]?.checkIssued(issuer) !== true || !chain[index].verify(issuer.publicKey))
      throw fault(`certificate ${index + 1} has not issued the one before it`);
  }
  for (const certificate of chain) {
    if (nowMs < certificate.validFromDate.getTime())
      throw fault('a certificate of the chain is not valid yet');
    if (nowMs > certificate.validToDate.getTime()) throw fault('a certificate of the chain has expired');
  }
  if (!leaf.checkPrivateKey(readKey(key, keyFile)))
    throw new Error(`--bundle-endpoint-key ${keyFile} is not the key of ${certFile}`);
  const notAfterMs = Math.min(...chain.map(({ validToDate }) => validToDate.getTime()));
  const notBeforeMs = Math.max(...chain.map(({ validFromDate }) => validFromDate.getTime()));
  return { cert, key, notBeforeMs, notAfterMs };
}

function parsed(pem: string, where: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (error) {
    throw new Error(`${where} holds what is no certificate`, { cause: error });
  }
}

/** Nothing of the key, nor of what OpenSSL says about it, goes into an error. */
function readKey(pem: string, file: string): ReturnType<typeof createPrivateKey> {
  try {
    return createPrivateKey(pem);
  } catch {
    throw new Error(`--bundle-endpoint-key ${file} holds no private key in PEM without a passphrase`);
  }
}
