import { constants } from 'node:http2';
import type { ClientHttp2Stream, IncomingHttpHeaders } from 'node:http2';
import type { Access, TlsMaterial } from './access.ts';
import { Connection } from './connection.ts';
import type { ConnectionTimes } from './connection.ts';
import { ApiServerError, asApiServerError } from './errors.ts';
import type { RefusedStatus } from './errors.ts';
import { isFields } from './fields.ts';
import type { Fields } from './fields.ts';
import { linesOf, textOf } from './lines.ts';

export interface ApiServerOptions {
  readonly access: Access;
  readonly times?: Partial<ConnectionTimes>;
  /** Of one answer; default 32 MiB. A list that is larger is asked for in smaller pages. */
  readonly maxAnswerBytes?: number;
  /** Of one event of a watch; default 8 MiB: etcd holds objects of up to 1.5 MiB. */
  readonly maxEventBytes?: number;
  /** Told the `Date` of each answer as it comes. */
  readonly onDate?: (date: string) => void;
}

export interface RequestOptions {
  readonly signal?: AbortSignal;
  /** Default 30 000. */
  readonly timeoutMs?: number;
}

export interface WatchOptions {
  readonly signal: AbortSignal;
  /** A watch that says nothing for this long is given up, though its connection lives. */
  readonly silentMs: number;
}

interface Response {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly stream: ClientHttp2Stream;
}

const TIMES: ConnectionTimes = { connectMs: 10_000, pingMs: 5_000, pongMs: 10_000 };
const MAX_STATUS_BYTES = 64 * 1024;
const MIB = 1024 * 1024;
const contentTypes: Readonly<Record<string, string>> = { PATCH: 'application/merge-patch+json' };

/**
 * The Kubernetes API over one HTTP/2 connection, which is opened when it is needed and replaced when it breaks, when
 * the API server asks for that (GOAWAY), or when our certificate was renewed.
 */
export class ApiServer {
  readonly #access: Access;
  readonly #times: ConnectionTimes;
  readonly #maxAnswerBytes: number;
  readonly #maxEventBytes: number;
  readonly #onDate: ((date: string) => void) | undefined;
  readonly #origin: string;
  readonly #prefix: string;
  readonly #closed = new AbortController();
  #connection: { readonly tls: TlsMaterial; readonly opened: Promise<Connection> } | undefined;

  constructor(options: ApiServerOptions) {
    this.#access = options.access;
    this.#times = { ...TIMES, ...options.times };
    this.#maxAnswerBytes = options.maxAnswerBytes ?? 32 * MIB;
    this.#maxEventBytes = options.maxEventBytes ?? 8 * MIB;
    this.#onDate = options.onDate;
    const url = new URL(options.access.server);
    this.#origin = url.origin;
    this.#prefix = url.pathname.replace(/\/+$/u, '');
  }

  /** @throws ApiServerError */
  async get(path: string, options: RequestOptions = {}): Promise<Fields> {
    return await this.#ask('GET', path, undefined, options);
  }

  /** @throws ApiServerError */
  async post(path: string, body: object, options: RequestOptions = {}): Promise<Fields> {
    return await this.#ask('POST', path, body, options);
  }

  /** Replaces an object; with a `resourceVersion` in it, only where that is still the one. @throws ApiServerError */
  async put(path: string, body: object, options: RequestOptions = {}): Promise<Fields> {
    return await this.#ask('PUT', path, body, options);
  }

  /** Changes the fields that the body names (JSON merge patch, RFC 7396). @throws ApiServerError */
  async patch(path: string, body: object, options: RequestOptions = {}): Promise<Fields> {
    return await this.#ask('PATCH', path, body, options);
  }

  /** With a body of `preconditions`, only where they hold. @throws ApiServerError */
  async delete(path: string, body: object = {}, options: RequestOptions = {}): Promise<Fields> {
    return await this.#ask('DELETE', path, body, options);
  }

