import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import * as grpc from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { TestControlPlane } from '../harness/control-plane.ts';
import { waitFor } from '../harness/wait.ts';
import { admission, ALLOW, channel, EnvoyClient, EXTENSION, SECRET } from './envoy-client.ts';
import { altered, strangersKey } from './forged-token.ts';
import { SilentReader } from './silent-reader.ts';
import { World } from './world.ts';

const world = new World('shop/web', 'shop/rogue');
let controlPlane: TestControlPlane;
let web: EnvoyClient;
let webToken: string;
let rogueToken: string;
let pulse = 0;

beforeAll(async () => {
  controlPlane = await world.start(
    ...['--max-message-bytes', '4096', '--max-names-per-stream', '20'],
    ...['--max-streams-per-workload', '3', '--max-concurrent-attestations', '4'],
  );
  webToken = await controlPlane.ask('token', '--pod', 'shop/web');
  rogueToken = await controlPlane.ask('token', '--pod', 'shop/rogue');
  web = await EnvoyClient.connected(controlPlane, webToken);
});
afterAll(async () => {
  web.close();
  await world.close();
});

/** Whatever the rogue did: the other's stream is the same, hears of changes, and newcomers are served. */
afterEach(async () => {
  await policyReachesWeb('/pulse');
  expect(web.open).toBe(true);
  expect(await admission(controlPlane, webToken)).toBe('admitted');
});

async function policyReachesWeb(path: string): Promise<void> {
  const before = web.version(ALLOW);
  pulse += 1;
  world.writePolicy('shop/web', 'pulse', `${path}/${pulse}`);
  await web.until(() => web.version(ALLOW) !== before);
}

/** Of the rogue: the names that its events list, and how many they only count. */
function refusedNames(events: readonly Readonly<Record<string, unknown>>[]): {
  readonly events: number;
  readonly listed: readonly string[];
  readonly leftOut: number;
} {
  const own = events.filter(({ event, actor }) => event === 'resource.refused' && actor === 'shop/rogue');
  return {
    events: own.length,
    listed: own.flatMap(({ resources }) => (resources as { name: string }[]).map(({ name }) => name)),
    leftOut: own.reduce((sum, { leftOut }) => sum + Number(leftOut), 0),
  };
}

function rogue(shared?: grpc.Client): EnvoyClient {
  return new EnvoyClient(controlPlane, rogueToken, shared);
}

