import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fleetScript, type FleetProtocol } from '../bench/fleet.ts';
import { MeasuredProcess } from '../bench/measured-process.ts';
import { Wire } from '../cluster/wire.ts';
import { TestControlPlane } from '../harness/control-plane.ts';
import { waitFor } from '../harness/wait.ts';
import { fleetNamespace, fleetPods, fleetTarget } from './fleet-pods.ts';
import { Shop } from './shop.ts';
import { controlPlaneUser, KubernetesWorld } from './world.ts';

const sidecars = 500;
/** Each Envoy's token is one token, whatever the number of its streams. */
const envoys = 3;

let world: KubernetesWorld;
let a: TestControlPlane;
let b: TestControlPlane;
let wire: Wire;
let shop: Shop;
let fleet: MeasuredProcess<FleetProtocol>;

beforeAll(async () => {
  world = await KubernetesWorld.start();
  const { cluster, kubeconfig } = world;
  const replica = async (name: string): Promise<TestControlPlane> =>
    await TestControlPlane.start({
      kubeconfig,
      dataDir: join(cluster.folder, `data-${name}`),
    });
  a = await replica('a');
  b = await replica('b');
  wire = await Wire.to(`https://${a.address}`, `https://${b.address}`);
  shop = await Shop.open(world, { address: wire.address, bundle: a.bundle });
  fleet = new MeasuredProcess<FleetProtocol>({ name: 'fleet', folder: cluster.folder, script: fleetScript });
});
afterAll(async () => {
  await fleet?.stop();
  await shop?.stop();
  wire?.close();
  await Promise.all([a?.stop(), b?.stop()]);
  await world?.dispose();
});

function reviews(): number {
  return world.cluster.audit.requests(
    ({ resource, user }) => resource === 'tokenreviews' && user === controlPlaneUser,
  ).length;
}

/** Of the fleet, those whose token the API server confirmed: all, unless it is too busy to answer within 3 s. */
function reviewed(events: readonly Record<string, unknown>[]): number {
  return events.filter(
    ({ event, actor, factors }) =>
      event === 'workload.admitted' &&
      String(actor).startsWith(`${fleetNamespace}/`) &&
      JSON.stringify(factors).includes('{"factor":"token-review","outcome":"passed"}'),
  ).length;
}

/** How often each of the fleet is the actor of such an event. */
function tallyOfFleet(
  events: readonly Record<string, unknown>[],
  wanted: string,
): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { event, actor } of events) {
    const pod = String(actor);
    if (event === wanted && pod.startsWith(`${fleetNamespace}/`)) counts.set(pod, (counts.get(pod) ?? 0) + 1);
  }
  return counts;
}

/** Until it is aborted, its admin port answers. @returns the slowest answer, in milliseconds */
async function stayingHealthy(replica: TestControlPlane, signal: AbortSignal): Promise<number> {
  let slowestMs = 0;
  while (!signal.aborted) {
    const began = performance.now();
    expect(await replica.readyz()).toBe('ok\n');
    slowestMs = Math.max(slowestMs, performance.now() - began);
    await sleep(20);
  }
  return slowestMs;
}

describe('a replica with 500 sidecars is killed', () => {
  it('all are on the other one, each proven once, and no request fails', { timeout: 300_000 }, async () => {
    const target = fleetTarget(a, b);
    const identities = await fleetPods(world.cluster, sidecars);
    await waitFor('both replicas to know the pods', async () => {
      for (const replica of [a, b]) {
        if (!(await replica.metrics()).includes(`countersign_mesh_objects{kind="Pod"} ${sidecars + envoys}`))
          return undefined;
      }
      return true;
    });
    await fleet.ask('open', { ...target, sidecars: identities });
    await waitFor('their reviews', () => (reviews() >= reviewed(a.audit()) ? true : undefined));
    expect(b.audit().filter(({ event }) => event === 'workload.admitted')).toEqual([]);

    const loads = shop.loads();
    const held = await shop.serials();
    const reviewsBefore = reviews();
    const watching = new AbortController();
    const healthy = stayingHealthy(b, watching.signal);
    let tries = 0;
    try {
      await a.killHard();
      ({ tries } = await fleet.ask('returned', undefined));
      await shop.renewed(held, 60_000);
    } finally {
      watching.abort();
      await Promise.all(loads.map((load) => load.stop()));
    }
    const slowestMs = await healthy;
    expect(loads.map(({ statuses }) => [...statuses.keys()])).toEqual([[200], [200]]);

    // The herd keeps nobody waiting for long.
    expect(slowestMs).toBeLessThan(5_000);
    expect(tries).toBe(sidecars);
    const events = b.audit();
    const once = new Map(identities.map(({ name }) => [name, 1]));
    expect(tallyOfFleet(events, 'workload.admitted')).toEqual(once);
    expect(tallyOfFleet(events, 'svid.issued')).toEqual(once);
    expect(events.filter(({ event }) => event === 'workload.refused')).toEqual([]);
    const confirmed = reviewed(events);
    expect(confirmed).toBeGreaterThan(0);
    await waitFor('their reviews', () => (reviews() - reviewsBefore >= confirmed ? true : undefined));
    expect(reviews() - reviewsBefore).toBeLessThanOrEqual(sidecars + envoys);
  });
});
