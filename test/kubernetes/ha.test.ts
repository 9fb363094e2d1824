import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { at, type KubeObject } from '../cluster/api-client.ts';
import { Wire } from '../cluster/wire.ts';
import { httpApp, type App } from '../harness/app.ts';
import { TestControlPlane } from '../harness/control-plane.ts';
import { TestEnvoy } from '../harness/envoy.ts';
import { call } from '../harness/http.ts';
import { countersign } from '../harness/paths.ts';
import { loopbackSubnet } from '../harness/ports.ts';
import { run } from '../harness/process.ts';
import { waitFor } from '../harness/wait.ts';
import { audience, KubernetesWorld, policy } from './world.ts';

const home = 'countersign-system';
const bundleName = 'countersign-trust-bundle';
const secretPath = at('secrets', home, 'countersign-root');
const clusterTrustBundle = at(
  'certificates.k8s.io/v1beta1/clustertrustbundles',
  undefined,
  'countersign-cluster.local',
);
const subnet = loopbackSubnet();
const ips = { cart: `${subnet}.11`, web: `${subnet}.12` } as const;
const inbound = 8_080;
const outbound = 10_001;

let world: KubernetesWorld;
let replicas: TestControlPlane[];
let wire: Wire;
let app: App;
const envoys: TestEnvoy[] = [];

beforeAll(async () => {
  world = await KubernetesWorld.start();
  await world.cluster.make.namespace('shop');
  replicas = await Promise.all(['a', 'b', 'c'].map((name) => startReplica(name)));
});
afterAll(async () => {
  await Promise.all(envoys.map((envoy) => envoy.stop()));
  wire?.close();
  app?.close();
  await Promise.all(replicas.map((replica) => replica.stop()));
  await world.dispose();
});

async function startReplica(name: string): Promise<TestControlPlane> {
  const { kubeconfig, cluster } = world;
  return await TestControlPlane.start({ kubeconfig, dataDir: join(cluster.folder, `data-${name}`) });
}

async function bundleIn(namespace: string): Promise<KubeObject | undefined> {
  const found = await world.cluster.operator.list(at('configmaps', namespace));
  return found.find(({ metadata }) => metadata.name === bundleName);
}

/** With that bundle, and nothing else. */
async function rightBundleIn(namespace: string, pem: string): Promise<KubeObject> {
  return await waitFor(`the bundle in ${namespace}`, async () => {
    const found = await bundleIn(namespace);
    const data = found?.['data'] as Record<string, string> | undefined;
    return data?.['bundle.pem'] === pem && Object.keys(data).length === 2 ? found : undefined;
  });
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

async function all(
  what: string,
  holds: (replica: TestControlPlane) => Promise<boolean> | boolean,
): Promise<void> {
  for (const replica of replicas) {
    await waitFor(what, async () => ((await holds(replica)) ? true : undefined));
  }
}

function audited(replica: TestControlPlane, event: string): readonly Record<string, unknown>[] {
  return replica.audit().filter((found) => found['event'] === event);
}

async function sidecar(name: keyof typeof ips, address: string, ...flags: readonly string[]): Promise<void> {
  const { cluster } = world;
  await cluster.make.serviceAccount('shop', name);
  const pod = { namespace: 'shop', name, serviceAccount: name };
  await cluster.make.pod({ ...pod, node: 'node-1', ips: [ips[name]], labels: { app: name } });
  envoys.push(
    await TestEnvoy.start({
      pod: `shop/${name}`,
      folder: cluster.folder,
      controlPlane: address,
      bundle: replicas[0]!.bundle,
      token: await cluster.token({ ...pod, pod: name, audiences: [audience] }),
      flags: ['--source-address', ips[name], ...flags],
    }),
  );
}

async function answered(status: number): Promise<void> {
  await waitFor(`a ${status}`, async () =>
    (await call({ host: ips.web, port: outbound })).status === status ? true : undefined,
  );
}

async function podsOf(replica: TestControlPlane): Promise<readonly string[]> {
  const said = JSON.parse(await replica.ask('proxies', '-o', 'json')) as { proxies: { pod: string }[] };
  return [...new Set(said.proxies.map(({ pod }) => pod))];
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
});