describe('what is no request ends that stream alone:', () => {
  it.each([
    ['noise', randomBytes(512)],
    ['a length that goes beyond the end', Buffer.from([0x22, 0x7f, 0x61])],
    ['a field number of 0', Buffer.from([0x02, 0x00])],
    ['a group that never ends', Buffer.alloc(400, 0x0b)],
    ['an endless varint', Buffer.alloc(64, 0xff)],
  ])('%s', async (_what, bytes) => {
    const stream = rogue();
    stream.sendBytes(bytes);
    expect(await stream.ended()).toMatch(/^INVALID_ARGUMENT: /u);
  });

  it('a request without a type', async () => {
    const stream = rogue();
    stream.send({ resource_names_subscribe: ['default'] });
    expect(await stream.ended()).toBe(
      'INVALID_ARGUMENT: an aggregated stream needs a type_url in each request',
    );
  });

  it('bytes that are not even TLS', async () => {
    const [host = '', port = ''] = controlPlane.address.split(':');
    for (const noise of ['GET / HTTP/1.1\r\n\r\n', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', randomBytes(4_096)]) {
      const socket = connect({ host, port: Number(port) });
      socket.on('error', () => undefined);
      socket.write(noise);
      await new Promise<void>((resolve) => socket.once('close', () => resolve()).resume());
    }
  });
});

describe('names that it has no right to', () => {
  it.each([
    ['spiffe://cluster.local/ns/shop/sa/web', SECRET],
    ['spiffe://cluster.local/ns/countersign-system/sa/control-plane', SECRET],
    ['spiffe://elsewhere.example', SECRET],
    ['nonsense\u0000\u001B[31m', SECRET],
    ['envoy.filters.http.router', EXTENSION],
  ])('%j are refused alone; what is its own still comes', async (name, type) => {
    const before = controlPlane.audit().length;
    const stream = rogue();
    stream.subscribe(type, name);
    await stream.until(() => stream.errors.has(name));
    stream.subscribe(SECRET, 'default');
    await stream.until(() => stream.resources.has('default'));
    expect([...stream.resources.keys()]).toEqual(['default']);
    await waitFor('the refusal in the audit', () =>
      refusedNames(controlPlane.audit().slice(before)).listed.includes(name) ? true : undefined,
    );
    stream.close();
  });

  it('are refused in the same words whether they exist or not', async () => {
    const stream = rogue();
    const names = ['web', 'nobody'].map((account) => `spiffe://cluster.local/ns/shop/sa/${account}`);
    stream.subscribe(SECRET, ...names);
    await stream.until(() => stream.errors.size === 2);
    const [first, second] = names.map((name) => stream.errors.get(name)?.replaceAll(name, 'NAME'));
    expect(first).toBe(second);
    stream.close();
  });
});

describe('the audit stream cannot be filled', () => {
  it('with names asked for and dropped over and over: all are counted, few events are written', async () => {
    const before = controlPlane.audit().length;
    const stream = rogue();
    const names = Array.from({ length: 15 }, (_, index) => `foreign-${index}`);
    const rounds = 400;
    for (let round = 0; round < rounds; round += 1) {
      stream.errors.clear();
      stream.subscribe(SECRET, ...names);
      await stream.until(() => stream.errors.size === names.length);
      stream.send({ type_url: SECRET, resource_names_unsubscribe: names });
    }
    const told = await waitFor('all to be counted', () => {
      const now = refusedNames(controlPlane.audit().slice(before));
      return now.listed.length + now.leftOut === rounds * names.length ? now : undefined;
    });
    expect(told.events).toBeLessThan(rounds / 4);
    stream.close();
  });

  it('with rejections: all are counted, few events are written', async () => {
    const before = controlPlane.audit().length;
    const stream = rogue();
    stream.rejectWith = 'x'.repeat(2_000);
    const rounds = 200;
    for (let round = 0; round < rounds; round += 1) {
      // Each subscription is answered, also of what it has.
      stream.subscribe(SECRET, 'default');
      await stream.until(() => stream.responses > round);
    }
    const events = await waitFor('all to be counted', () => {
      const own = controlPlane
        .audit()
        .slice(before)
        .filter(({ event, actor }) => event === 'push.rejected' && actor === 'shop/rogue');
      return own.reduce((sum, { leftOut }) => sum + 1 + Number(leftOut), 0) === rounds ? own : undefined;
    });
    expect(events.length).toBeLessThan(rounds / 4);
    expect(String(events[0]?.['detail'])).toHaveLength(1_025);
    stream.close();
  });

  it('with callers who prove nothing: all are counted, few events are written', async () => {
    const before = controlPlane.audit().length;
    const client = new grpc.Client(...channel(controlPlane));
    const callers = 400;
    for (let caller = 0; caller < callers; caller += 1) {
      expect(await new EnvoyClient(controlPlane, 'garbage', client).ended()).toMatch(/^UNAUTHENTICATED/u);
    }
    client.close();
    const events = await waitFor('all to be counted', () => {
      const own = controlPlane
        .audit()
        .slice(before)
        .filter(({ event }) => event === 'workload.refused');
      return own.reduce((sum, { leftOut }) => sum + 1 + Number(leftOut), 0) === callers ? own : undefined;
    });
    expect(events.length).toBeLessThan(callers / 4);
  });
});

describe('more than a limit allows ends that stream alone:', () => {
  const names = (count: number, from = 0): readonly string[] =>
    Array.from({ length: count }, (_, index) => `name-${from + index}`);

  it('names at once (--max-names-per-stream)', async () => {
    const stream = rogue();
    stream.subscribe(SECRET, ...names(21));
    expect(await stream.ended()).toBe(
      'RESOURCE_EXHAUSTED: this stream subscribes to 21 names; at most 20 are allowed',
    );
  });

  it('names little by little, over several types', async () => {
    const stream = rogue();
    for (let from = 0; from < 100 && stream.open; from += 5) {
      stream.subscribe(from % 2 === 0 ? SECRET : EXTENSION, ...names(5, from));
    }
    expect(await stream.ended()).toMatch(/^RESOURCE_EXHAUSTED: .*at most 20 are allowed/u);
  });

  it('types', async () => {
    const stream = rogue();
    for (let type = 0; type < 40; type += 1) stream.send({ type_url: `type.googleapis.com/x.Y${type}` });
    expect(await stream.ended()).toMatch(/^RESOURCE_EXHAUSTED: at most 32 types/u);
  });

  it('bytes of a message (--max-message-bytes)', async () => {
    const stream = rogue();
    stream.subscribe(SECRET, 'x'.repeat(5_000));
    expect(await stream.ended()).toMatch(/^RESOURCE_EXHAUSTED: .*4096/u);
  });

  it('streams of one workload (--max-streams-per-workload)', async () => {
    // Those of earlier tests may be on their way out.
    const streams = await waitFor('three streams', async () => {
      const three = [rogue(), rogue(), rogue()];
      for (const stream of three) stream.subscribe(SECRET, 'default');
      try {
        await Promise.all(three.map((stream) => stream.until(() => stream.resources.size > 0)));
        return three;
      } catch (error) {
        for (const stream of three) stream.close();
        throw error;
      }
    });
    expect(await admission(controlPlane, rogueToken)).toBe(
      'RESOURCE_EXHAUSTED: shop/rogue has 3 streams already; close one',
    );
    // Another token of the same pod is the same workload.
    expect(await admission(controlPlane, await controlPlane.ask('token', '--pod', 'shop/rogue'))).toMatch(
      /^RESOURCE_EXHAUSTED/u,
    );
    for (const stream of streams) {
      expect(stream.open).toBe(true);
      stream.close();
    }
    await waitFor('room for another', async () =>
      (await admission(controlPlane, rogueToken)) === 'admitted' ? true : undefined,
    );
  });

  it('callers at once (--max-concurrent-attestations)', async () => {
    const key = strangersKey();
    const tokens = await Promise.all(
      Array.from({ length: 100 }, (_, index) =>
        altered(rogueToken, key, (claims) => ({ ...claims, jti: `forged-${index}` })),
      ),
    );
    const client = new grpc.Client(...channel(controlPlane));
    const ends = await Promise.all(
      tokens.map(async (token) => (await new EnvoyClient(controlPlane, token, client).ended()).split(':')[0]),
    );
    client.close();
    expect(new Set(ends)).toEqual(new Set(['UNAUTHENTICATED', 'RESOURCE_EXHAUSTED']));
  });
});

describe('a client that never reads', () => {
  it(
    'is sent no more than fits, while hundreds of changes reach the others',
    { timeout: 180_000 },
    async () => {
      const silent = new SilentReader(controlPlane, rogueToken);
      await waitFor('its stream', async () =>
        (await controlPlane.ask('proxies')).includes('shop/rogue') ? true : undefined,
      );
      const pushes = async (): Promise<number> =>
        Number(
          /^countersign_xds_pushes_total\{type="TypedExtensionConfig"\} (\d+)$/mu.exec(
            await controlPlane.metrics(),
          )?.[1],
        );
      const changes = 200;
      const before = { pushes: await pushes(), responses: web.responses };
      for (let change = 0; change < changes; change += 1) {
        // 30 KB each: HTTP/2 takes two of them from a client that does not read.
        const paths = Array.from({ length: 300 }, (_, index) => `/${change}/${index}/${'x'.repeat(90)}`);
        const version = web.version(ALLOW);
        world.writePolicy('shop/rogue', 'rogue', ...paths);
        world.writePolicy('shop/web', 'pulse', `/change/${change}`);
        for (let nonce = 1; nonce <= change; nonce += 1) silent.acknowledge(String(nonce));
        await web.until(() => web.version(ALLOW) !== version);
      }
      const responses = web.responses - before.responses;
      expect(responses).toBeGreaterThanOrEqual(changes);
      expect((await pushes()) - before.pushes - responses).toBeLessThan(10);
      silent.close();
    },
  );
});
