import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { at, type KubeObject } from '../cluster/api-client.ts';
import { TestControlPlane } from '../harness/control-plane.ts';
import { waitFor } from '../harness/wait.ts';
import { KubernetesWorld } from './world.ts';

const home = 'countersign-system';
const bundleName = 'countersign-trust-bundle';
const secretPath = at('secrets', home, 'countersign-root');
const clusterTrustBundle = at(
  'certificates.k8s.io/v1beta1/clustertrustbundles',
  undefined,
  'countersign-cluster.local',
);

let world: KubernetesWorld;
let replicas: TestControlPlane[];

beforeAll(async () => {
  world = await KubernetesWorld.start();
  await world.cluster.make.namespace('shop');
  replicas = await Promise.all(['a', 'b', 'c'].map((name) => startReplica(name)));
});
afterAll(async () => {
  await Promise.all(replicas.map((replica) => replica.stop()));
  await world.dispose();
});

async function startReplica(name: string): Promise<TestControlPlane> {
  const { kubeconfig, cluster } = world;
  return await TestControlPlane.start({ kubeconfig, dataDir: join(cluster.folder, `data-${name}`) });
}

async function bundleIn(namespace: string): Promise<KubeObject | undefined> {
  const all = await world.cluster.operator.list(at('configmaps', namespace));
  return all.find(({ metadata }) => metadata.name === bundleName);
}

async function isLeader(replica: TestControlPlane): Promise<boolean> {
  return (await replica.metrics()).includes('countersign_leader 1');
}

async function leaderOf(them: readonly TestControlPlane[]): Promise<TestControlPlane> {
  return await waitFor(
    'a leader',
    async () => {
      for (const replica of them) if (await isLeader(replica)) return replica;
      return undefined;
    },
    { timeoutMs: 60_000, everyMs: 100 },
  );
}

function readBundle(replica: TestControlPlane): string {
  return readFileSync(replica.bundle, 'utf8');
}

describe('replicas that start at once', () => {
  it('make one root, and one of them leads', async () => {
    const [bundle, ...others] = replicas.map(readBundle);
    for (const other of others) expect(other).toBe(bundle);
    expect(new X509Certificate(bundle!).ca).toBe(true);
    const secret = await world.cluster.operator.get(secretPath);
    expect(secret['type']).toBe('countersign.dev/root');
    await leaderOf(replicas);
    expect((await Promise.all(replicas.map(isLeader))).filter(Boolean)).toHaveLength(1);
  });

  it('give every namespace the bundle, and keep it right', async () => {
    for (const namespace of [home, 'shop', 'default']) {
      const found = await waitFor(`the bundle in ${namespace}`, () => bundleIn(namespace));
      expect(found['data']).toMatchObject({ 'bundle.pem': readBundle(replicas[0]!) });
      expect(found.metadata.labels).toMatchObject({ 'app.kubernetes.io/managed-by': 'countersign' });
    }
    const found = await world.cluster.operator.get(clusterTrustBundle);
    expect(found['spec']).toEqual({ trustBundle: readBundle(replicas[0]!) });
  });
});
