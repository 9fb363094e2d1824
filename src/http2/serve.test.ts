import {
  Client,
  credentials,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServiceDefinition,
} from '@grpc/grpc-js';
import { createServer, type ServerHttp2Stream } from 'node:http2';
import { Duplex } from 'node:stream';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { FrameType, PREFACE } from './frames.ts';
import { serveUnary } from './serve.ts';
import {
  ACK,
  call,
  CALL,
  data,
  ECHO,
  echo,
  framed,
  framesOf,
  headers,
  HOST,
  http2Client,
  makeKeys,
  request,
  SETTINGS,
  START,
  startServer,
  Timers,
  tlsClient,
  type Defaults,
  type Keys,
  type SentFrame,
} from './testing.ts';
import type { UnaryConnection, UnaryOptions } from './types.ts';

const elsewhere = CALL.map(([name, value]) => [name, name === ':path' ? '/other' : value] as const);

let keys: Keys;
beforeAll(async () => {
  keys = await makeKeys();
});

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one.close();
});

/** A node HTTP/2 server that takes over what it is given, and echoes. */
function nodeServer(): UnaryOptions['handOver'] {
  const server = createServer({ settings: { maxConcurrentStreams: 256 } });
  server.on('stream', (stream: ServerHttp2Stream, { ':path': path }) => {
    stream.on('error', () => undefined);
    stream.respond({ ':status': 200, 'x-by': 'node', 'x-path': path });
    stream.pipe(stream);
  });
  return (socket, received) => {
    socket.unshift(received);
    server.emit('connection', socket);
  };
}

/** A grpc-js server that takes over, with one streaming method. */
function grpcServer(): UnaryOptions['handOver'] {
  const server = new Server({ 'grpc.max_concurrent_streams': 256 });
  const same = (bytes: Buffer): Buffer => bytes;
  const definition: ServiceDefinition = {
    Talk: {
      path: '/test.Streams/Talk',
      requestStream: true,
      responseStream: true,
      requestSerialize: same,
      requestDeserialize: same,
      responseSerialize: same,
      responseDeserialize: same,
    },
  };
  server.addService(definition, {
    Talk: (stream: ServerDuplexStream<Buffer, Buffer>) => {
      stream.on('data', (message: Buffer) => stream.write(Buffer.concat([Buffer.from('re: '), message])));
      stream.on('end', () => stream.end());
    },
  });
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  open.push({ close: () => server.forceShutdown() });
  return (socket, received) => {
    socket.unshift(received);
    injector.injectConnection(socket);
  };
}

async function port(options: Defaults): Promise<number> {
  const server = await startServer(keys, options);
  open.push(server);
  return server.port;
}

/** What a client that writes frames by hand sees. */
async function raw(
  to: number,
  ...pieces: readonly Buffer[]
): Promise<{
  until(done: (frames: readonly SentFrame[]) => boolean): Promise<readonly SentFrame[]>;
  write(bytes: Buffer): void;
}> {
  const socket = tlsClient(keys, to);
  open.push({ close: () => socket.destroy() });
  const came: Buffer[] = [];
  socket.on('data', (piece: Buffer) => came.push(piece));
  await new Promise((resolve) => void socket.once('secureConnect', resolve));
  for (const piece of pieces) socket.write(piece);
  return {
    write: (bytes) => void socket.write(bytes),
    until: async (done) => {
      for (;;) {
        const frames = framesOf(Buffer.concat(came));
        if (done(frames)) return frames;
        await new Promise((resolve) => void socket.once('data', resolve));
      }
    },
  };
}