describe('the trust bundle', () => {
  it('is in every namespace, new ones too, and a ClusterTrustBundle', async () => {
    const pem = readBundle(replicas[0]!);
    for (const namespace of [home, 'shop', 'default']) {
      const { metadata } = await rightBundleIn(namespace, pem);
      expect(metadata.labels).toMatchObject({ 'app.kubernetes.io/managed-by': 'countersign' });
    }
    await world.cluster.make.namespace('later');
    await rightBundleIn('later', pem);
    const found = await world.cluster.operator.get(clusterTrustBundle);
    expect(found['spec']).toEqual({ trustBundle: pem });
  });

  it('comes back when somebody edits or deletes it, and another mesh keeps its own', async () => {
    const { operator } = world.cluster;
    const pem = readBundle(replicas[0]!);
    const path = at('configmaps', 'shop', bundleName);
    await operator.merge(path, { data: { 'bundle.pem': 'nonsense', more: 'x' } });
    await rightBundleIn('shop', pem);
    await operator.delete(path);
    const { metadata } = await rightBundleIn('shop', pem);
    await operator.merge(clusterTrustBundle, { metadata: { annotations: null } });
    await waitFor('its mark', async () => (await operator.get(clusterTrustBundle)).metadata.annotations);

    const annotations = { 'countersign.dev/trust-domain': 'other.example' };
    await operator.merge(path, { metadata: { annotations }, data: { 'bundle.pem': 'theirs' } });
    const leader = await leaderOf(replicas);
    await waitFor('the report', async () =>
      (await leader.metrics()).includes('countersign_bundle_conflicts_total 1') ? true : undefined,
    );
    expect((await bundleIn('shop'))?.['data']).toMatchObject({ 'bundle.pem': 'theirs' });
    expect(leader.log).toContain('other.example');
    await operator.delete(path);
    const { metadata: again } = await rightBundleIn('shop', pem);
    expect(again.uid).not.toBe(metadata.uid);
  });

  it('is not made in a namespace that is being deleted', async () => {
    const { operator, make } = world.cluster;
    const path = at('configmaps', 'later', bundleName);
    // Nothing here takes it away: it stays, terminating.
    await operator.delete(at('namespaces', undefined, 'later'));
    await operator.delete(path);
    await make.namespace('after');
    await rightBundleIn('after', readBundle(replicas[0]!));
    expect(await bundleIn('later')).toBeUndefined();
    expect((await leaderOf(replicas)).log).not.toContain('could not be written');
  });

  it('is not written where nothing changed', async () => {
    const path = at('configmaps', 'shop', bundleName);
    const labelled = { metadata: { labels: { theirs: 'kept' } } };
    const { metadata } = await world.cluster.operator.merge(path, labelled);
    // What came later is done when this is there.
    await world.cluster.make.namespace('latest');
    await rightBundleIn('latest', readBundle(replicas[0]!));
    expect((await bundleIn('shop'))?.metadata).toMatchObject({
      resourceVersion: metadata.resourceVersion,
      labels: labelled.metadata.labels,
    });
  });
});

describe('sidecars of two replicas', () => {
  it('trust each other: each replica signs by its own intermediate, below one root', async () => {
    const [a, b] = replicas as [TestControlPlane, TestControlPlane, TestControlPlane];
    await world.cluster.make.node('node-1');
    wire = await Wire.to(`https://${a.address}`, `https://${b.address}`);
    app = await httpApp('cart');
    await sidecar('cart', wire.address, '--inbound', `http:${ips.cart}:${inbound}=127.0.0.1:${app.port}`);
    const cart = 'spiffe://cluster.local/ns/shop/sa/cart';
    await sidecar(
      'web',
      b.address,
      '--outbound',
      `http:${ips.web}:${outbound}=${ips.cart}:${inbound}=${cart}`,
    );
    await Promise.all(envoys.map((envoy) => envoy.ready()));
    await world.apply(policy('everybody', { rules: [{}] }));
    await answered(200);
    expect([await podsOf(a), await podsOf(b)]).toEqual([['shop/cart'], ['shop/web']]);
  });

  it('go through a rotation of which one replica takes the steps', async () => {
    const [a] = replicas as [TestControlPlane];
    await a.ask('rotate prepare');
    const two = await waitFor('a bundle of two', () => {
      const bundle = readBundle(a);
      return bundle.match(/BEGIN/gu)?.length === 2 ? bundle : undefined;
    });
    await all('the new bundle', (replica) => readBundle(replica) === two);
    await rightBundleIn('shop', two);
    await waitFor('every Envoy to trust it', () => a.ask('rotate activate').then(() => true));
    const signing = audited(a, 'root.rotated').at(-1)?.['signing'];
    for (const replica of replicas.slice(1)) {
      await waitFor('it to follow', () =>
        audited(replica, 'root.followed').find(
          (event) => event['step'] === 'activated' && event['signing'] === signing,
        ),
      );
    }
    await answered(200);
  });
});

