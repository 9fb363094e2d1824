import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { QuarantineState } from '../../src/operator/index.ts';
import { at } from '../cluster/api-client.ts';
import { useConnectionsOnce } from '../envoy/bootstrap-edits.ts';
import { httpApp, type App } from '../harness/app.ts';
import { TestControlPlane } from '../harness/control-plane.ts';
import { TestEnvoy } from '../harness/envoy.ts';
import { call } from '../harness/http.ts';
import { countersign, root } from '../harness/paths.ts';
import { loopbackSubnet } from '../harness/ports.ts';
import { run } from '../harness/process.ts';
import { waitFor } from '../harness/wait.ts';
import { audience, KubernetesWorld, policy } from './world.ts';

const objectPath = at('configmaps', 'countersign-system', 'countersign-quarantine');
const subnet = loopbackSubnet();
const ips = { cart: `${subnet}.11`, web: `${subnet}.12` } as const;
const inbound = 8_080;
const outbound = 10_001;
const why = ['--reason', 'stolen'];

let world: KubernetesWorld;
/** Of the second replica: by how much it is ahead. */
let clockFile: string;
/** Cart's Envoy is connected to the first, web's to the second. */
let a: TestControlPlane;
let b: TestControlPlane;
let app: App;
const envoys: TestEnvoy[] = [];

async function startReplica(name: string, env: NodeJS.ProcessEnv = {}): Promise<TestControlPlane> {
  const { kubeconfig, cluster } = world;
  return await TestControlPlane.start({ kubeconfig, dataDir: join(cluster.folder, `data-${name}`), env });
}

async function sidecar(
  name: keyof typeof ips,
  replica: TestControlPlane,
  ...flags: readonly string[]
): Promise<void> {
  const { cluster } = world;
  await cluster.make.serviceAccount('shop', name);
  const pod = { namespace: 'shop', name, serviceAccount: name };
  await cluster.make.pod({ ...pod, node: 'node-1', ips: [ips[name]], labels: { app: name } });
  const envoy = await TestEnvoy.start({
    pod: `shop/${name}`,
    folder: cluster.folder,
    controlPlane: replica.address,
    bundle: replica.bundle,
    token: await cluster.token({ ...pod, pod: name, audiences: [audience] }),
    flags: ['--source-address', ips[name], ...flags],
    edit: useConnectionsOnce,
  });
  envoys.push(envoy);
}

beforeAll(async () => {
  world = await KubernetesWorld.start();
  await world.cluster.make.namespace('shop');
  await world.cluster.make.node('node-1');
  clockFile = join(world.cluster.folder, 'clock');
  writeFileSync(clockFile, '0');
  const shifted = {
    NODE_OPTIONS: `--import=${root}test/kubernetes/shifted-clock.ts`,
    COUNTERSIGN_TEST_CLOCK: clockFile,
  };
  [a, b] = await Promise.all([startReplica('a'), startReplica('b', shifted)]);
  app = await httpApp('cart');
  await sidecar('cart', a, '--inbound', `http:${ips.cart}:${inbound}=127.0.0.1:${app.port}`);
  const cart = 'spiffe://cluster.local/ns/shop/sa/cart';
  await sidecar('web', b, '--outbound', `http:${ips.web}:${outbound}=${ips.cart}:${inbound}=${cart}`);
  await Promise.all(envoys.map((envoy) => envoy.ready()));
  await world.apply(policy('everybody', { rules: [{}] }));
  await answered(200);
  for (const replica of [a, b]) {
    await waitFor('it to have heard of the other', async () => {
      const { replicas, proxies } = await state(replica);
      return replicas === 2 && proxies === 1 ? true : undefined;
    });
  }
});
afterAll(async () => {
  await Promise.all(envoys.map((envoy) => envoy.stop()));
  app?.close();
  await Promise.all([a, b].map((replica) => replica?.stop()));
  await world.dispose();
});

async function status(): Promise<number> {
  return (await call({ host: ips.web, port: outbound })).status;
}

async function answered(wanted: number): Promise<void> {
  await waitFor(`a ${wanted}`, async () => ((await status()) === wanted ? true : undefined), {
    timeoutMs: 60_000,
  });
}

async function state(replica: TestControlPlane): Promise<QuarantineState> {
  return JSON.parse(await replica.ask('quarantine list', '-o', 'json')) as QuarantineState;
}

async function names(replica: TestControlPlane): Promise<readonly string[]> {
  return (await state(replica)).entries.map(({ name }) => name);
}

async function bothHave(...wanted: readonly string[]): Promise<void> {
  for (const replica of [a, b]) {
    await waitFor(`the entries ${wanted.join()}`, async () =>
      JSON.stringify(await names(replica)) === JSON.stringify(wanted.toSorted()) ? true : undefined,
    );
  }
}

async function add(replica: TestControlPlane, ...args: readonly string[]): Promise<string> {
  const said = JSON.parse(await replica.ask('quarantine add', ...args, ...why, '-o', 'json')) as {
    added: string;
  };
  return said.added;
}

async function readyz(replica: TestControlPlane): Promise<string> {
  return await (await fetch(`http://${replica.admin}/readyz`)).text();
}

