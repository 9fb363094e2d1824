import { request as httpRequest, type IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { IdentityError, verifySvid, type TrustBundle } from '../identity/index.ts';
import { FederationError, reasonOf } from './errors.ts';
import { INTERMEDIATE_TLS } from './tls.ts';
import type { EndpointProfile } from './types.ts';

export interface FetchOptions {
  /** Ends the whole exchange; its reason is thrown. */
  readonly signal: AbortSignal;
  /** The latest bundle of a trust domain, for `https_spiffe`. */
  readonly bundleOf: (trustDomain: string) => TrustBundle | undefined;
  readonly nowMs: () => number;
}

/** Every Envoy is sent what is in it. */
const MAX_BYTES = 256 * 1024;
const MAX_REDIRECTS = 3;
const MAX_CHAIN = 16;
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/**
 * GETs a bundle document (SPIFFE_Federation section 5.2). Each place that it is redirected to proves itself the same
 * way, and none of them is remembered.
 * @throws FederationError `unreachable`, `redirect-refused`, `endpoint-refused`, `status`, `too-large`, `malformed`;
 * the signal's reason
 */
export async function fetchBundle(
  address: string,
  profile: EndpointProfile,
  options: FetchOptions,
): Promise<string> {
  try {
    let url = new URL(address);
    for (let redirects = 0; ; redirects += 1) {
      const response = await get(url, profile, options);
      const target = redirectOf(url, response);
      if (target === undefined) return await read(response);
      response.destroy();
      if (redirects === MAX_REDIRECTS) {
        throw new FederationError('redirect-refused', `There were more than ${MAX_REDIRECTS} redirects.`);
      }
      url = target;
    }
  } catch (error) {
    options.signal.throwIfAborted();
    if (error instanceof FederationError) throw error;
    throw new FederationError(
      'unreachable',
      `The bundle endpoint could not be asked (${reasonOf(error)}): check its URL, its certificate and the way there.`,
      { cause: error },
    );
  }
}

/** @returns where to go next; undefined: this is the answer */
function redirectOf(from: URL, { statusCode = 0, headers }: IncomingMessage): URL | undefined {
  if (!REDIRECTS.has(statusCode)) return undefined;
  const target = headers.location === undefined ? null : URL.parse(headers.location, from);
  if (target?.protocol !== 'https:' || target.username + target.password !== '') {
    throw new FederationError(
      'redirect-refused',
      `Status ${statusCode} leads nowhere that a bundle is fetched from: an https URL without user name is allowed.`,
    );
  }
  return target;
}

async function get(url: URL, profile: EndpointProfile, options: FetchOptions): Promise<IncomingMessage> {
  const { signal } = options;
  const socket = await handshake(url, profile, signal);
  try {
    if (profile.type === 'https_spiffe') refuseOther(socket, profile.endpointSpiffeId, options);
    return await new Promise((resolve, reject) => {
      httpRequest({
        // Of our own making and checked: nothing else is connected to.
        createConnection: () => socket,
        path: url.pathname + url.search,
        headers: {
          host: url.host,
          accept: 'application/json',
          'accept-encoding': 'identity',
          'user-agent': 'countersign',
        },
        signal,
      })
        .on('response', resolve)
        .on('error', reject)
        .end();
    });
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

async function handshake(url: URL, { type }: EndpointProfile, signal: AbortSignal): Promise<TLSSocket> {
  signal.throwIfAborted();
  const host = url.hostname.replaceAll(/^\[|\]$/gu, '');
  const socket = connect({
    ...INTERMEDIATE_TLS,
    host,
    port: url.port === '' ? 443 : Number(url.port),
    ...(isIP(host) === 0 && { servername: host }),
    ALPNProtocols: ['http/1.1'],
    // Of an SVID, the roots of Web PKI say nothing: `refuseOther` does.
    rejectUnauthorized: type === 'https_web',
  });
  const { promise, resolve, reject } = Promise.withResolvers<TLSSocket>();
  const abort = (): void => void socket.destroy(signal.reason as Error);
  signal.addEventListener('abort', abort, { once: true });
  socket.once('secureConnect', () => resolve(socket)).once('error', reject);
  try {
    return await promise;
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

/** The server's certificate is a valid X.509-SVID of exactly this SPIFFE ID (SPIFFE_Federation section 5.2.2.4). */
function refuseOther(socket: TLSSocket, expected: string, { bundleOf, nowMs }: FetchOptions): void {
  try {
    const id = verifySvid({ chain: presented(socket), bundles: bundleOf, nowMs: nowMs() });
    if (id.uri === expected) return;
    throw new FederationError('endpoint-refused', `The bundle endpoint is ${id.uri}, not ${expected}.`);
  } catch (error) {
    if (!(error instanceof IdentityError)) throw error;
    throw new FederationError('endpoint-refused', `The bundle endpoint is not trusted: ${error.message}`, {
      cause: error,
    });
  }
}

function presented(socket: TLSSocket): readonly Buffer[] {
  const chain: Buffer[] = [];
  let certificate = socket.getPeerX509Certificate();
  while (certificate !== undefined && chain.length < MAX_CHAIN) {
    const { raw } = certificate;
    if (chain.some((known) => known.equals(raw))) break;
    chain.push(raw);
    certificate = certificate.issuerCertificate;
  }
  return chain;
}

async function read(response: IncomingMessage): Promise<string> {
  const { statusCode = 0, headers } = response;
  if (statusCode !== 200 || (headers['content-encoding'] ?? 'identity') !== 'identity') {
    response.destroy();
    const wrong = statusCode === 200 ? ' compressed, which was not asked for' : '';
    throw new FederationError('status', `The bundle endpoint answered ${statusCode}${wrong}.`);
  }
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length;
    // Leaving the loop ends the connection.
    if (length > MAX_BYTES) {
      throw new FederationError(
        'too-large',
        `The bundle is longer than the ${MAX_BYTES} bytes that are allowed.`,
      );
    }
    chunks.push(chunk);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks));
  } catch (error) {
    throw new FederationError('malformed', 'The bundle is not UTF-8.', { cause: error });
  }
}
