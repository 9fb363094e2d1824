import { Client, credentials, Metadata, status, type ServiceError } from '@grpc/grpc-js';
import type { ClientHttp2Session } from 'node:http2';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { PREFACE } from './frames.ts';
import {
  CALL,
  call,
  ECHO,
  framed,
  framesOf,
  headers,
  HOST,
  http2Client,
  makeKeys,
  request,
  SETTINGS,
  startServer,
  tlsClient,
  type Defaults,
  type Keys,
  type TestServer,
} from './testing.ts';
import type { UnaryAnswer, UnaryHandler, UnaryRequest } from './types.ts';

let keys: Keys;
beforeAll(async () => {
  keys = await makeKeys();
});

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one.close();
});

async function server(options: Defaults = {}): Promise<TestServer> {
  const started = await startServer(keys, options);
  open.push(started);
  return started;
}

function served(handler: UnaryHandler): Defaults {
  return { methods: new Map([[ECHO, handler]]) };
}

function node(port: number, settings = {}): ClientHttp2Session {
  const session = http2Client(keys, port, settings);
  open.push({ close: () => session.destroy() });
  return session;
}

interface Outcome {
  readonly message: Buffer | undefined;
  readonly error: ServiceError | null;
}

function grpcClient(port: number): Client {
  const client = new Client(`${HOST}:${port}`, credentials.createSsl(Buffer.from(keys.ca)));
  open.push(client);
  return client;
}

async function ask(
  client: Client,
  message: Buffer,
  { path = ECHO, deadlineMs = 20_000 } = {},
): Promise<Outcome> {
  const metadata = new Metadata();
  metadata.set('authorization', 'Bearer token');
  const same = (bytes: Buffer): Buffer => bytes;
  return await new Promise((resolve) => {
    const options = { deadline: Date.now() + deadlineMs };
    client.makeUnaryRequest(path, same, same, message, metadata, options, (error, answer) =>
      resolve({ message: answer, error }),
    );
  });
}

/** Handlers whose calls wait for the test. */
class Waiting {
  readonly calls: { readonly request: UnaryRequest; readonly answer: (answer: UnaryAnswer) => void }[] = [];
  #told: () => void = () => undefined;
  readonly handler: UnaryHandler = (asked, answer) => {
    this.calls.push({ request: asked, answer });
    this.#told();
  };

