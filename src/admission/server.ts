import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { SecureContextOptions } from 'node:tls';
import { listen, type Listening } from '../http/index.ts';
import { readReview, ReviewError, writeReview } from './review.ts';
import type { AdmissionRequest, Judgement } from './types.ts';

export const VALIDATE_PATH = '/validate';
/** An object of etcd's limit (1.5 MiB) with its former version. */
const MAX_BODY = 4 * 1024 * 1024;
const tls13 = { minVersion: 'TLSv1.3' } as const;

export interface AdmissionServer extends Listening {
  /** New connections get this certificate; the others keep theirs. */
  renew(credentials: AdmissionCredentials): void;
}

/** PEM. */
export type AdmissionCredentials = Required<Pick<SecureContextOptions, 'cert' | 'key'>>;

/**
 * The validating webhook (admission.k8s.io/v1) at `POST /validate`. A request that cannot be judged gets an HTTP
 * error, which the API server's `failurePolicy: Fail` makes a refusal.
 * @throws the listen error as it is (`EADDRINUSE`, `EACCES`)
 */
export async function openAdmissionServer(options: {
  readonly host: string;
  readonly port: number;
  readonly credentials: AdmissionCredentials;
  readonly judge: (request: AdmissionRequest) => Judgement;
  readonly onJudged: (request: AdmissionRequest, judgement: Judgement) => void;
  readonly onError: (error: unknown) => void;
}): Promise<AdmissionServer> {
  const server = createServer({ ...tls13, ...options.credentials }, (request, response) => {
    answer(request, options).then(
      ({ status, body }) => reply(response, status, body),
      (error: unknown) => {
        options.onError(error);
        reply(response, 500, 'the request could not be judged\n');
      },
    );
  });
  server.requestTimeout = 10_000;
  server.headersTimeout = 5_000;
  server.maxConnections = 256;
  // A port scan or a probe in plaintext is no event of ours.
  server.on('tlsClientError', (_error, socket) => socket.destroy());
  return {
    ...(await listen(server, options)),
    renew: (credentials) => server.setSecureContext({ ...tls13, ...credentials }),
  };
}

interface Answer {
  readonly status: number;
  readonly body: string;
}

async function answer(
  request: IncomingMessage,
  { judge, onJudged }: Pick<Parameters<typeof openAdmissionServer>[0], 'judge' | 'onJudged'>,
): Promise<Answer> {
  if (request.url?.split('?')[0] !== VALIDATE_PATH) return { status: 404, body: `try ${VALIDATE_PATH}\n` };
  if (request.method !== 'POST') return { status: 405, body: 'only POST\n' };
  const body = await readBody(request);
  if (body === undefined) return { status: 413, body: `more than ${MAX_BODY} bytes\n` };
  try {
    const review = readReview(body);
    const judgement = judge(review);
    onJudged(review, judgement);
    return { status: 200, body: writeReview(review.uid, judgement) };
  } catch (error) {
    if (error instanceof ReviewError) return { status: 400, body: `${error.message}\n` };
    throw error;
  }
}

/** Undefined: larger than a review can be. */
async function readBody(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    if (!(chunk instanceof Buffer)) throw new TypeError('the body is read as bytes');
    size += chunk.length;
    if (size > MAX_BODY) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function reply(response: ServerResponse, status: number, body: string): void {
  const json = status === 200;
  response
    .writeHead(status, {
      'content-type': json ? 'application/json' : 'text/plain; charset=utf-8',
      // What was left unread of a refused body must not be taken for the next request.
      ...(json ? {} : { connection: 'close' }),
    })
    .end(body);
}
