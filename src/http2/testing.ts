import { X509Certificate } from 'node:crypto';
import { connect as connectHttp2, type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { Authority, memoryKeyStore } from '../authority/index.ts';
import { SpiffeId, TrustDomain } from '../identity/index.ts';
import { Connection, type ConnectionOptions, type Wire } from './connection.ts';
import { FrameReader } from './frame-reader.ts';
import { Flag, FrameType, PREFACE, writeHeader } from './frames.ts';
import { serveUnary } from './serve.ts';
import type { After, UnaryConnection, UnaryHandler, UnaryOptions, UnaryRequest } from './types.ts';

/** Servers, clients and frames that this room's tests share. */

export const ECHO = '/test.Unary/Echo';
export const HOST = 'localhost';

export interface Keys {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

export async function makeKeys(): Promise<Keys> {
  const trustDomain = TrustDomain.parse('example.org');
  const authority = await Authority.open({
    store: memoryKeyStore(),
    nowMs: Date.now,
    svidTtlMs: 3_600_000,
    trustDomain,
  });
  const svid = authority.issue(SpiffeId.workload(trustDomain, 'a', 'b'), { dnsNames: [HOST] });
  const root = authority.bundle.x509Authorities[0] ?? Buffer.alloc(0);
  return { cert: svid.chainPem, key: svid.privateKeyPem, ca: new X509Certificate(root).toString() };
}

export type Defaults = Partial<UnaryOptions>;

export const echo: UnaryHandler = ({ message }, answer) => answer({ message });

export interface TestServer {
  readonly port: number;
  readonly connections: UnaryConnection[];
  readonly failures: unknown[];
  close(): Promise<void>;
}

/** `serveUnary` behind a TLS listener, as the front door has it. */
export async function startServer(keys: Keys, options: Defaults = {}): Promise<TestServer> {
  const connections: UnaryConnection[] = [];
  const failures: unknown[] = [];
  const sockets = new Set<Duplex>();
  const server = createServer({ ...keys, ALPNProtocols: ['h2'], noDelay: true }, (socket) => {
    sockets.add(socket);
    connections.push(
      serveUnary(socket, {
        methods: new Map([[ECHO, echo]]),
        maxMessageBytes: 32_768,
        maxConcurrentStreams: 256,
        handOver: (theirs) => theirs.destroy(),
        failed: (error) => failures.push(error),
        ...options,
      }),
    );
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    connections,
    failures,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => void server.close(resolve));
    },
  };
}

export function tlsClient(keys: Keys, port: number): TLSSocket {
  const socket = connect({ host: '127.0.0.1', port, servername: HOST, ca: keys.ca, ALPNProtocols: ['h2'] });
  socket.on('error', () => undefined);
  return socket;
}

/** Node's own client. */
export function http2Client(
  keys: Keys,
  port: number,
  settings: Parameters<typeof connectHttp2>[1] & object = {},
): ClientHttp2Session {
  const session = connectHttp2(`https://${HOST}:${port}`, {
    ...settings,
    createConnection: () => tlsClient(keys, port),
  });
  session.on('error', () => undefined);
  return session;
}

export function framed(message: Uint8Array, flag = 0): Buffer {
  const prefix = Buffer.alloc(5);
  prefix[0] = flag;
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

export interface Response {
  readonly status: number;
  /** gRPC's, of the headers or the trailers. */
  readonly code: string | undefined;
  readonly message: string | undefined;
  readonly body: Buffer;
  readonly headers: IncomingHttpHeaders;
  /** HTTP/2's. */
  readonly reset: number;
}

export async function request(
  session: ClientHttp2Session,
  body: Buffer | undefined,
  extra: Record<string, string | string[]> = {},
): Promise<Response> {
  return await new Promise((resolve) => {
    const stream = session.request({
      ':method': 'POST',
      ':path': ECHO,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...extra,
    });
    const all: IncomingHttpHeaders = {};
    const pieces: Buffer[] = [];
    let status = 0;
    stream.on('response', (came) => {
      status = came[':status'] ?? 0;
      Object.assign(all, came);
    });
    stream.on('trailers', (came) => Object.assign(all, came));
    stream.on('data', (piece: Buffer) => pieces.push(piece));
    stream.on('error', () => undefined);
    stream.on('close', () =>
      resolve({
        status,
        code: all['grpc-status'] as string | undefined,
        message: all['grpc-message'] as string | undefined,
        body: Buffer.concat(pieces),
        headers: all,
        reset: stream.rstCode,
      }),
    );
    stream.end(body);
  });
}

export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array = Buffer.alloc(0),
): Buffer {
  const bytes = Buffer.alloc(9 + payload.length);
  bytes.set(payload, writeHeader(bytes, 0, payload.length, type, flags, stream));
  return bytes;
}

/** Fields as literals without an index. */
export function block(fields: readonly (readonly [string, string])[]): Buffer {
  const text = (value: string): Buffer => {
    const { length } = value;
    const prefix =
      length < 127
        ? [length]
        : length < 255
          ? [127, length - 127]
          : [127, ((length - 127) & 127) | 128, (length - 127) >>> 7];
    return Buffer.concat([Buffer.from(prefix), Buffer.from(value, 'latin1')]);
  };
  return Buffer.concat(
    fields.map(([name, value]) => Buffer.concat([Buffer.from([0]), text(name), text(value)])),
  );
}

export const CALL: readonly (readonly [string, string])[] = [
  [':method', 'POST'],
  [':scheme', 'https'],
  [':path', ECHO],
  [':authority', HOST],
  ['content-type', 'application/grpc'],
  ['te', 'trailers'],
];
export const SETTINGS: Buffer = frame(FrameType.SETTINGS, 0, 0);
export const ACK: Buffer = frame(FrameType.SETTINGS, Flag.ACK, 0);
export const START: Buffer = Buffer.concat([PREFACE, SETTINGS, ACK]);

export function headers(
  stream: number,
  fields: typeof CALL = CALL,
  flags: number = Flag.END_HEADERS,
): Buffer {
  return frame(FrameType.HEADERS, flags, stream, block(fields));
}

export function data(stream: number, body: Uint8Array, flags: number = Flag.END_STREAM): Buffer {
  return frame(FrameType.DATA, flags, stream, body);
}

export function call(stream: number, message: Uint8Array = Buffer.from('hi')): Buffer {
  return Buffer.concat([headers(stream), data(stream, framed(message))]);
}

export interface SentFrame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export function framesOf(bytes: Buffer): readonly SentFrame[] {
  const frames: SentFrame[] = [];
  const reader = new FrameReader({
    frame: (type, flags, stream, from, start, end) =>
      void frames.push({ type, flags, stream, payload: Buffer.from(from.subarray(start, end)) }),
  });
  reader.receive(PREFACE);
  reader.receive(bytes);
  return frames;
}

export type Sent = Wire & { written: Buffer[]; ended: boolean; destroyed: boolean; unread: number };

/** A connection without a socket, on a clock that tests move. */
export class TestConnection {
  nowMs = 0;
  readonly failures: unknown[] = [];
  readonly requests: UnaryRequest[] = [];
  readonly wire: Sent = {
    written: [],
    ended: false,
    destroyed: false,
    unread: 0,
    write(bytes) {
      if (this.ended) throw new Error('written after the end');
      this.written.push(bytes);
    },
    unsent() {
      return this.unread;
    },
    end() {
      this.ended = true;
    },
    destroy() {
      this.destroyed = true;
    },
  };
  readonly connection: Connection;

  constructor(handler: UnaryHandler = echo, options: Partial<ConnectionOptions> = {}) {
    this.connection = new Connection(
      this.wire,
      {
        methods: new Map([
          [
            ECHO,
            (asked: UnaryRequest, answer: Parameters<UnaryHandler>[1]): void => {
              this.requests.push(asked);
              handler(asked, answer);
            },
          ],
        ]),
        maxMessageBytes: 32_768,
        ticks: () => this.nowMs,
        failed: (error) => this.failures.push(error),
        ...options,
      },
      '192.0.2.1',
    );
  }

  send(...pieces: readonly Uint8Array[]): this {
    this.connection.receive(Buffer.concat(pieces));
    return this;
  }

  /** What was sent since this was asked last. */
  sent(): readonly SentFrame[] {
    return framesOf(Buffer.concat(this.wire.written.splice(0)));
  }

  /** In words: what ended, and with which code. */
  ends(): readonly string[] {
    const said = this.sent().flatMap(({ type, stream, payload }) => {
      if (type === FrameType.GOAWAY)
        return [`GOAWAY ${payload.readUInt32BE(4)} after ${payload.readUInt32BE(0)}`];
      return type === FrameType.RST_STREAM ? [`RST_STREAM ${payload.readUInt32BE(0)} of ${stream}`] : [];
    });
    if (this.wire.ended) said.push('end');
    if (this.wire.destroyed) said.push('destroyed');
    return said;
  }
}

/** Timers that tests run. */
export class Timers {
  readonly waiting: Set<{ readonly delayMs: number; readonly run: () => void }> = new Set();
  readonly after: After = (delayMs, run) => {
    const timer = { delayMs, run };
    this.waiting.add(timer);
    return (): void => void this.waiting.delete(timer);
  };

  /** Runs those that wait. @returns their delays */
  fire(): readonly number[] {
    const due = [...this.waiting];
    this.waiting.clear();
    for (const { run } of due) run();
    return due.map(({ delayMs }) => delayMs);
  }
}
