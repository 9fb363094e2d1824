import { describe, expect, it } from 'vitest';
import { exchange } from '../harness/tcp.ts';
import { waitFor } from '../harness/wait.ts';
import { withoutFilters } from './bootstrap-edits.ts';
import { TestMesh, type Way } from './mesh.ts';
import { allowAll } from './policies.ts';

const cart = 'shop/cart';
const web = 'shop/web';
const calls: readonly Way[] = [
  { to: cart, protocol: 'http' },
  { to: cart, protocol: 'tcp' },
];

/** Envoy opens a listener without what it asked for after its fetch timeout of 15 s. */
const patience = { timeout: 180_000 };

describe.concurrent('nothing is let through before the control plane said who may', () => {
  it.each(['sotw', 'delta'] as const)('identities are there, filters are not (%s)', patience, async (xds) => {
    const mesh = await TestMesh.start({
      xds,
      pods: [
        { pod: cart, serves: ['http', 'tcp'], edit: withoutFilters, bare: true },
        { pod: web, calls },
      ],
      policies: { cart: allowAll('shop/cart', 'cart') },
    });
    try {
      const envoy = await mesh.startSidecar(cart);
      await waitFor('its SVID', async () => ((await envoy.serials()).length > 0 ? true : undefined));
      // No listener yet, or one that denies: never an answer of the app.
      const statuses = new Set<number>();
      await waitFor(
        'the listeners to open',
        async () => {
          statuses.add((await mesh.call(web)).status);
          return (await envoy.admin('/ready')).startsWith('LIVE') ? true : undefined;
        },
        { timeoutMs: 45_000 },
      );
      statuses.add((await mesh.call(web)).status);
      expect([...statuses]).toEqual([503]);
      expect(await exchange({ ...mesh.wayOut(web, 1), text: 'hello' })).toBe('');
      // Refused by the first filter of its chain, before there was a request.
      const denied = await envoy.logged(({ details }) => details?.startsWith('rbac_access_denied') === true);
      expect(denied).toMatchObject({ source: mesh.id(web), chain: 'mtls' });
    } finally {
      await mesh.stop();
    }
  });

  it('no control plane: neither identity nor filters; it comes back, all opens', patience, async () => {
    const mesh = await TestMesh.start({
      pods: [
        { pod: cart, serves: ['http', 'tcp'], bare: true },
        { pod: web, calls },
      ],
      policies: { cart: allowAll('shop/cart', 'cart') },
    });
    try {
      const token = await mesh.token(cart);
      await mesh.controlPlane.stop();
      const envoy = await mesh.startSidecar(cart, token);
      await envoy.listening();
      expect((await mesh.call(web)).status).toBe(503);
      expect(await exchange({ ...mesh.wayOut(web, 1), text: 'hello' })).toBe('');
      await mesh.controlPlane.restart();
      await waitFor(
        'the first answer',
        async () => ((await mesh.call(web)).status === 200 ? true : undefined),
        { timeoutMs: 120_000, everyMs: 200 },
      );
      await waitFor('TCP as well', async () =>
        (await exchange({ ...mesh.wayOut(web, 1), text: 'hello' })) === 'hello' ? true : undefined,
      );
    } finally {
      await mesh.stop();
    }
  });
});