describe('a connection of somebody else', () => {
  it('is handed over to a node HTTP/2 server with all that came', async () => {
    const session = http2Client(keys, await port({ handOver: nodeServer() }));
    open.push({ close: () => session.destroy() });
    const large = Buffer.alloc(50_000, 'abc');
    const paths = ['/first', '/second', ECHO];
    const responses = await Promise.all(
      paths.map(async (path) => await request(session, large, { ':path': path })),
    );
    expect(responses.map((response) => [response.headers['x-by'], response.headers['x-path']])).toEqual(
      paths.map((path) => ['node', path]),
    );
    for (const { body } of responses) expect(body.equals(large)).toBe(true);
  });

  it('is handed over to a grpc-js server, which streams', async () => {
    const client = new Client(
      `${HOST}:${await port({ handOver: grpcServer() })}`,
      credentials.createSsl(Buffer.from(keys.ca)),
    );
    open.push(client);
    const same = (bytes: Buffer): Buffer => bytes;
    const stream = client.makeBidiStreamRequest('/test.Streams/Talk', same, same);
    for (const word of ['one', 'two', 'three']) {
      const answer = new Promise<Buffer>((resolve, reject) => {
        stream.once('data', resolve);
        stream.once('error', reject);
      });
      stream.write(Buffer.from(word));
      expect(String(await answer)).toBe(`re: ${word}`);
    }
    const ended = new Promise((resolve) => void stream.once('status', resolve));
    stream.end();
    expect(await ended).toMatchObject({ code: 0 });
  });

  it('is a new one where a client of ours wants a stream, which is nothing to the client', async () => {
    const server = await startServer(keys, { handOver: grpcServer() });
    open.push(server);
    const client = new Client(`${HOST}:${server.port}`, credentials.createSsl(Buffer.from(keys.ca)));
    open.push(client);
    const same = (bytes: Buffer): Buffer => bytes;
    const answer = await new Promise((resolve, reject) => {
      client.makeUnaryRequest(ECHO, same, same, Buffer.from('x'), (error, message) =>
        error === null ? resolve(message) : reject(error),
      );
    });
    expect(String(answer)).toBe('x');
    const stream = client.makeBidiStreamRequest('/test.Streams/Talk', same, same);
    const first = new Promise((resolve, reject) => {
      stream.once('data', resolve);
      stream.once('error', reject);
    });
    stream.write(Buffer.from('y'));
    expect(String(await first)).toBe('re: y');
    expect(server.connections).toHaveLength(2);
    const ended = new Promise((resolve) => void stream.once('status', resolve));
    stream.end();
    await ended;
  });

  it('is handed over once the acknowledgement came, also where the request was there before', async () => {
    const client = await raw(
      await port({ handOver: nodeServer() }),
      PREFACE,
      SETTINGS,
      headers(1, elsewhere),
      data(1, Buffer.from('body')),
    );
    // Ours alone: nothing is acknowledged before somebody has the connection.
    expect(await client.until((frames) => frames.length > 0)).toHaveLength(1);
    client.write(ACK);
    const answered = (frames: readonly SentFrame[]): boolean =>
      frames.some(({ type, payload }) => type === FrameType.DATA && String(payload) === 'body');
    const frames = await client.until(answered);
    expect(frames.filter(({ type }) => type === FrameType.SETTINGS).map(({ flags }) => flags)).toEqual([
      0, 0, 1,
    ]);
    // The acknowledgement of the second SETTINGS is the other server's.
    client.write(ACK);
    client.write(headers(3, elsewhere));
    client.write(data(3, Buffer.from('more')));
    await client.until((all) => all.some(({ stream, flags }) => stream === 3 && (flags & 1) !== 0));
  });

  it('is handed over with the frames byte by byte, too', async () => {
    const whole = Buffer.concat([
      PREFACE,
      SETTINGS,
      headers(1, elsewhere),
      ACK,
      data(1, Buffer.from('body')),
    ]);
    const client = await raw(await port({ handOver: nodeServer() }));
    for (const byte of whole) {
      client.write(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await client.until((frames) => frames.some(({ type }) => type === FrameType.DATA));
  });
});

/** A socket in memory: what is written to it is kept. */
class FakeSocket extends Duplex {
  readonly written: Buffer[] = [];

  override _read(): void {
    // Pieces are pushed as tests say.
  }

  override _write(bytes: Buffer, _: string, done: () => void): void {
    this.written.push(bytes);
    done();
  }
}

interface Fake {
  readonly socket: FakeSocket;
  readonly timers: Timers;
  readonly connection: UnaryConnection;
  readonly handed: Buffer[];
  readonly failures: unknown[];
  readonly say: (...pieces: readonly Buffer[]) => Promise<void>;
  readonly heard: () => readonly SentFrame[];
}

function fake(options: Partial<UnaryOptions> = {}): Fake {
  const socket = new FakeSocket();
  const timers = new Timers();
  const handed: Buffer[] = [];
  const failures: unknown[] = [];
  const connection = serveUnary(socket, {
    methods: new Map([[ECHO, echo]]),
    maxMessageBytes: 1_000,
    maxConcurrentStreams: 256,
    handOver: (_, received) => handed.push(received),
    failed: (error) => failures.push(error),
    after: timers.after,
    ticks: () => 0,
    ...options,
  });
  return {
    socket,
    timers,
    connection,
    handed,
    failures,
    say: async (...pieces) => {
      for (const piece of pieces) socket.push(piece);
      await new Promise((resolve) => setImmediate(resolve));
    },
    heard: () => framesOf(Buffer.concat(socket.written.splice(0))),
  };
}

describe('the opening', () => {
  it('says at once what the other server would say', () => {
    const [settings] = fake().heard();
    expect(settings).toEqual({
      type: FrameType.SETTINGS,
      flags: 0,
      stream: 0,
      payload: Buffer.from('000300000100', 'hex'),
    });
  });

  it('hands over all but the acknowledgement, and listens no more', async () => {
    const { socket, say, handed, connection, timers } = fake();
    const other = [headers(1, elsewhere, 5), headers(3, CALL, 5)];
    await say(PREFACE, SETTINGS, ...other, ACK);
    expect(handed).toEqual([Buffer.concat([PREFACE, SETTINGS, ...other])]);
    await connection.closed;
    expect(['data', 'end', 'error', 'close'].map((event) => socket.listenerCount(event))).toEqual([
      0, 0, 0, 0,
    ]);
    expect(timers.waiting.size).toBe(0);
    expect(socket.destroyed).toBe(false);
    connection.destroy();
    connection.close();
    expect(socket.destroyed).toBe(false);
  });

  it('hands over where no request comes in time', async () => {
    const { say, handed, timers } = fake();
    await say(START);
    expect(timers.fire()).toEqual([5_000]);
    expect(handed).toEqual([Buffer.concat([PREFACE, SETTINGS])]);
  });

  it('goes on to wait while what comes is no request', async () => {
    const { say, timers } = fake();
    await say(START);
    const [first] = timers.waiting;
    await say(headers(1, CALL, 0));
    expect([...timers.waiting]).toEqual([first]);
  });

  it.each([
    ['nothing', []],
    ['a preface', [PREFACE]],
    ['no acknowledgement', [PREFACE, SETTINGS, headers(1, elsewhere)]],
  ])('gives up after 10 s of %s', async (_, pieces) => {
    const { say, timers, socket, handed, connection } = fake();
    await say(...pieces);
    expect(timers.fire()).toEqual([10_000]);
    await connection.closed;
    expect([socket.destroyed, handed.length]).toEqual([true, 0]);
  });

  it('keeps no more than 128 KiB', async () => {
    const { say, socket, handed } = fake();
    await say(PREFACE, SETTINGS, headers(1, elsewhere));
    for (let index = 0; index < 7; index += 1) await say(data(1, Buffer.alloc(16_384), 0));
    expect(socket.destroyed).toBe(false);
    await say(data(1, Buffer.alloc(16_384), 0));
    expect([socket.destroyed, handed.length]).toEqual([true, 0]);
  });

  it('keeps what is wrong to itself, and ends it', async () => {
    const { say, socket, heard, timers, handed } = fake();
    await say(Buffer.from('GET / HTTP/1.1\r\nhost: a\r\n\r\n'));
    expect(heard().map(({ type }) => type)).toEqual([
      FrameType.SETTINGS,
      FrameType.SETTINGS,
      FrameType.GOAWAY,
    ]);
    expect(socket.writableEnded).toBe(true);
    expect(timers.fire()).toEqual([1_000]);
    expect([socket.destroyed, handed.length]).toEqual([true, 0]);
  });

  it('is closed in good order', async () => {
    const { connection, heard, socket, timers, say } = fake();
    connection.close();
    expect(heard().at(-1)?.type).toBe(FrameType.GOAWAY);
    await say(START, call(1));
    expect(heard()).toEqual([]);
    expect(socket.writableEnded).toBe(true);
    timers.fire();
    await connection.closed;
  });
});

describe('a connection of ours', () => {
  it('has one timer, which asks the silent', async () => {
    let nowMs = 0;
    const { say, timers, heard, socket, connection } = fake({ ticks: () => nowMs });
    await say(START, call(1));
    heard();
    expect([...timers.waiting].map(({ delayMs }) => delayMs)).toEqual([30_000]);
    nowMs = 30_000;
    timers.fire();
    expect(heard().map(({ type }) => type)).toEqual([FrameType.PING]);
    nowMs = 40_000;
    expect(timers.fire()).toEqual([10_000]);
    await connection.closed;
    expect([socket.destroyed, timers.waiting.size]).toEqual([true, 0]);
  });

  it('ends with the client, and tells the handler', async () => {
    let gone: (() => boolean) | undefined;
    const { say, socket, connection } = fake({
      methods: new Map([[ECHO, (asked): void => void (gone = () => asked.cancelled())]]),
    });
    await say(START, call(1));
    expect(gone?.()).toBe(false);
    socket.push(null);
    await connection.closed;
    expect([gone?.(), socket.destroyed]).toEqual([true, true]);
  });

  it('survives an error of the socket', async () => {
    const { say, socket, connection, failures } = fake();
    await say(START, call(1));
    socket.destroy(new Error('reset'));
    await connection.closed;
    expect(failures).toEqual([]);
  });

  it('is destroyed where the hand-over fails, which is told', async () => {
    const broken = new Error('broken');
    const { say, socket, failures } = fake({
      handOver: () => {
        throw broken;
      },
    });
    await say(START, headers(1, elsewhere));
    expect([socket.destroyed, failures]).toEqual([true, [broken]]);
  });

  it('takes no bound that its windows could not hold', () => {
    expect(() => fake({ maxMessageBytes: 65_531 })).toThrow('maxMessageBytes is 65531: it is up to 65530');
  });

  it('answers a large message under one window, framed', async () => {
    const { say, heard } = fake();
    heard();
    await say(START, call(1, Buffer.alloc(1_000)), call(3, Buffer.alloc(1_001)));
    const sent = heard();
    expect(sent.find(({ type }) => type === FrameType.DATA)?.payload).toEqual(framed(Buffer.alloc(1_000)));
    expect(String(sent.at(-1)?.payload)).toContain('the message is of 1001 bytes; at most 1000 are taken');
  });
});

describe('who acknowledges our SETTINGS before they have left', () => {
  const eager = Buffer.concat([START, headers(1, elsewhere, 5)]);

  it('is handed over once they have, as Node aborts the process where two write to one TLS socket', async () => {
    const socket = tlsClient(keys, await port({ handOver: nodeServer() }));
    open.push({ close: () => socket.destroy() });
    socket.write(eager);
    let came = Buffer.alloc(0);
    socket.on('data', (piece: Buffer) => {
      came = Buffer.concat([came, piece]);
    });
    await expect
      .poll(() => framesOf(came).some(({ type, stream }) => type === FrameType.HEADERS && stream === 1))
      .toBe(true);
  });

  it('is handed over with all that came until then, and given up where they never leave', () => {
    const timers = new Timers();
    const received: Buffer[] = [];
    const begin = (): { socket: Duplex; left: () => void } => {
      let left: () => void = () => undefined;
      const socket = new Duplex({
        read: () => undefined,
        write: (_bytes, _encoding, done) => {
          left = done;
        },
      });
      serveUnary(socket, {
        methods: new Map([[ECHO, echo]]),
        maxMessageBytes: 1_000,
        maxConcurrentStreams: 256,
        handOver: (_socket, bytes) => received.push(bytes),
        failed: (error) => {
          throw error;
        },
        after: timers.after,
      });
      socket.emit('data', eager);
      return { socket, left: () => left() };
    };
    const { socket, left } = begin();
    socket.emit('data', Buffer.from('more'));
    expect(received).toEqual([]);
    left();
    const rest = Buffer.concat([PREFACE, SETTINGS, headers(1, elsewhere, 5), Buffer.from('more')]);
    expect(received).toEqual([rest]);
    expect(timers.waiting.size).toBe(0);

    const stuck = begin().socket;
    timers.fire();
    expect(stuck.destroyed).toBe(true);
    expect(received).toHaveLength(1);
  });
});
