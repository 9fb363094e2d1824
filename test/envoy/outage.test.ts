import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Load } from '../harness/http.ts';
import { waitFor } from '../harness/wait.ts';
import { useConnectionsOnce } from './bootstrap-edits.ts';
import { TestMesh } from './mesh.ts';
import { policyYaml } from './policies.ts';

const cart = 'shop/cart';
const web = 'shop/web';
const busy = 'shop/busy';

function allowing(path: string): string {
  return policyYaml('shop/cart', { rules: [{ to: [{ operation: { paths: ['/items', path] } }] }] });
}

describe.each(['sotw', 'delta'] as const)('the control plane is away, %s xDS', (xds) => {
  let mesh: TestMesh;

  beforeAll(async () => {
    const calls = [{ to: cart, protocol: 'http' }] as const;
    mesh = await TestMesh.start({
      xds,
      pods: [
        { pod: cart, serves: ['http'] },
        { pod: web, calls },
        { pod: busy, calls, edit: useConnectionsOnce },
      ],
      policies: { cart: allowing('/before') },
    });
  });
  afterAll(async () => mesh.stop());

  it.each([
    ['stopped', async (): Promise<unknown> => mesh.controlPlane.stop()],
    ['killed', async (): Promise<unknown> => mesh.controlPlane.killHard()],
  ])('%s: traffic goes on; back again, it is the same authority', { timeout: 90_000 }, async (how, end) => {
    const loads = [web, busy].map((pod) => new Load({ ...mesh.wayOut(pod), path: '/items' }));
    const traffic = async (): Promise<void> => {
      const totals = loads.map(({ total }) => total);
      await waitFor('traffic', () =>
        loads.every(({ total }, index) => total > (totals[index] ?? 0) + 20) ? true : undefined,
      );
    };
    try {
      const bundle = readFileSync(mesh.controlPlane.bundle, 'utf8');
      const streams = (await mesh.connected()).map(({ pod, method }) => `${pod} ${method}`).sort();
      await end();
      await traffic();
      expect((await mesh.call(web, { path: '/other' })).status).toBe(403);
      mesh.writePolicy('cart', allowing(`/after/${how}`));

      await mesh.controlPlane.restart();
      await waitFor(
        'every stream to be back',
        async () => {
          const now = (await mesh.connected()).map(({ pod, method }) => `${pod} ${method}`).sort();
          return now.join() === streams.join() ? true : undefined;
        },
        { timeoutMs: 45_000, everyMs: 200 },
      );
      await waitFor('what changed meanwhile', async () =>
        (await mesh.call(web, { path: `/after/${how}` })).status === 200 ? true : undefined,
      );
      expect(readFileSync(mesh.controlPlane.bundle, 'utf8')).toBe(bundle);
      await traffic();
    } finally {
      await Promise.all(loads.map((load) => load.stop()));
    }
    expect(loads.map(({ failed }) => failed)).toEqual([0, 0]);
  });
});
