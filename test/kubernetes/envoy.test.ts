import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { at } from '../cluster/api-client.ts';
import { httpApp, type App } from '../harness/app.ts';
import { TestControlPlane } from '../harness/control-plane.ts';
import { TestEnvoy } from '../harness/envoy.ts';
import { call } from '../harness/http.ts';
import { loopbackSubnet } from '../harness/ports.ts';
import { waitFor } from '../harness/wait.ts';
import { audience, KubernetesWorld, policy } from './world.ts';

const subnet = loopbackSubnet();
const ips = { cart: `${subnet}.11`, web: `${subnet}.12` } as const;
const inbound = 8_080;
const outbound = 10_001;

let world: KubernetesWorld;
let controlPlane: TestControlPlane;
let app: App;
const envoys: TestEnvoy[] = [];

beforeAll(async () => {
  world = await KubernetesWorld.start();
  const { cluster, kubeconfig } = world;
  await cluster.make.node('node-1');
  await cluster.make.namespace('shop');
  for (const [name, ip] of Object.entries(ips)) {
    await cluster.make.serviceAccount('shop', name);
    const labels = { app: name };
    await cluster.make.pod({
      namespace: 'shop',
      name,
      serviceAccount: name,
      node: 'node-1',
      ips: [ip],
      labels,
    });
  }
  controlPlane = await TestControlPlane.start({
    kubeconfig,
    dataDir: join(cluster.folder, 'data'),
  });
  app = await httpApp('cart');
  await sidecar('cart', '--inbound', `http:${ips.cart}:${inbound}=127.0.0.1:${app.port}`);
  const cart = 'spiffe://cluster.local/ns/shop/sa/cart';
  await sidecar('web', '--outbound', `http:${ips.web}:${outbound}=${ips.cart}:${inbound}=${cart}`);
  await Promise.all(envoys.map((envoy) => envoy.ready()));
});
afterAll(async () => {
  await Promise.all(envoys.map((envoy) => envoy.stop()));
  app.close();
  await controlPlane.stop();
  await world.dispose();
});

async function sidecar(name: keyof typeof ips, ...flags: readonly string[]): Promise<void> {
  envoys.push(
    await TestEnvoy.start({
      pod: `shop/${name}`,
      folder: world.cluster.folder,
      controlPlane: controlPlane.address,
      bundle: controlPlane.bundle,
      token: await world.cluster.token({
        namespace: 'shop',
        serviceAccount: name,
        pod: name,
        audiences: [audience],
      }),
      flags: ['--source-address', ips[name], ...flags],
    }),
  );
}

async function answered(status: number): Promise<void> {
  await waitFor(`a ${status}`, async () =>
    (await call({ host: ips.web, port: outbound })).status === status ? true : undefined,
  );
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
