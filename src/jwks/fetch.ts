import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { LookupFunction } from 'node:net';
import type { SecureContext } from 'node:tls';
import { allowedAddresses } from './addresses.ts';
import { JwksError, reasonOf } from './errors.ts';
import type { Resolve, ResolvedAddress } from './types.ts';

export interface FetchOptions {
  /** Ends the whole exchange; its reason is thrown. */
  readonly signal: AbortSignal;
  readonly maxBytes: number;
  readonly resolve: Resolve;
  readonly allowLoopback: boolean;
  /** Undefined: the process's own. */
  readonly secureContext: SecureContext | undefined;
}

export interface Answer {
  readonly body: Buffer;
  /** What is left of `Cache-Control: max-age`, ms. Undefined: the server names no time. */
  readonly maxAgeMs: number | undefined;
}

const MAX_REDIRECTS = 3;
/** Per address, where a host has several. Node's own 250 ms is too short for a server that is far away. */
const connecting = { autoSelectFamilyAttemptTimeout: 2_000 };
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/**
 * GETs a document. Nothing of the environment changes how: no proxy, no switched-off verification.
 * @throws JwksError `uri-refused`, `address-refused`, `unreachable`, `redirect-refused`, `status`, `too-large`; the
 * signal's reason
 */
export async function fetchDocument(uri: string, options: FetchOptions): Promise<Answer> {
  try {
    let url = parse(uri);
    for (let redirects = 0; ; redirects += 1) {
      const response = await get(url, options);
      const target = redirectOf(url, response);
      if (target === undefined) return await read(response, options.maxBytes);
      response.destroy();
      if (redirects === MAX_REDIRECTS) {
        throw new JwksError('redirect-refused', `There were more than ${MAX_REDIRECTS} redirects.`);
      }
      url = target;
    }
  } catch (error) {
    options.signal.throwIfAborted();
    if (error instanceof JwksError) throw error;
    throw new JwksError('unreachable', `The server could not be asked (${reasonOf(error)}).`, {
      cause: error,
    });
  }
}

function parse(uri: string): URL {
  const url = URL.parse(uri);
  if (url === null || !['https:', 'http:'].includes(url.protocol) || url.username + url.password !== '') {
    throw new JwksError('uri-refused', 'An https or http URI without user name and password is expected.');
  }
  return url;
}

/** @returns where to go next; undefined: this is the answer */
function redirectOf(from: URL, { statusCode = 0, headers }: IncomingMessage): URL | undefined {
  if (!REDIRECTS.has(statusCode)) return undefined;
  const target = headers.location === undefined ? null : URL.parse(headers.location, from);
  if (target === null)
    throw new JwksError('redirect-refused', `Status ${statusCode} names no place to go to.`);
  if (from.protocol === 'https:' && target.protocol === 'http:') {
    throw new JwksError('redirect-refused', 'A redirect leads from https to http.');
  }
  return parse(target.href);
}

async function get(url: URL, options: FetchOptions): Promise<IncomingMessage> {
  const { signal } = options;
  const hostname = url.hostname.replaceAll(/^\[|\]$/gu, '');
  const addresses = await orAborted(allowedAddresses(hostname, options), signal);
  const settings = {
    hostname,
    port: url.port,
    path: url.pathname + url.search,
    headers: {
      accept: 'application/jwk-set+json, application/json',
      'accept-encoding': 'identity',
      'user-agent': 'countersign',
    },
    lookup: answerWith(addresses),
    signal,
  };
  return await new Promise((resolve, reject) => {
    // Agents of our own: that of the process may be told by its environment to use a proxy.
    const request =
      url.protocol === 'https:'
        ? httpsRequest({
            ...settings,
            agent: new HttpsAgent(connecting),
            rejectUnauthorized: true,
            ...(options.secureContext === undefined ? {} : { secureContext: options.secureContext }),
          })
        : httpRequest({ ...settings, agent: new HttpAgent(connecting) });
    request.on('response', resolve).on('error', reject).end();
  });
}

/** The connection goes to what was looked at, and nowhere else. */
function answerWith(addresses: readonly ResolvedAddress[]): LookupFunction {
  return (_host, { all }, callback) => {
    const [first] = addresses;
    if (all === true) callback(null, [...addresses]);
    else callback(null, first?.address ?? '', first?.family);
  };
}

async function read(response: IncomingMessage, maxBytes: number): Promise<Answer> {
  const { statusCode, headers } = response;
  const encoding = headers['content-encoding'] ?? 'identity';
  if (statusCode !== 200 || encoding !== 'identity') {
    response.destroy();
    const wrong = statusCode === 200 ? ' compressed, which was not asked for' : '';
    throw new JwksError('status', `The server answered ${statusCode}${wrong} (${contentType(headers)}).`);
  }
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length;
    // Leaving the loop ends the connection.
    if (length > maxBytes) {
      throw new JwksError('too-large', `The answer is longer than the ${maxBytes} bytes that are allowed.`);
    }
    chunks.push(chunk);
  }
  return { body: Buffer.concat(chunks), maxAgeMs: maxAge(headers) };
}

/** RFC 9111 sections 5.1 and 5.2.2.1. */
function maxAge(headers: IncomingMessage['headers']): number | undefined {
  const seconds = /(?:^|[\s,])max-age="?(\d{1,9})(?!\d)/iu.exec(headers['cache-control'] ?? '')?.[1];
  if (seconds === undefined) return undefined;
  const age = /^\d{1,9}$/u.test(headers.age ?? '') ? Number(headers.age) : 0;
  return Math.max(0, Number(seconds) - age) * 1000;
}

/** Only in the form that a content type has: nothing of the server's own goes to a log. */
function contentType(headers: IncomingMessage['headers']): string {
  return /^[\w.+-]{1,40}\/[\w.+-]{1,40}/u.exec(headers['content-type'] ?? '')?.[0] ?? 'no content type';
}

/** What cannot be cut off, such as a name that is being resolved, is at least not waited for. */
async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = (): void => reject(signal.reason as Error);
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
