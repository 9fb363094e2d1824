import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { at, type KubeObject } from '../cluster/api-client.ts';
import type { AuditedRequest } from '../cluster/audit-log.ts';
import { ALLOW, EnvoyClient, EXTENSION } from '../control-plane/envoy-client.ts';
import { crdFiles } from '../deploy/chart.ts';
import { TestControlPlane } from '../harness/control-plane.ts';
import { TestEnvoy } from '../harness/envoy.ts';
import { loopbackSubnet } from '../harness/ports.ts';
import { waitFor } from '../harness/wait.ts';
import { bareCrd } from './crds.ts';
import { audience, KubernetesWorld, policy } from './world.ts';

const subnet = loopbackSubnet();
const pods = ['cart', 'web', 'odd'] as const;
type PodName = (typeof pods)[number];
const allow = (...serviceAccounts: string[]): object => ({
  selector: { matchLabels: { app: 'cart' } },
  rules: [{ from: [{ source: { serviceAccounts } }] }],
});
const resource = 'security.countersign.dev/v1/authorizationpolicies';
const ours = ({ user, resource: what, verb }: AuditedRequest): boolean =>
  user.endsWith(':control-plane') && what === 'authorizationpolicies/status' && verb === 'patch';

let world: KubernetesWorld;
const replicas: TestControlPlane[] = [];
const envoys = new Map<PodName, TestEnvoy>();

beforeAll(async () => {
  world = await KubernetesWorld.start();
  const { cluster } = world;
  // Of rules that were laxer: with these, it could not be written any more.
  await cluster.make.namespace('shop');
  await world.apply(policy('old', { action: 'CUSTOM', rules: [{}] }));
  for (const file of crdFiles()) await world.kubectl(['apply', '-f', file]);
  await cluster.make.node('node-1');
  for (const [index, name] of pods.entries()) {
    await cluster.make.serviceAccount('shop', name);
    const app = name === 'odd' ? 'odd' : 'cart';
    const ips = [`${subnet}.${11 + index}`];
    await cluster.make.pod({
      namespace: 'shop',
      name,
      serviceAccount: name,
      node: 'node-1',
      ips,
      labels: { app },
    });
  }
  await replica();
  await replica();
  // One on each.
  await sidecar('cart', 0);
  await sidecar('web', 1);
}, 180_000);
afterAll(async () => {
  for (const envoy of envoys.values()) {
    envoy.thaw();
    await envoy.stop();
  }
  for (const each of replicas) await each.stop();
  await world?.dispose();
});

async function replica(): Promise<void> {
  const { cluster, kubeconfig } = world;
  const dataDir = join(cluster.folder, `data-${replicas.length}`);
  replicas.push(await TestControlPlane.start({ kubeconfig, dataDir, flags: ['--log-level', 'debug'] }));
}

async function token(name: PodName): Promise<string> {
  return await world.cluster.token({
    namespace: 'shop',
    serviceAccount: name,
    pod: name,
    audiences: [audience],
  });
}

async function sidecar(name: PodName, at_: number): Promise<void> {
  const controlPlane = replicas[at_]!;
  const ip = `${subnet}.${11 + pods.indexOf(name)}`;
  const envoy = await TestEnvoy.start({
    pod: `shop/${name}`,
    folder: world.cluster.folder,
    controlPlane: controlPlane.address,
    bundle: controlPlane.bundle,
    token: await token(name),
    flags: ['--source-address', ip, '--inbound', `http:${ip}:8080=127.0.0.1:9`],
  });
  envoys.set(name, envoy);
  await envoy.ready();
}

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly observedGeneration: number;
  readonly lastTransitionTime: string;
  readonly reason: string;
  readonly message: string;
}

async function read(name: string): Promise<{
  readonly object: KubeObject;
  readonly conditions: Readonly<Record<string, Condition>>;
}> {
  const object = await world.cluster.operator.get(at(resource, 'shop', name));
  const { conditions = [] } = (object['status'] ?? {}) as { conditions?: readonly Condition[] };
  return { object, conditions: Object.fromEntries(conditions.map((each) => [each.type, each])) };
}

