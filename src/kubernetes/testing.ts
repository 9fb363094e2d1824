import { once } from 'node:events';
import { createServer } from 'node:http2';
import type { Http2Server, ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { json as jsonOf } from 'node:stream/consumers';
import type { Access } from './access.ts';

/** An answer that is given bit by bit. */
export interface Opened {
  readonly write: (text: string) => void;
  readonly events: (...events: readonly object[]) => void;
  readonly end: () => void;
  /** The connection breaks. */
  readonly cut: () => void;
}

/** What a test answers to one request. */
export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: () => Promise<object>;
  readonly json: (body: object, status?: number) => void;
  /** The head of a watch. */
  readonly open: () => Opened;
}

/** An API server that says what a test wants it to say: real ones cannot be made to break an event in two. */
export class FakeApiServer {
  readonly requests: string[] = [];
  readonly sessions: Set<ServerHttp2Session> = new Set();
  answer: (asked: Asked) => void = ({ json }: Asked): void => {
    json({ message: 'nothing is scripted' }, 500);
  };
  readonly #server: Http2Server = createServer();

  async start(): Promise<Access> {
    this.#server.on('session', (session) => {
      this.sessions.add(session);
      session.on('error', () => {}); // Its client may go as it likes.
      session.once('close', () => this.sessions.delete(session));
    });
    this.#server.on('stream', (stream: ServerHttp2Stream, headers) => {
      stream.on('error', () => {}); // Likewise.
      const url = new URL(String(headers[':path']), 'http://fake');
      const method = String(headers[':method']);
      this.requests.push(`${method} ${url.pathname}${url.search}`);
      this.answer({
        method,
        path: url.pathname,
        query: url.searchParams,
        headers: headers as Record<string, string>,
        body: async () => (await jsonOf(stream)) as object,
        json: (body, status = 200) => {
          stream.respond({ ':status': status, 'content-type': 'application/json' });
          stream.end(JSON.stringify(body));
        },
        open: () => opened(stream),
      });
    });
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    const { port } = this.#server.address() as AddressInfo;
    return {
      server: `http://127.0.0.1:${port}`,
      namespace: undefined,
      credentials: async () => ({ tls: {}, headers: { authorization: 'Bearer one' } }),
      forget: () => {},
    };
  }

  async stop(): Promise<void> {
    for (const session of this.sessions) session.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

function opened(stream: ServerHttp2Stream): Opened {
  stream.respond({ ':status': 200, 'content-type': 'application/json' });
  return {
    write: (text) => {
      stream.write(text);
    },
    events: (...events) => {
      stream.write(events.map((event) => `${JSON.stringify(event)}\n`).join(''));
    },
    end: () => {
      stream.end();
    },
    cut: () => {
      stream.session?.destroy();
    },
  };
}

/** An object as the API has it. */
export function thing(
  name: string,
  version: number,
): { metadata: { name: string; resourceVersion: string } } {
  return { metadata: { name, resourceVersion: String(version) } };
}

export function listOf(version: number, items: readonly object[], next?: string): object {
  return {
    metadata: { resourceVersion: String(version), ...(next !== undefined && { continue: next }) },
    items,
  };
}
