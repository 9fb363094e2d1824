import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { at } from '../cluster/api-client.ts';
import { TestControlPlane } from '../harness/control-plane.ts';
import { call } from '../harness/http.ts';
import { waitFor } from '../harness/wait.ts';
import { TwoSidecars } from './two-sidecars.ts';
import { KubernetesWorld, policy } from './world.ts';

let world: KubernetesWorld;
let controlPlane: TestControlPlane;
let sidecars: TwoSidecars | undefined;

beforeAll(async () => {
  world = await KubernetesWorld.start();
  const { cluster, kubeconfig } = world;
  sidecars = await TwoSidecars.make(world);
  controlPlane = await TestControlPlane.start({
    kubeconfig,
    dataDir: join(cluster.folder, 'data'),
  });
  await sidecars.attach(controlPlane);
});
afterAll(async () => {
  await sidecars?.stop();
  await controlPlane.stop();
  await world.dispose();
});

async function answered(status: number): Promise<void> {
  const { target } = sidecars!;
  await waitFor(`a ${status}`, async () => ((await call(target)).status === status ? true : undefined));
}

describe('a real Envoy, attached to a control plane that watches a real API server', () => {
  it('is denied until a policy that kubectl applies allows it, and again when it is deleted', async () => {
    await answered(403);
    const principals = ['cluster.local/ns/shop/sa/web'];
    const allow = {
      selector: { matchLabels: { app: 'cart' } },
      rules: [{ from: [{ source: { principals } }] }],
    };
    await world.apply(policy('cart', allow));
    await answered(200);
    const event = controlPlane.audit().find((found) => found['event'] === 'policy.changed');
    expect(event).toMatchObject({ actor: 'kubernetes', policy: 'shop/cart', change: 'added', workloads: 1 });

    await world.apply(policy('cart', { ...allow, action: 'NONSENSE' }));
    await waitFor('the refusal in the audit log', () =>
      controlPlane.audit().find((found) => found['event'] === 'policy.rejected'),
    );
    await answered(200);

    await world.kubectl(['delete', '-n', 'shop', 'authorizationpolicies', 'cart']);
    await answered(403);
  });

  it('goes on while the API server is away, and loses its stream when its pod is deleted', async () => {
    await world.apply(policy('everybody', { rules: [{}] }));
    await answered(200);
    await world.cluster.apiServer.kill();
    expect(await controlPlane.ask('renew', '--pod', 'shop/web')).toMatch(/^\w+ -> \w+$/u);
    await answered(200);
    await world.cluster.apiServer.start();

    await world.cluster.operator.delete(at('pods', 'shop', 'web'));
    await waitFor('its streams to end', async () => {
      const { proxies } = JSON.parse(await controlPlane.ask('proxies', '-o', 'json')) as {
        proxies: readonly { pod: string }[];
      };
      return proxies.some(({ pod }) => pod === 'shop/web') ? undefined : true;
    });
    await expect(controlPlane.ask('renew', '--pod', 'shop/web')).rejects.toThrow(/no pod shop\/web/u);
  });
});
