import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { at } from '../cluster/api-client.ts';
import { crdFiles } from '../deploy/chart.ts';
import { TestControlPlane } from '../harness/control-plane.ts';
import { TestEnvoy } from '../harness/envoy.ts';
import { loopbackSubnet } from '../harness/ports.ts';
import { waitFor } from '../harness/wait.ts';
import { audience, home, KubernetesWorld, policy } from './world.ts';

const subnet = loopbackSubnet();
const pods = ['cart', 'web'] as const;
type PodName = (typeof pods)[number];
const replicaPods = ['countersign-a', 'countersign-b'] as const;

let world: KubernetesWorld;
const replicas: TestControlPlane[] = [];
const envoys = new Map<PodName, TestEnvoy>();

/** Two replicas, each in a pod, with one Envoy each. */
beforeAll(async () => {
  world = await KubernetesWorld.start();
  for (const file of crdFiles()) await world.kubectl(['apply', '-f', file]);
  const { make } = world.cluster;
  await make.namespace('shop');
  await make.node('node-1');
  for (const [index, name] of replicaPods.entries()) {
    await replicaPod(name, `${subnet}.${21 + index}`);
    const kubeconfig = await world.kubeconfigIn(name);
    const dataDir = join(world.cluster.folder, `data-${name}`);
    replicas.push(await TestControlPlane.start({ kubeconfig, dataDir }));
  }
  for (const [index, name] of pods.entries()) await sidecar(name, replicas[index]!);
  await world.apply(policy('cart', { rules: [{}] }));
}, 180_000);
afterAll(async () => {
  for (const envoy of envoys.values()) {
    envoy.thaw();
    await envoy.stop();
  }
  for (const each of replicas) await each.stop();
  await world?.dispose();
});

async function replicaPod(name: string, ip: string): Promise<void> {
  const serviceAccount = 'control-plane';
  await world.cluster.make.pod({ namespace: home, name, serviceAccount, node: 'node-1', ips: [ip] });
}

async function sidecar(name: PodName, { address, bundle }: TestControlPlane): Promise<void> {
  const { make, folder } = world.cluster;
  const ip = `${subnet}.${11 + pods.indexOf(name)}`;
  const pod = { namespace: 'shop', name, serviceAccount: name };
  await make.serviceAccount('shop', name);
  await make.pod({ ...pod, node: 'node-1', ips: [ip], labels: { app: name } });
  const envoy = await TestEnvoy.start({
    pod: `shop/${name}`,
    folder,
    controlPlane: address,
    bundle,
    token: await world.cluster.token({ ...pod, pod: name, audiences: [audience] }),
    flags: ['--source-address', ip, '--inbound', `http:${ip}:8080=127.0.0.1:9`],
  });
  envoys.set(name, envoy);
  await envoy.ready();
}

/** Waits until a refusal of the step says so, asked at that replica. */
async function refused(replica: TestControlPlane, step: string, meant: RegExp): Promise<string> {
  let last = '';
  try {
    return await waitFor('the refusal', async () => {
      last = (await replica.tryToAsk(`rotate ${step}`)).stderr;
      return meant.test(last) ? last : undefined;
    });
  } catch (error) {
    throw new Error(`${String(error)}; it was: ${last}`, { cause: error });
  }
}

async function programmed(): Promise<string> {
  const path = `jsonpath={range .status.conditions[?(@.type=="Programmed")]}{.status} {.reason}: {.message}{end}`;
  return await world.kubectl([
    'get',
    '-n',
    'shop',
    'authorizationpolicies.security.countersign.dev',
    'cart',
    '-o',
    path,
  ]);
}

async function isProgrammed(meant: RegExp, timeoutMs?: number): Promise<void> {
  let last = '';
  const what = async (): Promise<true | undefined> => {
    last = await programmed();
    return meant.test(last) ? true : undefined;
  };
  try {
    await waitFor(`Programmed like ${String(meant)}`, what, {
      ...(timeoutMs !== undefined && { timeoutMs }),
    });
  } catch (error) {
    throw new Error(`${String(error)}; it was: ${last}`, { cause: error });
  }
}

