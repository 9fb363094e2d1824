import { X509Certificate } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ALLOW, EnvoyClient, SECRET } from '../control-plane/envoy-client.ts';
import { TestControlPlane } from '../harness/control-plane.ts';
import { root } from '../harness/paths.ts';
import { waitFor } from '../harness/wait.ts';
import { audience, KubernetesWorld, policy } from './world.ts';

const HOUR = 3_600_000;

let world: KubernetesWorld;
/** The first leads, and its clock can be set. */
const replicas: TestControlPlane[] = [];
let clockFile: string;
let cart: EnvoyClient;

beforeAll(async () => {
  world = await KubernetesWorld.start();
  const { make, folder } = world.cluster;
  await make.node('node-1');
  await make.namespace('shop');
  await make.serviceAccount('shop', 'cart');
  await make.pod({ ...pod, node: 'node-1', ips: ['127.0.0.1'], labels: { app: 'cart' } });
  clockFile = join(folder, 'clock');
  set(0);
  await replica('a', {
    NODE_OPTIONS: `--import=${root}test/kubernetes/shifted-clock.ts`,
    COUNTERSIGN_TEST_CLOCK: clockFile,
  });
  await waitFor('the first to lead', async () => (await leaders())[0]);
  await replica('b');
  cart = await EnvoyClient.connected(replicas[0]!, await token());
}, 180_000);
afterAll(async () => {
  cart?.close();
  for (const each of replicas) await each.stop();
  await world?.dispose();
});

const pod = { namespace: 'shop', name: 'cart', serviceAccount: 'cart' };

async function replica(name: string, env: NodeJS.ProcessEnv = {}): Promise<void> {
  const { kubeconfig, cluster } = world;
  const dataDir = join(cluster.folder, `data-${name}`);
  const flags = ['--svid-ttl', '1m'];
  replicas.push(await TestControlPlane.start({ kubeconfig, dataDir, flags, env }));
}

function set(aheadMs: number): void {
  writeFileSync(clockFile, String(aheadMs));
}

async function token(): Promise<string> {
  return await world.cluster.token({ ...pod, pod: 'cart', audiences: [audience] });
}

async function leaders(): Promise<readonly boolean[]> {
  return await Promise.all(
    replicas.map(async (each) => /^countersign_leader 1$/mu.test(await each.metrics())),
  );
}

async function readyz(): Promise<string> {
  return await (await fetch(`http://${replicas[0]!.admin}/readyz`)).text();
}

/** Of the SVID that the Envoy runs. */
function notBeforeMs(): number {
  const [pem = ''] = /-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----/u.exec(text('default')) ?? [];
  return Date.parse(new X509Certificate(pem).validFrom);
}

/** Events of a kind from here on. */
function counting(event: string): () => number {
  const count = (): number => replicas[0]!.audit().filter((found) => found['event'] === event).length;
  const before = count();
  return () => count() - before;
}

describe.each([
  ['forward', 2 * HOUR, /^ok\nclock: the clock is 7[12]\d\d s ahead of the API server's/u],
  ['back', -2 * HOUR, /^ok\nclock: the clock is 7[12]\d\d s behind the API server's/u],
])('a clock that jumps %s by two hours', (way, aheadMs, said) => {
  it('signs nothing, says so, and loses nothing that is there', async () => {
    const [one] = replicas as [TestControlPlane];
    const issued = counting('svid.issued');
    set(aheadMs);
    await waitFor('it to be said', async () => (said.test(await readyz()) ? true : undefined));
    expect((await one.tryToAsk('renew', '--pod', 'shop/cart')).stderr).toMatch(
      /Nothing is signed: the clock is \d+ s (ahead of|behind) the API server's/u,
    );
    expect((await one.tryToAsk('rotate prepare')).stderr).toMatch(/Nothing is signed: the clock is/u);
    // Policies go on, on the open stream.
    await world.apply(policy(`while-${way}`, { rules: [{}] }));
    await cart.until(() => text(ALLOW).includes(`policy[while-${way}]`));
    // Longer than the renewal of an SVID of a minute waits.
    await sleep(40_000);
    expect(issued()).toBe(0);
    // Tried again every ten seconds, and no more.
    const failed = one.log.split('\n').filter((line) => line.includes('Nothing is signed: the clock')).length;
    expect(failed).toBeLessThan(20);
    expect(Math.abs(notBeforeMs() - Date.now())).toBeLessThan(2 * 60_000);
    expect(await leaders()).toEqual([true, false]);
    expect(await one.metrics()).toMatch(/^countersign_clock_skew_seconds -?7[12]\d\d/mu);
  }, 120_000);

  it('judges tokens by the later of the two clocks', async () => {
    const other = new EnvoyClient(replicas[0]!, await token());
    other.subscribe(SECRET, 'default');
    try {
      if (way === 'forward') await expect(other.until(() => false)).rejects.toThrow(/UNAUTHENTICATED/u);
      else {
        // Genuine; and what there is is served.
        await other.until(() => other.resources.size === 1);
        expect(other.version('default')).toBe(cart.version('default'));
      }
    } finally {
      other.close();
    }
  }, 30_000);

  it('goes on when it is right again, at once and with what was due', async () => {
    const before = cart.version('default');
    set(0);
    await waitFor('it to be right', async () => ((await readyz()) === 'ok\n' ? true : undefined));
    await cart.until(() => cart.version('default') !== before);
    expect(Date.now() - notBeforeMs()).toBeGreaterThan(0);
    expect(Date.now() - notBeforeMs()).toBeLessThan(2 * 60_000);
    const again = await EnvoyClient.connected(replicas[0]!, await token());
    again.close();
    expect(await leaders()).toEqual([true, false]);
    expect(replicas[0]!.audit().findLast(({ event }) => event === 'signing.resumed')).toMatchObject({
      actor: 'clock',
    });
  }, 60_000);
});

function text(name: string): string {
  return Buffer.from(cart.resources.get(name)?.body ?? []).toString('latin1');
}