  async came(count: number): Promise<void> {
    while (this.calls.length < count) await new Promise<void>((resolve) => (this.#told = resolve));
  }
}

describe('calls by grpc-js', () => {
  it('are answered, many on one connection, and each with its own', async () => {
    const { port, connections } = await server();
    const client = grpcClient(port);
    const asked = Array.from({ length: 100 }, (_, index) => Buffer.from(`message ${index}`));
    const outcomes = await Promise.all(asked.map(async (message) => await ask(client, message)));
    expect(outcomes.map(({ message }) => message?.toString())).toEqual(asked.map(String));
    expect(connections).toHaveLength(1);
  });

  it('are all answered where more come at once than are taken at a time', async () => {
    const { port, connections } = await server(
      served(({ message }, answer) => void setTimeout(() => answer({ message }), 10)),
    );
    const client = grpcClient(port);
    const outcomes = await Promise.all(
      Array.from({ length: 60 }, async () => await ask(client, Buffer.from('x'))),
    );
    expect(outcomes.filter(({ error }) => error !== null)).toEqual([]);
    expect(connections).toHaveLength(1);
  });

  it('are answered with nothing, with little, and with the largest', async () => {
    const client = grpcClient((await server({ maxMessageBytes: 65_530 })).port);
    for (const length of [0, 1, 16_379, 16_380, 65_530]) {
      const { message, error } = await ask(client, Buffer.alloc(length, 7));
      expect(error).toBeNull();
      expect(message?.equals(Buffer.alloc(length, 7))).toBe(true);
    }
  });

  it('are told why they failed, in any script, and with metadata', async () => {
    const details = '100 % – it\'s "über"\n';
    const { port } = await server(
      served((_, answer) => answer({ code: 16, details, metadata: { 'x-why': 'a b' } })),
    );
    const { error } = await ask(grpcClient(port), Buffer.from('x'));
    expect(error).toMatchObject({ code: status.UNAUTHENTICATED, details });
    expect(error?.metadata.get('x-why')).toEqual(['a b']);
  });

  it('are told that the message is too large, while the connection goes on', async () => {
    const { port, connections } = await server({ maxMessageBytes: 1_000 });
    const client = grpcClient(port);
    const { error } = await ask(client, Buffer.alloc(60_000));
    expect(error).toMatchObject({ code: status.RESOURCE_EXHAUSTED });
    expect((await ask(client, Buffer.alloc(1_000))).message).toHaveLength(1_000);
    expect(connections).toHaveLength(1);
  });

  it('see a handler that throws as INTERNAL, which the server is told of', async () => {
    const broken = new Error('broken');
    const { port, failures } = await server(
      served(() => {
        throw broken;
      }),
    );
    const { error } = await ask(grpcClient(port), Buffer.from('x'));
    expect(error).toMatchObject({ code: status.INTERNAL, details: 'the server failed' });
    expect(failures).toEqual([broken]);
  });

  it('may be cancelled, which the handler sees', async () => {
    const waiting = new Waiting();
    const { port } = await server(served(waiting.handler));
    const client = grpcClient(port);
    const same = (bytes: Buffer): Buffer => bytes;
    const running = client.makeUnaryRequest(ECHO, same, same, Buffer.from('x'), () => undefined);
    await waiting.came(1);
    expect(waiting.calls[0]!.request.cancelled()).toBe(false);
    running.cancel();
    // Its next call comes after the reset.
    const next = ask(client, Buffer.from('y'));
    await waiting.came(2);
    expect(waiting.calls.map((one) => one.request.cancelled())).toEqual([true, false]);
    for (const { answer } of waiting.calls) answer({ message: Buffer.from('z') });
    expect((await next).message?.toString()).toBe('z');
  });

  it('know their deadline', async () => {
    const waiting = new Waiting();
    let nowMs = 0;
    const { port } = await server({ ...served(waiting.handler), ticks: () => nowMs });
    const outcome = ask(grpcClient(port), Buffer.from('x'), { deadlineMs: 20_000 });
    await waiting.came(1);
    expect(waiting.calls[0]!.request.cancelled()).toBe(false);
    nowMs = 20_001;
    expect(waiting.calls[0]!.request.cancelled()).toBe(true);
    waiting.calls[0]!.answer({ message: Buffer.from('too late') });
    expect((await outcome).error).toMatchObject({ code: status.DEADLINE_EXCEEDED });
  });

  it('go on elsewhere when the server closes the connection, and those in flight are answered', async () => {
    const waiting = new Waiting();
    const { port, connections } = await server(served(waiting.handler));
    const client = grpcClient(port);
    const first = ask(client, Buffer.from('x'));
    await waiting.came(1);
    connections[0]!.close();
    const second = ask(client, Buffer.from('y'));
    await waiting.came(2);
    expect(connections).toHaveLength(2);
    for (const { request: asked, answer } of waiting.calls) answer({ message: asked.message });
    expect([(await first).message?.toString(), (await second).message?.toString()]).toEqual(['x', 'y']);
    await connections[0]!.closed;
  });

  it('see their connection cut, and so does the handler', async () => {
    const waiting = new Waiting();
    const { port, connections } = await server(served(waiting.handler));
    const outcome = ask(grpcClient(port), Buffer.from('x'));
    await waiting.came(1);
    connections[0]!.destroy();
    await connections[0]!.closed;
    expect(waiting.calls[0]!.request.cancelled()).toBe(true);
    waiting.calls[0]!.answer({ message: Buffer.from('nobody') });
    expect((await outcome).error).toMatchObject({ code: status.UNAVAILABLE });
  });
});

describe("calls by node's HTTP/2 client", () => {
  it('carry what the handler needs', async () => {
    const seen: UnaryRequest[] = [];
    const { port } = await server(
      served((asked, answer) => {
        seen.push(asked);
        answer({ message: asked.message });
      }),
    );
    const token = `Bearer ${'aZ09-_.'.repeat(170)}`;
    const session = node(port);
    for (let time = 0; time < 3; time += 1) {
      const response = await request(session, framed(Buffer.from('body')), { authorization: token });
      expect(response).toMatchObject({ status: 200, code: '0', body: framed(Buffer.from('body')) });
    }
    expect(seen.map((one) => [one.path, one.authorization, one.message.toString(), one.peer])).toEqual(
      Array.from({ length: 3 }, () => [ECHO, [token], 'body', '127.0.0.1']),
    );
  });

  it('are answered under the smallest windows and frames', async () => {
    const { port } = await server();
    const session = node(port, { settings: { initialWindowSize: 100 } });
    const message = Buffer.alloc(3_000, 'abc');
    const responses = await Promise.all(
      Array.from({ length: 8 }, async () => await request(session, framed(message))),
    );
    for (const { code, body } of responses) {
      expect(code).toBe('0');
      expect(body.equals(framed(message))).toBe(true);
    }
  });

  it('have as many at a time as were promised; the others wait, and none is lost', async () => {
    const waiting = new Waiting();
    const { port } = await server(served(waiting.handler));
    const session = node(port);
    const first = request(session, framed(Buffer.from('x')));
    await waiting.came(1);
    waiting.calls[0]!.answer({ message: Buffer.alloc(0) });
    await first;
    const more = Array.from({ length: 20 }, async () => await request(session, framed(Buffer.from('x'))));
    await waiting.came(17);
    expect(waiting.calls).toHaveLength(17);
    for (let index = 1; index <= 20; index += 1) {
      await waiting.came(index + 1);
      waiting.calls[index]!.answer({ message: Buffer.alloc(0) });
    }
    expect((await Promise.all(more)).every(({ code }) => code === '0')).toBe(true);
  });

  it('carry any header, as the client packs it', async () => {
    const seen: (readonly string[])[] = [];
    const { port } = await server(
      served(({ authorization }, answer) => {
        seen.push(authorization);
        answer({ message: Buffer.alloc(0) });
      }),
    );
    const session = node(port);
    // Each printable character with each other, in all lengths.
    const printable = String.fromCharCode(...Array.from({ length: 94 }, (_, index) => 0x21 + index));
    const values = Array.from({ length: 188 }, (_, index) =>
      Array.from(
        { length: index + 1 },
        (__, place) => printable[(place * (1 + (index % 93)) + index) % 94],
      ).join(''),
    );
    for (const value of values) {
      expect((await request(session, framed(Buffer.alloc(0)), { authorization: value })).code).toBe('0');
    }
    expect(seen).toEqual(values.map((value) => [value]));
  });

  it('keep the headers in step when the table changes its size', async () => {
    const { port } = await server();
    const session = node(port, { settings: { headerTableSize: 0 } });
    for (let index = 0; index < 200; index += 1) {
      const extra = { 'x-extra': `value-${index}${'x'.repeat(index)}` };
      expect((await request(session, framed(Buffer.from('x')), extra)).code).toBe('0');
    }
  });

  it.each([
    ['GET', { ':method': 'GET' }, { status: 405 }],
    ['no content type', { 'content-type': 'text/plain' }, { status: 415 }],
    ['another of its kind', { 'content-type': 'application/grpc-web' }, { status: 415 }],
    ['a protobuf', { 'content-type': 'application/grpc+proto' }, { status: 200, code: '0' }],
    ['no timeout', { 'grpc-timeout': '5x' }, { status: 200, code: '13' }],
    ['a compression', { 'grpc-encoding': 'gzip' }, { status: 200, code: '12' }],
    ['no compression', { 'grpc-encoding': 'identity' }, { status: 200, code: '0' }],
  ])('are answered as gRPC says where they have %s', async (_, extra, expected) => {
    const { port } = await server();
    const session = node(port);
    // The first has to be for us in any case.
    await request(session, framed(Buffer.from('x')));
    const body = ':method' in extra ? undefined : framed(Buffer.from('x'));
    expect(await request(session, body, extra as Record<string, string>)).toMatchObject(expected);
  });

  it.each([
    ['nothing', Buffer.alloc(0), '12'],
    ['a part of the prefix', Buffer.alloc(4), '13'],
    ['a part of the message', framed(Buffer.from('whole')).subarray(0, -1), '13'],
    ['two messages', Buffer.concat([framed(Buffer.from('a')), framed(Buffer.from('b'))]), '12'],
    ['one that is compressed', framed(Buffer.from('a'), 1), '12'],
  ])('are told what is wrong with %s', async (_, body, code) => {
    const { port } = await server();
    expect(await request(node(port), body)).toMatchObject({ status: 200, code });
  });
});

describe('what a client sends', () => {
  it('may come byte by byte', async () => {
    const { port } = await server();
    const socket = tlsClient(keys, port);
    open.push({ close: () => socket.destroy() });
    socket.setNoDelay(true);
    const pieces: Buffer[] = [];
    socket.on('data', (piece: Buffer) => pieces.push(piece));
    const whole = Buffer.concat([PREFACE, SETTINGS, headers(1, CALL), call(1).subarray(headers(1).length)]);
    for (const byte of whole) {
      await new Promise((resolve) => void socket.write(Buffer.from([byte]), resolve));
    }
    const done = (): boolean =>
      framesOf(Buffer.concat(pieces)).some(({ stream, flags }) => stream === 1 && (flags & 1) !== 0);
    while (!done()) await new Promise((resolve) => void socket.once('data', resolve));
    const answer = framesOf(Buffer.concat(pieces)).find(({ type, stream }) => type === 0 && stream === 1);
    expect(answer?.payload).toEqual(framed(Buffer.from('hi')));
  });
});
