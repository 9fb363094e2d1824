import { connect, constants } from 'node:http2';
import type { ClientHttp2Session, ClientHttp2Stream, OutgoingHttpHeaders } from 'node:http2';
import type { TlsMaterial } from './access.ts';
import { ApiServerError, asApiServerError } from './errors.ts';

export interface ConnectionTimes {
  /** Until TCP, TLS and HTTP/2 settings are through. */
  readonly connectMs: number;
  /** How often the other side is asked whether it is there. */
  readonly pingMs: number;
  /** How long it may take to say so. */
  readonly pongMs: number;
}

/** The windows of HTTP/2 (RFC 9113 section 5.2): with the default of 64 KiB, a long list would wait for each round trip. */
const STREAM_WINDOW = 1024 * 1024;
const SESSION_WINDOW = 4 * STREAM_WINDOW;

/**
 * One HTTP/2 connection, for all watches and requests. It is asked whether it lives (PING): a peer that stopped, or
 * a network that swallows packets, ends it within seconds, and with it every watch that would wait for ever.
 */
export class Connection {
  readonly #session: ClientHttp2Session;
  readonly #pinger: NodeJS.Timeout;
  #leaving = false;

  private constructor(session: ClientHttp2Session, times: ConnectionTimes) {
    this.#session = session;
    this.#pinger = setInterval(() => {
      this.#ping(times.pongMs);
    }, times.pingMs);
    this.#pinger.unref();
    session.on('goaway', () => {
      this.#leaving = true;
    });
    // Each stream tells its own; what is heard here only ends the session.
    session.on('error', () => {
      this.#leaving = true;
    });
    session.on('close', () => {
      this.#leaving = true;
      clearInterval(this.#pinger);
    });
  }

  /** @throws ApiServerError UNREACHABLE, TIMED_OUT */
  static async open(origin: string, tls: TlsMaterial, times: ConnectionTimes): Promise<Connection> {
    const session = connect(origin, {
      ...tls,
      minVersion: 'TLSv1.2',
      ALPNProtocols: ['h2'],
      settings: { enablePush: false, initialWindowSize: STREAM_WINDOW },
    });
    return await new Promise<Connection>((resolve, reject) => {
      const fail = (error: ApiServerError): void => {
        clearTimeout(timer);
        session.destroy();
        reject(error);
      };
      const timer = setTimeout(() => {
        fail(new ApiServerError('TIMED_OUT', `${origin}: no connection within ${times.connectMs} ms`));
      }, times.connectMs);
      session.once('error', (error) => {
        fail(asApiServerError(error, origin));
      });
      session.once('close', () => {
        fail(new ApiServerError('UNREACHABLE', `${origin}: the connection was closed at once`));
      });
      session.once('remoteSettings', () => {
        clearTimeout(timer);
        session.removeAllListeners('error');
        session.removeAllListeners('close');
        session.setLocalWindowSize(SESSION_WINDOW);
        // Nothing here keeps a process alive that is done otherwise.
        session.unref();
        resolve(new Connection(session, times));
      });
    });
  }

  /** Whether new requests may be sent on it. */
  get usable(): boolean {
    return !this.#leaving && !this.#session.closed && !this.#session.destroyed;
  }

  request(headers: OutgoingHttpHeaders, signal: AbortSignal): ClientHttp2Stream {
    return this.#session.request(headers, { signal, endStream: false });
  }

  /** No new requests; it closes when the present ones are over. */
  retire(): void {
    this.#leaving = true;
    this.#session.close();
  }

  destroy(): void {
    this.#leaving = true;
    clearInterval(this.#pinger);
    this.#session.destroy();
  }

  #ping(pongMs: number): void {
    if (this.#session.destroyed) return;
    const timer = setTimeout(() => {
      const error = new ApiServerError('TIMED_OUT', `the connection is dead: no answer within ${pongMs} ms`);
      this.#leaving = true;
      this.#session.destroy(error, constants.NGHTTP2_CANCEL);
    }, pongMs);
    timer.unref();
    this.#session.ping(() => {
      clearTimeout(timer);
    });
  }
}
