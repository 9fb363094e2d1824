import { connect, type ClientHttp2Session } from 'node:http2';

/** One plaintext HTTP/2 connection, kept open. */
export class Http2Connection {
  readonly #session: ClientHttp2Session;
  #closed = false;

  constructor({ host, port }: { host: string; port: number }) {
    this.#session = connect(`http://${host}:${port}`);
    this.#session.on('error', () => {});
    this.#session.once('goaway', () => (this.#closed = true));
    this.#session.once('close', () => (this.#closed = true));
  }

  /** The peer closed it, or said that it is about to. */
  get closed(): boolean {
    return this.#closed;
  }

  /** @returns the status; 0 where the connection fails */
  async status(path: string, method = 'GET'): Promise<number> {
    if (this.#closed) return 0;
    return await new Promise((resolve) => {
      const stream = this.#session.request({ ':path': path, ':method': method });
      let status = 0;
      stream.once('response', (headers) => (status = headers[':status'] ?? 0));
      stream.once('error', () => resolve(0));
      stream.once('close', () => resolve(status));
      stream.resume();
      stream.end();
    });
  }

  close(): void {
    this.#session.destroy();
  }
}
