import { generateKeyPairSync } from 'node:crypto';
import { createServer as createHttp, type RequestListener, type Server } from 'node:http';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo } from 'node:net';
import { JwksKeeper, type JwksFetched, type JwksKeeperOptions } from '../index.ts';

export const minute = 60_000;

export type Jwk = Readonly<Record<string, unknown>>;

export function ecKey(kid: string): { readonly publicKey: Jwk; readonly privateKey: Jwk } {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    publicKey: { ...publicKey.export({ format: 'jwk' }), kid },
    privateKey: { ...privateKey.export({ format: 'jwk' }), kid },
  };
}

export function setOf(...keys: readonly object[]): string {
  return JSON.stringify({ keys });
}

/** A real server on a port of the system's choice; what it answers can be changed at any time. */
export class IssuerServer {
  readonly requests: { path: string; headers: Readonly<Record<string, unknown>> }[] = [];
  answer: RequestListener;
  readonly #server: Server;
  readonly #scheme: string;

  private constructor(server: Server, scheme: string, answer: RequestListener) {
    this.#server = server;
    this.#scheme = scheme;
    this.answer = answer;
    server.on('request', (request, response) => {
      this.requests.push({ path: request.url ?? '', headers: request.headers });
      this.answer(request, response);
    });
  }

  /** @param tls chain and key in PEM; undefined: plain HTTP */
  static async start(
    answer: RequestListener,
    tls?: { readonly cert: string; readonly key: string },
  ): Promise<IssuerServer> {
    const server = tls === undefined ? createHttp() : createHttps(tls);
    const started = new IssuerServer(server, tls === undefined ? 'http' : 'https', answer);
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    return started;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  uri(path = '/keys', host = '127.0.0.1'): string {
    return `${this.#scheme}://${host}:${this.port}${path}`;
  }

  async stop(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    this.#server.closeAllConnections();
    await promise;
  }
}

/** Answers 200 with this body. */
export function ok(body: string, headers: Readonly<Record<string, string>> = {}): RequestListener {
  return (_request, response) =>
    void response.writeHead(200, { 'content-type': 'application/json', ...headers }).end(body);
}

export function status(code: number, headers: Readonly<Record<string, string>> = {}): RequestListener {
  return (_request, response) => void response.writeHead(code, headers).end('said by the server');
}

export type Event =
  | ({ readonly what: 'fetched'; readonly uri: string } & JwksFetched)
  | {
      readonly what: 'failed';
      readonly uri: string;
      readonly message: string;
      readonly lastGoodAtMs: number | undefined;
      readonly nextTryMs: number;
    };

/** A keeper whose clock stands still, and whose timers run when told to. */
export class World {
  nowMs: number = Date.UTC(2026, 0, 1);
  readonly notKept: string[] = [];
  readonly listenerErrors: string[] = [];
  readonly changes: string[] = [];
  readonly #options: Partial<JwksKeeperOptions>;
  readonly #events: Event[] = [];
  readonly #timers = new Set<{ atMs: number; run: () => void }>();
  #told = (): void => undefined;
  #keeper: JwksKeeper | undefined;

  constructor(options: Partial<JwksKeeperOptions> = {}) {
    this.#options = options;
  }

  get keeper(): JwksKeeper {
    if (this.#keeper === undefined) throw new Error('not opened');
    return this.#keeper;
  }

  async open(): Promise<this> {
    const tell = (event: Event): void => {
      this.#events.push(event);
      this.#told();
    };
    this.#keeper = await JwksKeeper.open({
      nowMs: () => this.nowMs,
      random: () => 0.5,
      allowLoopback: true,
      after: (delayMs, run) => {
        const timer = { atMs: this.nowMs + delayMs, run };
        this.#timers.add(timer);
        return () => void this.#timers.delete(timer);
      },
      observer: {
        fetched: (uri, result) => tell({ what: 'fetched', uri, ...result }),
        failed: (uri, message, state) => tell({ what: 'failed', uri, message, ...state }),
        notKept: (error) => void this.notKept.push(error.message),
        listenerFailed: (error) => void this.listenerErrors.push(error.message),
      },
      ...this.#options,
    });
    this.#keeper.onChange((uri) => void this.changes.push(uri));
    return this;
  }

  want(...uris: readonly string[]): void {
    this.keeper.want(new Map(uris.map((uri) => [uri, { timeoutMs: 5_000 }])));
  }

  /** The next thing that the keeper says. */
  async event(): Promise<Event> {
    while (this.#events.length === 0) {
      await new Promise<void>((resolve) => {
        this.#told = resolve;
      });
    }
    return this.#events.shift() as Event;
  }

  async failure(): Promise<string> {
    const event = await this.event();
    return event.what === 'failed' ? event.message : `no failure: ${event.what}`;
  }

  /** Runs what is due on the way, in its order. */
  advance(ms: number): void {
    const untilMs = this.nowMs + ms;
    for (;;) {
      const [next] = [...this.#timers].sort((a, b) => a.atMs - b.atMs);
      if (next === undefined || next.atMs > untilMs) break;
      this.#timers.delete(next);
      this.nowMs = next.atMs;
      next.run();
    }
    this.nowMs = untilMs;
  }

  /** What is waited for, in ms from now, ascending. */
  waits(): readonly number[] {
    return [...this.#timers].map(({ atMs }) => atMs - this.nowMs).sort((a, b) => a - b);
  }
}
