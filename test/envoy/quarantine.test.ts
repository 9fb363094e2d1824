import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { QuarantineState } from '../../src/operator/index.ts';
import { Load } from '../harness/http.ts';
import { Http2Connection } from '../harness/http2.ts';
import { countersign } from '../harness/paths.ts';
import { run } from '../harness/process.ts';
import { exchange } from '../harness/tcp.ts';
import { waitFor } from '../harness/wait.ts';
import { useConnectionsOnce, useHttp1 } from './bootstrap-edits.ts';
import { Repeated, overHttp2 } from './load.ts';
import { TestMesh } from './mesh.ts';
import { allowAll } from './policies.ts';

const cart = 'shop/cart';
/** HTTP/2 with cart. */
const web = 'shop/web';
/** As web's service account, on another node; HTTP/1.1 with cart. */
const twin = 'shop/twin';
/** A connection of its own for each request. */
const brief = 'shop/brief';
const why = ['--reason', 'stolen'];

let mesh: TestMesh;
/** Of web, to its sidecar, and from there to cart: open all the time. */
let open: Http2Connection;

beforeAll(async () => {
  const calls = [
    { to: cart, protocol: 'http' },
    { to: cart, protocol: 'tcp' },
  ] as const;
  mesh = await TestMesh.start({
    pods: [
      { pod: cart, serves: ['http', 'tcp'] },
      { pod: web, calls, node: 'node-2' },
      { pod: twin, calls, account: 'web', node: 'node-3', edit: useHttp1 },
      { pod: brief, calls, node: 'node-3', edit: useConnectionsOnce },
    ],
    policies: { cart: allowAll('shop/cart', 'cart') },
  });
  open = new Http2Connection(mesh.wayOut(web));
}, 120_000);
/** Whatever failed: the next one begins with nobody cut off. */
afterEach(async () => {
  for (const { name } of await entries()) await remove(name);
  for (const pod of [web, twin, brief]) await comesBack(pod);
});
afterAll(async () => {
  open.close();
  await mesh.stop();
});

async function add(...args: readonly string[]): Promise<string> {
  const said = JSON.parse(
    await mesh.controlPlane.ask('quarantine add', ...args, ...why, '-o', 'json'),
  ) as QuarantineState & { added: string };
  expect(said).toMatchObject({
    entries: [{ name: said.added, reason: 'stolen' }],
    lagging: [],
    unshared: '',
  });
  expect(said.enforced).toBe(said.proxies);
  expect(said.proxies).toBeGreaterThan(0);
  return said.added;
}

async function remove(entry: string): Promise<void> {
  expect(await mesh.controlPlane.ask('quarantine remove', entry)).toMatch(
    /^q-\w+ is lifted\nenforced by 1\/1 proxies$/u,
  );
}

async function entries(): Promise<QuarantineState['entries']> {
  return (JSON.parse(await mesh.controlPlane.ask('quarantine list', '-o', 'json')) as QuarantineState)
    .entries;
}

async function overTcp(pod: string): Promise<boolean> {
  return (await exchange({ ...mesh.wayOut(pod, 1), text: 'hello' })) === 'hello';
}

/** What `pod` gets by a new HTTP connection to its sidecar, and by a new TCP connection to cart. */
async function reaches(pod: string): Promise<readonly [number, boolean]> {
  return [(await mesh.call(pod)).status, await overTcp(pod)];
}

async function comesBack(pod: string): Promise<void> {
  await waitFor(`${pod} to reach cart again`, async () => {
    const [status, echoed] = await reaches(pod);
    return status === 200 && echoed ? true : undefined;
  });
}