/** Waits for a condition of the policy's present generation. */
async function condition(
  name: string,
  type: string,
  meant: Partial<Condition>,
  timeoutMs?: number,
): Promise<Condition> {
  let last: unknown;
  try {
    return await waitFor(
      `${type} of ${name}`,
      async () => {
        const { object, conditions } = await read(name);
        const found = conditions[type];
        last = conditions;
        if (found === undefined || found.observedGeneration !== object.metadata.generation) return undefined;
        const { message = '', ...rest } = meant;
        const matches = Object.entries(rest).every(([key, value]) => found[key as keyof Condition] === value);
        return matches && found.message.includes(message) ? found : undefined;
      },
      { ...(timeoutMs !== undefined && { timeoutMs }) },
    );
  } catch (error) {
    throw new Error(`${String(error)}; it is ${JSON.stringify(last)}`, { cause: error });
  }
}

describe('what became of a policy, written by the leader of two replicas', () => {
  it('is Programmed when the Envoys of both replicas have acknowledged it, as kubectl waits for and shows', async () => {
    await world.apply(policy('cart', allow('web')));
    await world.kubectl([
      ...['wait', '--for', 'condition=Programmed', '--timeout', '30s', '-n', 'shop', 'ap/cart'],
    ]);
    const { message } = await condition('cart', 'Programmed', { status: 'True', message: '2/2 proxies' });
    expect(message).toBe('2/2 proxies');
    await condition('cart', 'Accepted', { status: 'True', reason: 'Valid' });
    const table = await world.kubectl(['get', 'ap', '-n', 'shop', 'cart']);
    expect(table).toMatch(/NAME +ACTION +MODE +ACCEPTED +PROGRAMMED +AGE\ncart +(ALLOW)? +.*True +True/u);
  });

  it('is not Programmed while one Envoy has not acknowledged the change, and is when it has', async () => {
    envoys.get('web')!.freeze();
    await world.apply(policy('cart', allow('web', 'odd')));
    const pending = await condition('cart', 'Programmed', { status: 'False', message: '1/2 proxies' });
    expect(pending.reason).toBe('Pending');
    envoys.get('web')!.thaw();
    await condition('cart', 'Programmed', { status: 'True', message: '2/2 proxies' });
  });

  it("says in Envoy's words why one refused it", async () => {
    const odd = new EnvoyClient(replicas[1]!, await token('odd'));
    try {
      odd.subscribe(EXTENSION, ALLOW);
      await world.apply(policy('odd', { selector: { matchLabels: { app: 'odd' } }, rules: [] }));
      await condition('odd', 'Programmed', { status: 'True', message: '1/1 proxies' });
      odd.rejectWith = 'no such matcher';
      await world.apply(policy('odd', { selector: { matchLabels: { app: 'odd' } }, rules: [{}] }));
      await condition('odd', 'Programmed', {
        status: 'False',
        reason: 'Rejected',
        message: 'shop/odd refused it: no such matcher',
      });
    } finally {
      odd.close();
    }
  });

  it('counts the Envoys of the other kinds too', async () => {
    await world.apply({
      apiVersion: 'security.countersign.dev/v1',
      kind: 'PeerAuthentication',
      metadata: { name: 'peers', namespace: 'shop' },
      spec: { selector: { matchLabels: { app: 'cart' } }, mtls: { mode: 'PERMISSIVE' } },
    });
    const wait = ['wait', '--for', 'condition=Programmed', '--timeout', '30s', '-n', 'shop', 'pa/peers'];
    await world.kubectl(wait);
    const path = ['-o', 'jsonpath={.status.conditions[?(@.type=="Programmed")].message}'];
    expect(await world.kubectl(['get', '-n', 'shop', 'pa/peers', ...path])).toBe('2/2 proxies');
  });

  it('passes warnings on, and takes them back when what was missing is there', async () => {
    await world.apply(policy('trap', allow('nobody')));
    await condition('trap', 'Warning', {
      status: 'True',
      message: 'service account shop/nobody does not exist',
    });
    await world.cluster.make.serviceAccount('shop', 'nobody');
    await waitFor('the warning to go', async () =>
      (await read('trap')).conditions['Warning'] === undefined ? true : undefined,
    );
  });

  it('refuses what an earlier CRD let in, and keeps the last good version of what was changed', async () => {
    await condition('old', 'Accepted', {
      status: 'False',
      reason: 'Invalid',
      message: 'nothing of it is in force',
    });
    await condition('old', 'Programmed', { status: 'False', reason: 'Invalid' });
    // As it was before its rules were tightened.
    await world.kubectl(['apply', '-f', '-'], bareCrd('security.countersign.dev', 'AuthorizationPolicy'));
    await waitFor('the laxer CRD', async () => {
      await world.apply(policy('cart', { ...allow('web'), action: 'NONSENSE' }));
      return true;
    });
    for (const file of crdFiles()) await world.kubectl(['apply', '-f', file]);
    await condition('cart', 'Accepted', {
      status: 'False',
      message: 'the last good generation stays in force',
    });
    await world.apply(policy('cart', allow('web')));
    await condition('cart', 'Programmed', { status: 'True', message: '2/2 proxies' });
  });

  it('is put right where somebody edits it, beside conditions of others, which stay', async () => {
    const path = at(resource, 'shop', 'cart', 'status');
    const theirs = {
      type: 'example.com/Audited',
      status: 'True',
      reason: 'Read',
      message: 'by hand',
      lastTransitionTime: '2026-01-01T00:00:00Z',
    };
    const { conditions } = await read('cart');
    const edited = Object.values(conditions).map((each) =>
      each.type === 'Programmed' ? { ...each, status: 'Unknown', message: 'edited' } : each,
    );
    await world.cluster.operator.merge(path, { status: { conditions: [...edited, theirs] } });
    await condition('cart', 'Programmed', { status: 'True', message: '2/2 proxies' });
    expect((await read('cart')).conditions[theirs.type]).toEqual(theirs);
    await world.cluster.operator.merge(path, { status: null });
    await condition('cart', 'Programmed', { status: 'True', message: '2/2 proxies' });
  });

  it('is written by one replica alone, and not at all while nothing changes', async () => {
    const { audit } = world.cluster;
    // What the tests before have changed is said.
    await settled();
    const before = audit.requests(ours).length;
    await new Promise((resolve) => setTimeout(resolve, 4_000));
    expect(audit.requests(ours).length).toBe(before);
    expect(await Promise.all(replicas.map(async (each) => leads(each)))).toEqual([true, false]);
  });

  it('is counted for a rotation too: no replica activates before the Envoys of all have the new root', async () => {
    const [one, two] = replicas as [TestControlPlane, TestControlPlane];
    const activate = async (): Promise<string> => (await one.tryToAsk('rotate activate')).stderr;
    envoys.get('web')!.freeze();
    await one.ask('rotate prepare');
    await waitFor('the Envoy of the other replica to be named', async () =>
      /shop\/web has not acknowledged the bundle yet/u.test(await activate()) ? true : undefined,
    );
    envoys.get('web')!.thaw();
    await waitFor('the step', async () => ((await activate()) === '' ? true : undefined), { everyMs: 500 });
    await waitFor('the other replica to follow', async () =>
      (await two.ask('rotate status')).includes('activated') ? true : undefined,
    );
  }, 60_000);

  it('goes on when the leader is killed: the other replica takes over, and counts its own alone', async () => {
    await replicas[0]!.killHard();
    // The Lease has to end, and the word of the one that is gone to grow old.
    await condition('cart', 'Programmed', { status: 'True', message: '1/1 proxies' }, 90_000);
  }, 100_000);
});

async function settled(): Promise<void> {
  let last = -1;
  await waitFor(
    'no more writes',
    () => {
      const count = world.cluster.audit.requests(ours).length;
      const same = count === last;
      last = count;
      return same ? true : undefined;
    },
    { everyMs: 6_000 },
  );
}

async function leads(replica_: TestControlPlane): Promise<boolean> {
  return /^countersign_leader 1$/mu.test(await replica_.metrics());
}
