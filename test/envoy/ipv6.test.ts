import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { httpApp, type App } from '../harness/app.ts';
import { TestEnvoy } from '../harness/envoy.ts';
import { call } from '../harness/http.ts';
import { freePort } from '../harness/ports.ts';
import { waitFor } from '../harness/wait.ts';
import { World } from '../control-plane/world.ts';
import { policyYaml } from './policies.ts';

const id = 'spiffe://cluster.local/ns/shop/sa/cart';

/** Both sidecars on `::1`: policies on addresses and the peers' modes hold there too. */
describe('sidecars that listen on IPv6', () => {
  const world = new World({ pod: 'shop/cart', ip: '::1' }, { pod: 'shop/web', ip: '::1' });
  let app: App;
  let cart: TestEnvoy;
  let web: TestEnvoy;
  let inbound: number;
  let outbound: number;

  beforeAll(async () => {
    world.write(
      'cart.yaml',
      policyYaml('shop/cart', {
        selector: { matchLabels: { app: 'cart' } },
        rules: [
          { from: [{ source: { ipBlocks: ['::1'] } }], to: [{ operation: { paths: ['/near'] } }] },
          {
            from: [{ source: { ipBlocks: ['fd00::/8', '127.0.0.1'] } }],
            to: [{ operation: { paths: ['/far'] } }],
          },
        ],
      }),
    );
    const controlPlane = await world.start();
    app = await httpApp('cart');
    [inbound, outbound] = [await freePort('::1'), await freePort('::1')];
    const start = async (pod: string, ...flags: readonly string[]): Promise<TestEnvoy> =>
      await TestEnvoy.start({
        pod,
        folder: world.folder,
        controlPlane: controlPlane.address,
        bundle: controlPlane.bundle,
        token: await controlPlane.ask('token', '--pod', pod),
        flags,
      });
    cart = await start('shop/cart', '--inbound', `[::1]:${inbound}=127.0.0.1:${app.port}`);
    web = await start('shop/web', '--outbound', `[::1]:${outbound}=[::1]:${inbound}=${id}`);
    await Promise.all([cart.ready(), web.ready()]);
  });
  afterAll(async () => {
    await Promise.all([cart.stop(), web.stop()]);
    app.close();
    await world.close();
  });

  const ask = async (port: number, path: string): Promise<number> =>
    (await call({ host: '::1', port, path, headers: { connection: 'close' } })).status;

  it('a rule on addresses sees the IPv6 address, over mTLS', async () => {
    expect(await ask(outbound, '/near')).toBe(200);
    expect(await ask(outbound, '/far')).toBe(403);
  });

  it('plaintext is refused, until a PeerAuthentication lets it in', async () => {
    expect(await ask(inbound, '/near')).toBe(0);
    const peers = {
      apiVersion: 'security.countersign.dev/v1',
      kind: 'PeerAuthentication',
      metadata: { namespace: 'shop', name: 'cart' },
      spec: {
        selector: { matchLabels: { app: 'cart' } },
        portLevelMtls: { [inbound]: { mode: 'PERMISSIVE' } },
      },
    };
    world.write('peers.yaml', stringify(peers));
    await waitFor('plaintext', async () => ((await ask(inbound, '/near')) === 200 ? true : undefined));
    expect(await ask(inbound, '/far')).toBe(403);
  });
});