/** @returns what failed of the requests and connections of these pods meanwhile */
async function meanwhile(pods: readonly string[], act: () => Promise<void>): Promise<void> {
  const loads = pods.flatMap((pod) => [
    new Load({ ...mesh.wayOut(pod), path: '/items' }),
    overHttp2(mesh.wayOut(pod)),
    new Repeated(async () => await overTcp(pod)),
  ]);
  try {
    await waitFor('the load', () => (loads.every(({ total }) => total > 5) ? true : undefined));
    await act();
    const before = loads.map(({ total }) => total);
    await waitFor('more load', () =>
      loads.every(({ total }, at) => total > before[at]! + 5) ? true : undefined,
    );
  } finally {
    await Promise.all(loads.map((load) => load.stop()));
  }
  expect(loads.map(({ failed }) => failed)).toEqual(loads.map(() => 0));
}

function refusedStreams(entry: string): boolean {
  return mesh.controlPlane
    .audit()
    .some(
      ({ event, factor, detail }) =>
        event === 'workload.refused' && factor === 'quarantine' && String(detail).includes(entry),
    );
}

describe('who is cut off', { timeout: 60_000 }, () => {
  it.each([
    ['SPIFFE ID', (): string[] => ['--id', mesh.id(brief)], brief, [web, twin]],
    ['pod', (): string[] => ['--pod', web], web, [twin, brief]],
    ['node', (): string[] => ['--node', 'node-2'], web, [twin, brief]],
  ])('by %s: the next request is denied, and no other is', async (_by, who, suspect, neighbours) => {
    const connection = new Http2Connection(mesh.wayOut(suspect));
    expect(await connection.status('/')).toBe(200);
    let entry = '';
    await meanwhile(neighbours, async () => {
      entry = await add(...who());
      expect(await connection.status('/')).toBe(403);
      expect(await reaches(suspect)).toEqual([403, false]);
    });
    connection.close();
    expect(
      mesh
        .envoy(cart)
        .accessLog()
        .map((line) => line.denied_by),
    ).toContain(`countersign-quarantine[${entry}]`);
    await waitFor('its streams to be refused', () => (refusedStreams(entry) ? true : undefined));
    const streams = await mesh.connected();
    expect(streams.filter(({ pod }) => pod === suspect)).toEqual([]);

    await remove(entry);
    await comesBack(suspect);
  });

  it('by certificate: that one, and not the next of the same pod', async () => {
    const issued = mesh.controlPlane
      .audit()
      .findLast(({ event, actor }) => event === 'svid.issued' && actor === web);
    const digest = String(issued?.['digest']).toUpperCase().match(/../gu)!.join(':');
    await waitFor('web', async () => ((await open.status('/')) === 200 ? true : undefined));
    let entry = '';
    await meanwhile([twin, brief], async () => {
      entry = await add('--certificate', digest);
      // The connection was made with it.
      expect(await open.status('/')).toBe(403);
    });
    // Others are made with the next one.
    await waitFor('a TCP connection', async () => ((await overTcp(web)) ? true : undefined));
    await remove(entry);
    await comesBack(web);
  });

  it('by time of issue: what was issued before, of one ID; renewed ones are accepted', async () => {
    let entry = '';
    await meanwhile([web, twin], async () => {
      entry = await add('--issued-before', 'now', '--id', mesh.id(brief));
      await comesBack(brief);
    });
    const [{ subject } = { subject: '' }] = await entries();
    expect(subject).toMatch(/^issued before .* for spiffe:/u);
    await remove(entry);
  });

  it('by time of issue: of everybody', async () => {
    await comesBack(web);
    const again = new Http2Connection(mesh.wayOut(web));
    expect(await again.status('/')).toBe(200);
    const entry = await add('--issued-before', 'now');
    expect(await again.status('/')).toBe(403);
    await comesBack(brief);
    again.close();
    await remove(entry);
    await comesBack(web);
  });

  it('and a TCP connection that was open before goes on: it was judged when it began', async () => {
    const { host, port } = mesh.wayOut(web, 1);
    const socket = connect(port, host);
    let back = '';
    socket.setEncoding('utf8').on('data', (text: string) => (back += text));
    socket.write('one');
    await waitFor('an echo', () => (back === 'one' ? true : undefined));
    const entry = await add('--pod', web);
    expect(await overTcp(web)).toBe(false);
    socket.write('two');
    await waitFor('another', () => (back === 'onetwo' ? true : undefined));
    socket.destroy();
    await remove(entry);
    await comesBack(web);
  });
});