describe('the quarantine of two replicas', { timeout: 180_000 }, () => {
  it('is decided on one, and enforced by the Envoys of both', async () => {
    const { stdout } = await b.tryToAsk('quarantine add', '--pod', 'shop/web', ...why);
    expect(stdout).toMatch(/^q-\w+ is in force\nenforced by 1\/1 proxies of 2 replicas\n$/u);
    expect(await status()).toBe(403);
    const [entry = ''] = await names(a);
    expect(a.audit().find(({ event }) => event === 'quarantine.changed')).toMatchObject({
      actor: 'ConfigMap countersign-system/countersign-quarantine',
      change: 'added',
      entry,
    });
    await a.ask('quarantine remove', entry);
    await bothHave();
    await answered(200);
  });

  it('loses nothing where both decide at once', async () => {
    const id = (name: string): string[] => ['--id', `spiffe://cluster.local/ns/shop/sa/${name}`, '--force'];
    const added = await Promise.all([
      add(a, ...id('one')),
      add(b, ...id('two')),
      add(a, ...id('three')),
      add(b, ...id('four')),
    ]);
    await bothHave(...added);
    await Promise.all(
      added.map(async (name, turn) => await [a, b][turn % 2]!.ask('quarantine remove', name)),
    );
    await bothHave();
  });

  it('spares those who are connected to a replica whose clock is behind, once it gets there', async () => {
    const behindMs = 8_000;
    writeFileSync(clockFile, String(-behindMs));
    await waitFor('the clock to be behind', async () =>
      (await b.metric('countersign_clock_skew_seconds')) < -5 ? true : undefined,
    );
    const before = Date.now();
    const { code, stdout } = await a.tryToAsk('quarantine add', '--issued-before', 'now', ...why);
    // The command has waited for the renewal.
    expect(Date.now() - before).toBeGreaterThan(behindMs / 2);
    expect(stdout).toMatch(/^q-\w+ is in force\nenforced by 1\/1 proxies of 2 replicas\n$/u);
    expect(code).toBe(0);
    await answered(200);
    expect((await b.tryToAsk('quarantine list')).stdout).toContain('enforced by 1/1 proxies of 2 replicas');
    writeFileSync(clockFile, '0');
    await a.ask('quarantine remove', ...(await names(a)));
    await bothHave();
  });

  it('does not end, and none is dated, by a clock that is wrong', async () => {
    const entry = await add(a, '--id', 'spiffe://cluster.local/ns/shop/sa/one', '--force', '--for', '1h');
    await bothHave(entry);
    writeFileSync(clockFile, String(2 * 3_600_000));
    await waitFor('it to be said', async () => (/^clock: /mu.test(await readyz(b)) ? true : undefined));
    const { code, stderr } = await b.tryToAsk('quarantine add', '--pod', 'shop/web', ...why);
    expect(stderr).toMatch(/neither an expiry nor --issued-before can be told here: the clock is/u);
    expect(code).toBe(2);
    // Dropped, had it ended: what is decided here takes over what all know, and leaves out what has.
    const other = await add(b, '--id', 'spiffe://cluster.local/ns/shop/sa/two', '--force', '--forever');
    await bothHave(entry, other);
    writeFileSync(clockFile, '0');
    await waitFor('it to be right', async () => ((await readyz(b)) === 'ok\n' ? true : undefined));
    for (const name of [entry, other]) await b.ask('quarantine remove', name);
    await bothHave();
  });

  it('is decided on one with the API server away, and carried to the other on return', async () => {
    world.wire.cut();
    const { code, stdout } = await a.tryToAsk('quarantine add', '--pod', 'shop/web', ...why);
    expect(stdout).toMatch(/is in force\nenforced by 1\/1 proxies.*\nIN FORCE ON THIS REPLICA ALONE/su);
    expect(code).toBe(1);
    expect(await status()).toBe(403);
    expect(await names(b)).toEqual([]);
    expect(await readyz(a)).toMatch(/^quarantine-sharing: /mu);
    // It is there after a restart that finds no API server.
    await a.killHard();
    await a.restart();
    const [entry = ''] = await names(a);
    expect(entry).not.toBe('');
    world.wire.mend();
    await bothHave(entry);
    await waitFor('the remark to go', async () => ((await readyz(a)) === 'ok\n' ? true : undefined));
    expect(await status()).toBe(403);
  });

  it('is known to a replica that starts with nothing, before it serves', async () => {
    const c = await startReplica('c');
    try {
      expect(await names(c)).toEqual(await names(a));
      expect(await names(c)).toHaveLength(1);
    } finally {
      await c.stop();
    }
  });

  it('stays in force where its object is deleted or damaged', async () => {
    const { operator } = world.cluster;
    const before = await names(a);
    await operator.delete(objectPath);
    await waitFor('it to be written anew', async () => await operator.get(objectPath).catch(() => undefined));

    await operator.merge(objectPath, { data: { 'quarantine.json': '{}' } });
    for (const replica of [a, b]) {
      await waitFor('the remark', async () =>
        /quarantine-sharing: .* was edited and cannot be read/u.test(await readyz(replica))
          ? true
          : undefined,
      );
      expect(await names(replica)).toEqual(before);
    }
    expect(await status()).toBe(403);
    // Who knows of nothing else does not start on it.
    const source = ['--kubeconfig', world.kubeconfig, '--data-dir', join(world.cluster.folder, 'data-d')];
    const ports = ['--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0'];
    const { code, stderr } = await run(countersign, ['control-plane', ...source, ...ports]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/countersign-quarantine was edited and cannot be read/u);
    await operator.delete(objectPath);
    for (const replica of [a, b])
      await waitFor('the remark to go', async () => ((await readyz(replica)) === 'ok\n' ? true : undefined));
    expect(await names(a)).toEqual(before);
    await b.ask('quarantine remove', before[0]!);
    await bothHave();
    await answered(200);
  });
});
