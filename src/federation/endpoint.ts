import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { SecureContextOptions } from 'node:tls';
import { listen, type Listening } from '../http/index.ts';
import type { TrustBundle } from '../identity/index.ts';
import { INTERMEDIATE_TLS } from './tls.ts';

/** PEM. */
export type EndpointCredentials = Required<Pick<SecureContextOptions, 'cert' | 'key'>>;

export interface BundleEndpoint extends Listening {
  /** New connections get this certificate; the others keep theirs. */
  renew(credentials: EndpointCredentials): void;
}

/**
 * The bundle endpoint (SPIFFE_Federation section 5.2): the latest bundle to whoever asks, at `GET /`.
 * @throws the listen error as it is (`EADDRINUSE`, `EACCES`)
 */
export async function openBundleEndpoint(options: {
  readonly host: string;
  readonly port: number;
  readonly credentials: EndpointCredentials;
  readonly bundle: () => TrustBundle;
  /** Each answer, by its status. */
  readonly onAnswered: (status: number) => void;
}): Promise<BundleEndpoint> {
  const server = createServer(
    {
      ...contextOf(options.credentials),
      // Whoever trusts this trust domain is not known here: nobody has to prove anything.
      requestCert: false,
      handshakeTimeout: 5_000,
      maxHeaderSize: 8 * 1024,
    },
    (request, response) => {
      const { status, body, headers = {} } = answer(request, options.bundle);
      options.onAnswered(status);
      reply(response, { status, body, headers, bodiless: request.method === 'HEAD' });
    },
  );
  server.requestTimeout = 5_000;
  server.headersTimeout = 5_000;
  server.keepAliveTimeout = 2_000;
  server.maxRequestsPerSocket = 8;
  server.maxConnections = 256;
  // A port scan or a probe in plaintext is no event of ours.
  server.on('tlsClientError', (_error, socket) => socket.destroy());
  return {
    ...(await listen(server, options)),
    renew: (credentials) => server.setSecureContext(contextOf(credentials)),
  };
}

/** The certificate alone: whoever gives it may serve other clients by other rules. */
function contextOf({ cert, key }: EndpointCredentials): SecureContextOptions {
  return { ...INTERMEDIATE_TLS, cert, key };
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

function answer({ method, url = '' }: IncomingMessage, bundle: () => TrustBundle): Answer {
  if (url.split('?', 1)[0] !== '/') return { status: 404, body: 'try /\n' };
  if (method !== 'GET' && method !== 'HEAD')
    return { status: 405, body: 'only GET\n', headers: { allow: 'GET, HEAD' } };
  return {
    status: 200,
    body: `${JSON.stringify(bundle().toJSON())}\n`,
    headers: { 'content-type': 'application/json', 'cache-control': 'no-cache' },
  };
}

function reply(
  response: ServerResponse,
  { status, body, headers = {}, bodiless }: Answer & { readonly bodiless: boolean },
): void {
  response
    .writeHead(status, {
      'content-type': 'text/plain; charset=utf-8',
      'content-length': String(Buffer.byteLength(body)),
      // A body that nobody reads must not be taken for the next request.
      ...(status === 200 ? {} : { connection: 'close' }),
      ...headers,
    })
    .end(bodiless ? undefined : body);
}