describe('an entry', { timeout: 60_000 }, () => {
  it('ends by itself', async () => {
    await add('--pod', web, '--for', '3s');
    expect((await mesh.call(web)).status).toBe(403);
    await comesBack(web);
    expect(await entries()).toEqual([]);
    expect(mesh.controlPlane.audit().findLast(({ event }) => event === 'quarantine.changed')).toMatchObject({
      actor: 'expiry',
      change: 'expired',
      reason: 'stolen',
    });
  });

  it('is there after a kill, and a damaged file is no empty one', async () => {
    const { controlPlane } = mesh;
    const entry = await add('--pod', web, '--forever');
    expect(await controlPlane.metrics()).toMatch(/^countersign_quarantine_entries 1$/mu);
    await controlPlane.killHard();
    expect((await mesh.call(web)).status).toBe(403);
    await controlPlane.restart();
    expect(await entries()).toMatchObject([{ name: entry, expires: '', pod: web }]);
    await waitFor('cart to be back', async () =>
      (await mesh.connected()).some(({ pod }) => pod === cart) ? true : undefined,
    );
    expect((await mesh.call(web)).status).toBe(403);
    await comesBack(twin);

    await controlPlane.stop();
    const file = join(controlPlane.dataDir, 'quarantine.json');
    writeFileSync(file, '{"version": 1, "entries": [');
    const flags = ['--directory', mesh.manifests, '--data-dir', controlPlane.dataDir];
    const ports = ['--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0', '--trust-domain', 'mesh.example'];
    const { code, stderr } = await run(countersign, ['control-plane', ...flags, ...ports]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/quarantine\.json: the quarantine cannot be read: it is no JSON/u);
    writeFileSync(file, '{"version": 1, "entries": [], "removals": []}');
    await controlPlane.restart();
    await comesBack(web);
  });

  it.each([
    [['--pod', 'shop/nobody'], /there is no pod shop\/nobody/u],
    [['--id', 'spiffe://mesh.example/ns/shop/sa/nobody'], /belongs to no service account .*--force/u],
    [['--id', 'spiffe://mesh.example'], /is a trust domain/u],
    [['--node', 'node-9'], /no pod runs on a node node-9; pods run on: node-1, node-2, node-3/u],
    [['--certificate', 'ab:cd'], /is no SHA-256 digest/u],
    [['--issued-before', 'tomorrow'], /is no time/u],
    [['--issued-before', '2999-01-01T00:00:00Z'], /is still to come/u],
    [[], /say who is meant by one of/u],
    [['--pod', web, '--node', 'node-2'], /say who is meant by one of/u],
    [['--pod', web, '--for', '1h', '--forever'], /exclude each other/u],
  ])('is not made of %j', async (args, message) => {
    const { code, stderr } = await mesh.controlPlane.tryToAsk('quarantine add', ...args, ...why);
    expect(code).toBe(2);
    expect(stderr).toMatch(message);
  });

  it('may be about who is gone', async () => {
    for (const args of [
      ['--pod', 'shop/gone', '--uid', '2f1c5d0e-0000-4000-8000-000000000000'],
      ['--id', 'spiffe://mesh.example/ns/shop/sa/gone', '--force'],
      ['--id', 'spiffe://elsewhere.example/app'],
      ['--node', 'node-9', '--force'],
    ]) {
      const entry = await add(...args);
      await remove(entry);
    }
    expect(await reaches(twin)).toEqual([200, true]);
  });

  it('is removed by its name', async () => {
    const { code, stderr } = await mesh.controlPlane.tryToAsk('quarantine remove', 'q-0000000000');
    expect(code).toBe(2);
    expect(stderr).toContain('there is no entry "q-0000000000" in the quarantine; there are: none');
  });
});
