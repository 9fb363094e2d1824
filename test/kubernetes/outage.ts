import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { at } from '../cluster/api-client.ts';
import type { AuditedRequest } from '../cluster/audit-log.ts';
import { admission, EnvoyClient } from '../control-plane/envoy-client.ts';
import { TestControlPlane } from '../harness/control-plane.ts';
import { waitFor } from '../harness/wait.ts';
import { Shop } from './shop.ts';
import { controlPlaneUser, KubernetesWorld } from './world.ts';

/** After the API server's return: what is asked then is counted. */
const settlingMs = 30_000;

/** How the API server goes away: it ends, or its connections stay open and nothing is ever answered. */
export type Outage = 'killed' | 'frozen';

/** A real API server, one control plane that follows it, and three real Envoys. */
export interface OutageWorld {
  readonly world: KubernetesWorld;
  readonly controlPlane: TestControlPlane;
  readonly shop: Shop;
  readonly stop: () => Promise<void>;
}

/** The kinds of our own group: what is not installed is looked for again and again. */
export async function installPolicyCrds(world: KubernetesWorld): Promise<void> {
  for (const kind of ['PeerAuthentication', 'RequestAuthentication'])
    await world.installCrd('security.countersign.dev', kind);
}

/** @param svidTtl of `--svid-ttl` */
export async function startOutageWorld(svidTtl: string): Promise<OutageWorld> {
  const world = await KubernetesWorld.start();
  await installPolicyCrds(world);
  const controlPlane = await TestControlPlane.start({
    kubeconfig: world.kubeconfig,
    dataDir: join(world.cluster.folder, 'data'),
    flags: ['--svid-ttl', svidTtl],
  });
  const shop = await Shop.open(world, controlPlane);
  const stop = async (): Promise<void> => {
    await shop.stop();
    await controlPlane.stop();
    await world.dispose();
  };
  return { world, controlPlane, shop, stop };
}

/**
 * The API server goes away for `awayMs` at least, long enough for each Envoy to renew; meanwhile the control plane is
 * killed once.
 * @param renewalMs within which each SVID is renewed
 * @returns what it asked of the API server in the first 30 s after its return
 */
export async function rideOut(
  outage: OutageWorld,
  how: Outage,
  { awayMs, renewalMs }: { readonly awayMs: number; readonly renewalMs: number },
): Promise<readonly AuditedRequest[]> {
  const { world, controlPlane, shop } = outage;
  const { audit, operator, apiServer } = world.cluster;
  const leaverToken = await knownPod(outage, `gone-${how}`);
  const loads = shop.loads();
  try {
    if (how === 'killed') await apiServer.kill();
    else apiServer.freeze();
    const beganMs = performance.now();
    let held = await shop.serials();
    held = await shop.renewed(held, renewalMs);
    await notFollowed(controlPlane);
    await controlPlane.crash();
    held = await shop.renewed(held, renewalMs);
    expect(await controlPlane.readyz()).toMatch(/^ok\napi-server: not followed since /u);
    // Nobody has asked about this token since the control plane began.
    const leaver = await EnvoyClient.connected(controlPlane, leaverToken);
    while (performance.now() < beganMs + awayMs) held = await shop.renewed(held, renewalMs);
    await shop.refused();

    const backMs = Date.now();
    if (how === 'killed') await apiServer.start();
    else apiServer.thaw();
    const untilMs = Date.now() + settlingMs;
    await operator.delete(at('pods', 'shop', `gone-${how}`));
    await shop.allow(`/after-${how}`);
    expect(await leaver.ended()).toMatch(/^PERMISSION_DENIED: not attested: the pod was refused/u);
    expect(await admission(controlPlane, leaverToken)).toMatch(/^PERMISSION_DENIED/u);
    await waitFor('all to be followed', async () =>
      (await controlPlane.readyz()) === 'ok\n' ? true : undefined,
    );
    expect(await controlPlane.metric('countersign_unfollowed_resources')).toBe(0);
    await sleep(Math.max(0, untilMs - Date.now()));
    return audit.requests(({ user, atMs }) => user === controlPlaneUser && atMs >= backMs && atMs < untilMs);
  } finally {
    await Promise.all(loads.map((load) => load.stop()));
    expect(loads.map(({ statuses }) => [...statuses.keys()])).toEqual([[200], [200]]);
  }
}

/** A pod without an Envoy, known to the control plane. @returns its token */
async function knownPod({ shop, controlPlane }: OutageWorld, name: string): Promise<string> {
  const token = await shop.pod(name, '127.0.0.1');
  return await waitFor('the pod to be known', async () =>
    (await admission(controlPlane, token)) === 'admitted' ? token : undefined,
  );
}

async function notFollowed(controlPlane: TestControlPlane): Promise<void> {
  // What is looked for again and again is missed before what is watched.
  await waitFor('it to say so', async () =>
    /^ok\napi-server: not followed since .*pods/u.test(await controlPlane.readyz()) ? true : undefined,
  );
  expect(await controlPlane.metric('countersign_unfollowed_resources')).toBeGreaterThan(0);
  expect(controlPlane.log).toMatch(/what is known stays in force/u);
}

/**
 * What one replica that leads follows: four kinds of Kubernetes' own, three of policies, the root's Secret, the reports
 * of the others; and as the leader namespaces, ConfigMaps and the ClusterTrustBundle for the bundle, and the policies'
 * statuses. Three kinds of Istio's that are not installed are looked for every 5 s.
 */
export const followed = 15;
const notServed = 3;

/** Each thing is listed and watched anew at most twice; the Lease, reports and statuses are as at any time. */
export function expectNoStorm(requests: readonly AuditedRequest[]): void {
  const count = (meant: (request: AuditedRequest) => boolean): number => requests.filter(meant).length;
  const byKind = new Map<string, number>();
  for (const { verb, resource, path } of requests) {
    const kind = `${verb} ${resource === '' ? path : resource}`;
    byKind.set(kind, (byKind.get(kind) ?? 0) + 1);
  }
  const bySecond = Map.groupBy(requests, ({ atMs }) => Math.floor(atMs / 1_000));
  const burst = Math.max(...[...bySecond.values()].map(({ length }) => length));
  const said = `${JSON.stringify(Object.fromEntries(byKind))}, at most ${burst} in a second`;
  const looks = settlingMs / 3_500;
  expect(
    count(({ verb }) => verb === 'watch'),
    said,
  ).toBeLessThanOrEqual(2 * followed);
  expect(
    count(({ verb }) => verb === 'list'),
    said,
  ).toBeLessThanOrEqual(2 * followed + notServed * looks);
  expect(
    count(({ resource }) => resource === 'leases'),
    said,
  ).toBeLessThanOrEqual(settlingMs / 850);
  expect(
    count(({ resource }) => resource === 'tokenreviews'),
    said,
  ).toBeLessThanOrEqual(5);
  expect(
    count(({ path }) => path.startsWith('/openid')),
    said,
  ).toBeLessThanOrEqual(6);
  expect(
    count(({ verb }) => ['create', 'update', 'patch', 'delete'].includes(verb)),
    said,
  ).toBeLessThanOrEqual(45);
  expect(burst, said).toBeLessThanOrEqual(3 * followed);
}