describe('a rotation on two replicas', () => {
  it('waits with activate for a replica that is there and has not reported, and no longer than it is there', async () => {
    const [one] = replicas as [TestControlPlane];
    await one.ask('rotate prepare');
    await replicaPod('countersign-c', `${subnet}.23`);
    const said = await refused(one, 'activate', /replica countersign-c does not report/u);
    expect(said).toMatch(/wait for them, or use --force/u);
    await isProgrammed(/^Unknown ReplicaSilent: .*replica countersign-c does not report/u, 60_000);
    // Whoever leads has said so; this one may find out a moment later.
    await waitFor('the metric', async () =>
      /^countersign_silent_replicas 1$/mu.test(await one.metrics()) ? true : undefined,
    );
    // Its containers have ended, and its kubelet says so.
    await world.cluster.make.podStatus(home, 'countersign-c', { phase: 'Failed' });
    await isProgrammed(/^True Acknowledged: 2\/2 proxies$/u);
    await waitFor('the way to be free', async () =>
      (await one.tryToAsk('rotate activate', '--dry-run')).code === 0 ? true : undefined,
    );
  }, 120_000);

  it('waits for a replica on a node out of reach until its pod is gone, and says how to end that', async () => {
    const [one] = replicas as [TestControlPlane];
    const { make, operator } = world.cluster;
    const name = 'countersign-d';
    await replicaPod(name, `${subnet}.24`);
    await make.podUnheard(home, name);
    const meant =
      /replica countersign-d does not report and may still run on a node out of reach: if that node is dead for good, kubectl delete pod -n countersign-system countersign-d --force$/mu;
    await refused(one, 'activate', meant);
    // As it is evicted: nobody is there to end it.
    await operator.delete(at('pods', home, name), 30);
    expect((await operator.get(at('pods', home, name))).metadata.deletionTimestamp).toBeDefined();
    // Pods are followed in order: when this one is seen, the eviction has been.
    await replicaPod('countersign-e', `${subnet}.25`);
    const said = await refused(one, 'activate', /replica countersign-e does not report$/mu);
    expect(said).toMatch(meant);
    await world.kubectl(['delete', 'pod', '-n', home, name, 'countersign-e', '--force']);
    await waitFor('the way to be free', async () =>
      (await one.tryToAsk('rotate activate', '--dry-run')).code === 0 ? true : undefined,
    );
  }, 60_000);

  it('waits with activate for the Envoy of the other replica, and names both', async () => {
    const [one, two] = replicas as [TestControlPlane, TestControlPlane];
    await one.ask('rotate abort', '--force');
    envoys.get('web')!.freeze();
    await one.ask('rotate prepare');
    await refused(one, 'activate', /shop\/web has not acknowledged the bundle yet \(replica \S+\)/u);
    expect((await two.tryToAsk('rotate activate')).stderr).toMatch(/shop\/web has not acknowledged/u);
    envoys.get('web')!.thaw();
    await waitFor('the way to be free', async () =>
      (await one.tryToAsk('rotate activate', '--dry-run')).code === 0 ? true : undefined,
    );
  }, 60_000);

  it('waits with retire until the Envoys of the other replica run SVIDs of the new root', async () => {
    const [one, two] = replicas as [TestControlPlane, TestControlPlane];
    envoys.get('web')!.freeze();
    await one.ask('rotate activate');
    const lagging =
      /shop\/web (holds an SVID of the former root|has not acknowledged its new SVID yet) \(replica/u;
    await refused(one, 'retire', lagging);
    envoys.get('web')!.thaw();
    await refused(one, 'retire', /^(?!.*shop\/web)[^]*SVIDs of the former root live until/u);
    await waitFor('the other one to say the same', async () => {
      const { stderr } = await two.tryToAsk('rotate retire');
      return /cannot retire yet:\n {2}SVIDs of the former root live until/u.test(stderr) ? true : undefined;
    });
  }, 60_000);
});

describe('a rotation without the right to the Secret', () => {
  it('names the right that is missing', async () => {
    const { operator } = world.cluster;
    const path = at('rbac.authorization.k8s.io/v1/roles', home, 'countersign-control-plane');
    const { rules } = (await operator.get(path)) as unknown as {
      rules: { resources: string[]; verbs: string[] }[];
    };
    const less = rules.map((rule) =>
      rule.resources.includes('secrets')
        ? { ...rule, verbs: rule.verbs.filter((verb) => verb !== 'update') }
        : rule,
    );
    await operator.merge(path, { rules: less });
    const said = await refused(replicas[0]!, 'abort --force', /cannot be written/u);
    expect(said).toMatch(/the Secret countersign-system\/countersign-root cannot be written/u);
    expect(said).toMatch(/cannot update resource "secrets"/u);
    expect(said).toMatch(/check what the control plane's service account may do/u);
    expect(said).not.toMatch(/internal error/u);
    await operator.merge(path, { rules });
  });
});

describe('replicas that may not report', () => {
  it('are missed: what is not known of is not Programmed', async () => {
    const { operator } = world.cluster;
    await isProgrammed(/^True Acknowledged: 2\/2 proxies$/u);
    const path = at('rbac.authorization.k8s.io/v1/roles', home, 'countersign-control-plane');
    const { rules } = (await operator.get(path)) as unknown as {
      rules: { resources: string[]; verbs: string[] }[];
    };
    const less = rules.map((rule) =>
      rule.resources.includes('configmaps')
        ? { ...rule, verbs: rule.verbs.filter((verb) => verb !== 'patch') }
        : rule,
    );
    await operator.merge(path, { rules: less });
    await isProgrammed(
      /^Unknown ReplicaSilent: 1\/1 proxies that are known of; replica countersign-[ab] does not report$/u,
      60_000,
    );
    expect((await replicas[0]!.tryToAsk('rotate retire')).stderr).toContain('does not report');
    await operator.merge(path, { rules });
    await isProgrammed(/^True Acknowledged: 2\/2 proxies$/u, 60_000);
  }, 180_000);
});