describe('the Secret with the root', () => {
  it('that is deleted or damaged stops all signing, until it is restored', async () => {
    const { operator } = world.cluster;
    const { data } = await operator.get(secretPath);
    // As the page on operations says it.
    const backUp = ['get', 'secret', '-n', home, 'countersign-root', '-o'];
    const file = join(replicas[0]!.dataDir, 'authority', 'authority.json');
    const template = 'go-template={{index .data "authority.json"|base64decode}}';
    expect((await world.kubectl([...backUp, template])) === readFileSync(file, 'utf8')).toBe(true);
    const restore = ['create', 'secret', 'generic', '-n', home, 'countersign-root'];
    const suspended = async (): Promise<void> => {
      await all('it to say so', async (replica) =>
        (await replica.readyz()).startsWith('ok\nsigning: suspended'),
      );
      await all('the metric', async (replica) =>
        (await replica.metrics()).includes('countersign_signing_suspended 1'),
      );
      await expect(replicas[1]!.ask('renew', '--pod', 'shop/web')).rejects.toThrow(/Nothing is signed/u);
      await expect(replicas[0]!.ask('rotate retire', '--force')).rejects.toThrow(/Nothing is signed/u);
      await answered(200);
    };
    const resumed = async (): Promise<void> => {
      await all('it to go on', async (replica) => (await replica.readyz()) === 'ok\n');
      expect(await replicas[1]!.ask('renew', '--pod', 'shop/web')).toMatch(/->/u);
    };
    await operator.delete(secretPath);
    await suspended();
    // A bundle is there: who starts now makes no other root.
    const source = ['--kubeconfig', world.kubeconfig, '--data-dir', join(world.cluster.folder, 'data-d')];
    const ports = ['--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0'];
    const { code, stderr } = await run(countersign, ['control-plane', ...source, ...ports]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/There is no root in .*countersign-trust-bundle says/u);
    await world.kubectl([...restore, '--type=countersign.dev/root', `--from-file=${file}`]);
    await resumed();

    await operator.merge(secretPath, { data: { 'authority.json': Buffer.from('{}').toString('base64') } });
    await suspended();
    await operator.merge(secretPath, { data });
    await resumed();
    for (const replica of replicas) {
      expect(audited(replica, 'signing.suspended')).toHaveLength(2);
      expect(audited(replica, 'signing.resumed')).toHaveLength(2);
    }
  });

  it('is not needed at a start while the API server is away', async () => {
    const [, , c] = replicas as [TestControlPlane, TestControlPlane, TestControlPlane];
    const before = readBundle(c);
    world.wire.cut();
    await c.restart();
    world.wire.mend();
    expect(readBundle(c)).toBe(before);
    expect(c.log).toContain('the root is the one that an earlier run knew');
  });
});

describe('a replica that is killed', () => {
  it('is followed by another as leader, and its Envoys go on with another', async () => {
    const [a, b, c] = replicas as [TestControlPlane, TestControlPlane, TestControlPlane];
    // Whoever else leads hands over: a replica that stops gives the Lease back.
    while (!(await isLeader(a))) {
      const leader = await leaderOf(replicas);
      await leader.restart();
      await leaderOf(replicas);
    }
    const statuses = new Set<number | undefined>();
    const ended = new AbortController();
    const calls = (async (): Promise<void> => {
      for (; !ended.signal.aborted; await sleep(20))
        statuses.add((await call({ host: ips.web, port: outbound })).status);
    })();
    await a.killHard();
    replicas = [b, c];
    await waitFor('the Envoy on the other replica', async () =>
      (await podsOf(b)).includes('shop/cart') ? true : undefined,
    );
    await world.cluster.operator.delete(at('configmaps', 'shop', bundleName));
    await leaderOf(replicas);
    await rightBundleIn('shop', readBundle(b));
    ended.abort();
    await calls;
    expect([...statuses]).toEqual([200]);
  }, 180_000);
});
