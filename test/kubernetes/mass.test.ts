import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { at, type KubeObject } from '../cluster/api-client.ts';
import { crdFiles } from '../deploy/chart.ts';
import { TestControlPlane } from '../harness/control-plane.ts';
import { call, Load } from '../harness/http.ts';
import { waitFor } from '../harness/wait.ts';
import { TwoSidecars } from './two-sidecars.ts';
import { installWebhook, webhookTrusted } from './webhook.ts';
import { KubernetesWorld, policy } from './world.ts';

const count = 1_000;
const policies = at('security.countersign.dev/v1/authorizationpolicies', 'shop');
const labels = { of: 'the-thousand' };
const pathOf = (index: number): string => `/item-${index}`;
/** As long as the chart lets its liveness probe wait. */
const probeTimeoutMs = 5_000;

let world: KubernetesWorld;
let controlPlane: TestControlPlane;
let sidecars: TwoSidecars | undefined;
let load: Load;
let probes: Probes;

beforeAll(async () => {
  world = await KubernetesWorld.start();
  const { cluster, kubeconfig } = world;
  for (const file of crdFiles()) await world.kubectl(['apply', '-f', file]);
  sidecars = await TwoSidecars.make(world);
  const flags = await installWebhook(world);
  controlPlane = await TestControlPlane.start({
    kubeconfig,
    dataDir: join(cluster.folder, 'data'),
    flags,
  });
  await webhookTrusted(world);
  await sidecars.attach(controlPlane);
  await world.apply(allow('kept', '/kept'));
  await answered('/kept', 200);
  load = new Load({ ...sidecars.target, path: '/kept' }, undefined, 20);
  probes = new Probes(controlPlane);
});
afterAll(async () => {
  await load?.stop();
  await probes?.stop();
  await sidecars?.stop();
  await controlPlane?.stop();
  await world?.dispose();
});

/** For both pods: each of the thousand is in the filter of each Envoy. */
function allow(name: string, path: string, labels_: object = {}): object {
  const rule = {
    from: [{ source: { serviceAccounts: ['web'] } }],
    to: [{ operation: { paths: [path] } }],
  };
  return { ...policy(name, { rules: [rule] }), metadata: { name, namespace: 'shop', labels: labels_ } };
}

async function answered(path: string, status: number): Promise<void> {
  const { target } = sidecars!;
  await waitFor(
    `${status} for ${path}`,
    async () => ((await call({ ...target, path })).status === status ? true : undefined),
    { timeoutMs: 60_000 },
  );
}

/** Filters sent, to all Envoys together. */
async function pushes(): Promise<number> {
  const found = /^countersign_xds_pushes_total\{type="TypedExtensionConfig"\} (\d+)$/mu;
  return Number(found.exec(await controlPlane.metrics())?.[1]);
}

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly observedGeneration: number;
  readonly message: string;
}

function conditionOf(object: KubeObject, type: string): Condition | undefined {
  const { conditions = [] } = (object['status'] ?? {}) as { conditions?: readonly Condition[] };
  return conditions.find(
    (each) => each.type === type && each.observedGeneration === object.metadata.generation,
  );
}

/** Asks again and again whether the control plane is ready. */
class Probes {
  answered = 0;
  readonly failures: string[] = [];
  readonly #done: Promise<void>;
  #running = true;

  constructor({ admin }: TestControlPlane) {
    this.#done = (async (): Promise<void> => {
      while (this.#running) {
        try {
          const signal = AbortSignal.timeout(probeTimeoutMs);
          const { status } = await fetch(`http://${admin}/readyz`, { signal });
          if (status !== 200) this.failures.push(String(status));
        } catch (error) {
          this.failures.push(String(error));
        }
        this.answered += 1;
        await sleep(50);
      }
    })();
  }

  async stop(): Promise<void> {
    this.#running = false;
    await this.#done;
  }
}

describe('a thousand policies in one kubectl apply', () => {
  it('are all in force, with few pushes, while the control plane answers and requests go on', async () => {
    const file = join(world.cluster.folder, 'thousand.yaml');
    const documents = Array.from({ length: count }, (_, index) =>
      allow(`item-${index}`, pathOf(index), labels),
    );
    writeFileSync(file, documents.map((document) => stringify(document)).join('---\n'));
    const before = { pushes: await pushes(), probes: probes.answered };
    const said = await world.kubectl(['apply', '--server-side', '-f', file]);
    expect(said.match(/serverside-applied$/gmu)).toHaveLength(count);
    for (const index of [0, count / 2, count - 1]) await answered(pathOf(index), 200);
    await answered('/item-none', 403);
    // There are two Envoys: what came while one was busy with a filter is the next one, together.
    expect((await pushes()) - before.pushes).toBeLessThan(count / 2);
    expect(probes.answered).toBeGreaterThan(before.probes);
    expect(probes.failures).toEqual([]);
    expect(load.failed).toBe(0);
  }, 90_000);

  it('all say so in their statuses', async () => {
    const objects = await waitFor(
      'every status',
      async () => {
        const found = await world.cluster.operator.list(policies);
        const done = found.every((object) => conditionOf(object, 'Programmed')?.status === 'True');
        return done ? found : undefined;
      },
      { timeoutMs: 90_000, everyMs: 1_000 },
    );
    expect(objects).toHaveLength(count + 1);
    for (const object of objects) {
      expect(conditionOf(object, 'Accepted')?.status).toBe('True');
      expect(conditionOf(object, 'Programmed')?.message).toMatch(/^(\d+)\/\1 proxies$/u);
    }
    expect(probes.failures).toEqual([]);
  }, 100_000);

  it('are all out of force when they are deleted at once, and what else is allowed stays', async () => {
    const before = await pushes();
    await world.cluster.operator.request('DELETE', `${policies}?labelSelector=of%3Dthe-thousand`, {
      timeoutMs: 60_000,
    });
    for (const index of [0, count / 2, count - 1]) await answered(pathOf(index), 403);
    expect((await call({ ...sidecars!.target, path: '/kept' })).status).toBe(200);
    expect((await pushes()) - before).toBeLessThan(count / 2);
    expect(probes.failures).toEqual([]);
    expect(load.failed).toBe(0);
    expect(load.total).toBeGreaterThan(0);
  }, 90_000);
});
