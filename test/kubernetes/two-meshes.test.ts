import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { at } from '../cluster/api-client.ts';
import { crdFiles } from '../deploy/chart.ts';
import { TestControlPlane } from '../harness/control-plane.ts';
import { waitFor } from '../harness/wait.ts';
import { KubernetesWorld, policy } from './world.ts';

const homes = ['countersign-system', 'other-system', 'third-system'] as const;

let world: KubernetesWorld;
/** The second is of another trust domain; the third of the first's, by mistake. */
const meshes: TestControlPlane[] = [];

beforeAll(async () => {
  world = await KubernetesWorld.start();
  for (const file of crdFiles()) await world.kubectl(['apply', '-f', file]);
  for (const [index, namespace] of homes.entries()) {
    if (index > 0) await world.secondHome(namespace);
    const kubeconfig = index === 0 ? world.kubeconfig : await world.kubeconfigOf(namespace);
    const flags = index === 1 ? ['--trust-domain', 'other.example'] : [];
    const dataDir = join(world.cluster.folder, `data-${index}`);
    meshes.push(
      await TestControlPlane.start({ kubeconfig, dataDir, flags: [...flags, '--namespace', namespace] }),
    );
    if (index > 0) continue;
    await world.cluster.make.namespace('shop');
    await waitFor('its bundle in the namespace', async () =>
      (await bundleOf('shop')) === pem(0) ? true : undefined,
    );
  }
}, 240_000);
afterAll(async () => {
  for (const each of meshes) await each.stop();
  await world?.dispose();
});

function pem(index: number): string {
  return readFileSync(meshes[index]!.bundle, 'utf8');
}

async function bundleOf(namespace: string): Promise<string | undefined> {
  const found = await world.cluster.operator.list(at('configmaps', namespace));
  const bundle = found.find(({ metadata }) => metadata.name === 'countersign-trust-bundle');
  return (bundle?.['data'] as Record<string, string> | undefined)?.['bundle.pem'];
}

async function metric(index: number, line: RegExp): Promise<boolean> {
  return line.test(await meshes[index]!.metrics());
}

/** Of the statuses of policies, by whom. */
function writers(): readonly string[] {
  const { audit } = world.cluster;
  return audit
    .requests(({ resource, verb }) => resource === 'authorizationpolicies/status' && verb === 'patch')
    .map(({ user }) => user.split(':')[2] ?? '');
}

describe('three meshes in one cluster', () => {
  it('each lead, by a Lease of their own, and have a root of their own', async () => {
    for (const index of homes.keys())
      await waitFor('it to lead', async () =>
        (await metric(index, /^countersign_leader 1$/mu)) ? true : undefined,
      );
    expect(new Set(homes.map((_, index) => pem(index))).size).toBe(3);
  });

  it('leave the objects that another one made alone, and say so', async () => {
    for (const index of [1, 2]) {
      await waitFor('the conflict', async () =>
        (await metric(index, /^countersign_bundle_conflicts_total [1-9]/mu)) ? true : undefined,
      );
      expect(meshes[index]!.log).toMatch(/cluster\.local, control plane in countersign-system/u);
    }
    expect(await bundleOf('shop')).toBe(pem(0));
    const path = (name: string): string =>
      at('certificates.k8s.io/v1beta1/clustertrustbundles', undefined, name);
    const bundle = async (name: string): Promise<unknown> =>
      ((await world.cluster.operator.get(path(name)))['spec'] as { trustBundle: string }).trustBundle;
    await waitFor('the one of the other trust domain', async () =>
      (await bundle('countersign-other.example')) === pem(1) ? true : undefined,
    );
    expect(await bundle('countersign-cluster.local')).toBe(pem(0));
  });

  it('have one writer of the status of a policy: the mesh whose bundle is in its namespace', async () => {
    await world.apply(policy('one', { rules: [{}] }));
    const wait = ['wait', '--for', 'condition=Accepted', '--timeout', '30s', '-n', 'shop', 'ap/one'];
    await world.kubectl(wait);
    // Long enough for others to undo it.
    await sleep(6_000);
    expect(new Set(writers())).toEqual(new Set(['countersign-system']));
    const count = writers().length;
    await sleep(4_000);
    expect(writers().length).toBe(count);
  }, 60_000);

  it('hand a namespace over where the first one is gone and its bundle is deleted', async () => {
    await meshes[0]!.stop();
    const before = writers().length;
    await world.cluster.operator.delete(at('configmaps', 'shop', 'countersign-trust-bundle'));
    const taken = await waitFor('the bundle of another', async () => {
      const found = await bundleOf('shop');
      return [1, 2].find((index) => found === pem(index));
    });
    await world.apply(policy('two', { rules: [{}] }));
    await world.kubectl(['wait', '--for', 'condition=Accepted', '--timeout', '30s', '-n', 'shop', 'ap/two']);
    await sleep(4_000);
    expect(new Set(writers().slice(before))).toEqual(new Set([homes[taken]]));
    const count = writers().length;
    await sleep(4_000);
    expect(writers().length).toBe(count);
  }, 60_000);
});