  /**
   * Resolves when the API server has taken the watch: to its events, one after the other as they come, until it ends.
   * @param path with its query, `watch=true` included
   * @throws ApiServerError also while it runs: the connection broke, it went silent, or an event is no JSON
   */
  async watch(path: string, options: WatchOptions): Promise<AsyncGenerator<Fields, void, undefined>> {
    const silence = new AbortController();
    const timer = setTimeout(() => {
      const message = `${path}: the watch was silent for ${options.silentMs} ms`;
      silence.abort(new ApiServerError('TIMED_OUT', message));
    }, options.silentMs);
    timer.unref();
    try {
      const signal = AbortSignal.any([options.signal, silence.signal]);
      const { stream } = await this.#send('GET', path, undefined, signal);
      return this.#events(stream, path, timer, silence.signal);
    } catch (error) {
      clearTimeout(timer);
      throw asApiServerError(silence.signal.aborted ? silence.signal.reason : error, `GET ${path}`);
    }
  }

  async *#events(
    stream: ClientHttp2Stream,
    path: string,
    timer: NodeJS.Timeout,
    silence: AbortSignal,
  ): AsyncGenerator<Fields, void, undefined> {
    try {
      for await (const line of linesOf(stream, this.#maxEventBytes)) {
        timer.refresh();
        yield parse(line, path);
      }
      refuseBroken(stream);
    } catch (error) {
      throw asApiServerError(silence.aborted ? silence.reason : error, `GET ${path}`);
    } finally {
      clearTimeout(timer);
      stream.destroy();
    }
  }

  /** Ends what is under way; nothing can be asked any more. */
  async close(): Promise<void> {
    this.#closed.abort(new ApiServerError('UNREACHABLE', 'the client is closed'));
    try {
      (await this.#connection?.opened)?.destroy();
    } catch (error) {
      // It never opened, and its callers were told.
      if (!(error instanceof ApiServerError)) throw error;
    }
  }

  async #ask(
    method: string,
    path: string,
    body: object | undefined,
    { signal, timeoutMs = 30_000 }: RequestOptions,
  ): Promise<Fields> {
    const timeout = AbortSignal.timeout(timeoutMs);
    const both = signal === undefined ? timeout : AbortSignal.any([timeout, signal]);
    let stream: ClientHttp2Stream | undefined;
    try {
      ({ stream } = await this.#send(method, path, body, both));
      const text = await textOf(stream, this.#maxAnswerBytes);
      refuseBroken(stream);
      return parse(text, path);
    } catch (error) {
      if (timeout.aborted) {
        throw new ApiServerError('TIMED_OUT', `${method} ${path}: no answer within ${timeoutMs} ms`);
      }
      throw asApiServerError(error, `${method} ${path}`);
    } finally {
      stream?.destroy();
    }
  }

  /** Resolves when the head of a good answer is there. */
  async #send(
    method: string,
    path: string,
    body: object | undefined,
    signal: AbortSignal,
  ): Promise<Response> {
    const first = await this.#sendOnce(method, path, body, signal);
    const response = first.status === 401 ? await this.#sendAgain(first, method, path, body, signal) : first;
    if (response.status >= 200 && response.status < 300) return response;
    throw await refusalOf(response, `${method} ${path}`);
  }

  /** Our token or certificate may have been replaced since it was read. */
  async #sendAgain(
    first: Response,
    method: string,
    path: string,
    body: object | undefined,
    signal: AbortSignal,
  ): Promise<Response> {
    first.stream.destroy();
    this.#access.forget();
    return await this.#sendOnce(method, path, body, signal);
  }

  async #sendOnce(
    method: string,
    path: string,
    body: object | undefined,
    signal: AbortSignal,
  ): Promise<Response> {
    const all = AbortSignal.any([signal, this.#closed.signal]);
    const { headers, connection } = await unlessAborted(() => this.#connected(), all);
    const stream = connection.request(
      {
        ...headers,
        ':method': method,
        ':path': this.#prefix + path,
        // The second is what keys of tokens come as, and nothing else is.
        accept: 'application/json, application/jwk-set+json',
        'user-agent': 'countersign',
        ...(body !== undefined && { 'content-type': contentTypes[method] ?? 'application/json' }),
      },
      all,
    );
    stream.end(body === undefined ? undefined : JSON.stringify(body));
    const response = await headOf(stream);
    const { date } = response.headers;
    if (date !== undefined) this.#onDate?.(date);
    return response;
  }

  async #connected(): Promise<{ connection: Connection; headers: Readonly<Record<string, string>> }> {
    this.#closed.signal.throwIfAborted();
    const { tls, headers } = await this.#access.credentials();
    const known = this.#connection;
    if (known !== undefined) {
      const connection = await known.opened;
      if (connection.usable && sameTls(known.tls, tls)) return { connection, headers };
      if (this.#connection === known) {
        connection.retire();
        this.#connection = undefined;
      }
    }
    this.#connection ??= { tls, opened: this.#open(tls) };
    return { connection: await this.#connection.opened, headers };
  }

  async #open(tls: TlsMaterial): Promise<Connection> {
    try {
      return await Connection.open(this.#origin, tls, this.#times);
    } catch (error) {
      this.#connection = undefined;
      throw error;
    }
  }
}

/** A stream whose connection broke ends for its reader as if all had been said. */
function refuseBroken({ rstCode }: ClientHttp2Stream): void {
  if (rstCode !== constants.NGHTTP2_NO_ERROR) {
    throw new ApiServerError('UNREACHABLE', `the connection broke (HTTP/2 error ${rstCode})`);
  }
}

/** A connection that is being opened goes on for the others who wait for it. */
async function unlessAborted<T>(act: () => Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => {
    aborted.reject(signal.reason);
  };
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([act(), aborted.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

async function headOf(stream: ClientHttp2Stream): Promise<Response> {
  return await new Promise<Response>((resolve, reject) => {
    // Listened to until its end: an error between two reads must not end the process.
    stream.on('error', reject);
    // A connection that ends in good order ends its streams without an error.
    const closed = (): void => {
      reject(new ApiServerError('UNREACHABLE', 'the connection was closed before an answer came'));
    };
    stream.once('close', closed);
    stream.once('response', (headers) => {
      // Else each answer would cost an error, stack and all, that nobody sees.
      stream.off('close', closed);
      resolve({ status: headers[':status'] ?? 0, headers, stream });
    });
  });
}

function sameTls(a: TlsMaterial, b: TlsMaterial): boolean {
  return (['ca', 'cert', 'key', 'servername'] as const).every((name) => String(a[name]) === String(b[name]));
}

function parse(text: string, path: string): Fields {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ApiServerError('MALFORMED', `${path}: the answer is no JSON`, { cause: error });
  }
  if (isFields(value)) return value;
  throw new ApiServerError('MALFORMED', `${path}: the answer is no JSON object`);
}

async function refusalOf({ status, headers, stream }: Response, doing: string): Promise<ApiServerError> {
  let said: Fields = {};
  try {
    said = parse(await textOf(stream, MAX_STATUS_BYTES), doing);
  } catch (error) {
    // A proxy's page, or a cut answer: the number is what counts.
    if (!(error instanceof ApiServerError)) throw error;
  }
  const refused = { ...statusOf(said), status, retryAfterMs: retryAfterOf(headers) };
  const message = typeof said['message'] === 'string' ? said['message'].slice(0, 512) : refused.reason;
  return new ApiServerError('REFUSED', `${doing}: ${status} ${message}`.trimEnd(), { refused });
}

/** What a `meta/v1` Status says: in an answer, or in a watch's ERROR event. */
export function statusOf(said: Fields): Omit<RefusedStatus, 'retryAfterMs'> {
  const details = isFields(said['details']) ? said['details'] : {};
  const causes: readonly unknown[] = Array.isArray(details['causes']) ? details['causes'] : [];
  return {
    status: typeof said['code'] === 'number' ? said['code'] : 0,
    reason: typeof said['reason'] === 'string' ? said['reason'] : '',
    causes: causes.flatMap((cause) =>
      isFields(cause) && typeof cause['reason'] === 'string' ? [cause['reason']] : [],
    ),
  };
}

function retryAfterOf(headers: IncomingHttpHeaders): number | undefined {
  const seconds = Number(headers['retry-after']);
  return Number.isFinite(seconds) && seconds > 0 ? Math.min(seconds, 60) * 1000 : undefined;
}
