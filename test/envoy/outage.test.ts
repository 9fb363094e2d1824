import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
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

async function startMesh(xds: 'sotw' | 'delta'): Promise<TestMesh> {
  const calls = [{ to: cart, protocol: 'http' }] as const;
  return await TestMesh.start({
    xds,
    pods: [
      { pod: cart, serves: ['http'] },
      { pod: web, calls },
      { pod: busy, calls, edit: useConnectionsOnce },
    ],
    policies: { cart: allowing('/before') },
  });
}

describe.concurrent('the control plane is away', () => {
  it.each([
    ['stopped', 'delta', async (mesh: TestMesh): Promise<unknown> => mesh.controlPlane.stop()],
    ['killed', 'sotw', async (mesh: TestMesh): Promise<unknown> => mesh.controlPlane.killHard()],
    ['killed', 'delta', async (mesh: TestMesh): Promise<unknown> => mesh.controlPlane.killHard()],
  ] as const)(
    '%s, %s xDS: traffic goes on; back again, it is the same authority',
    // Envoy asks again after up to 30 s.
    { timeout: 180_000 },
    async (_, xds, end) => {
      const mesh = await startMesh(xds);
      const loads = [web, busy].map((pod) => new Load({ ...mesh.wayOut(pod), path: '/items' }));
      const traffic = async (): Promise<void> => {
        const totals = loads.map(({ total }) => total);
        await waitFor('traffic', () =>
          loads.every(({ total }, index) => total > (totals[index] ?? 0) + 20) ? true : undefined,
        );
      };
      const streams = async (): Promise<string> =>
        (await mesh.connected())
          .map(({ pod, method }) => `${pod} ${method}`)
          .sort()
          .join('\n');
      try {
        const bundle = readFileSync(mesh.controlPlane.bundle, 'utf8');
        const before = await streams();
        await end(mesh);
        await traffic();
        expect((await mesh.call(web, { path: '/other' })).status).toBe(403);
        mesh.writePolicy('cart', allowing('/after'));
        await mesh.controlPlane.restart();
        await waitFor(
          'every stream to be back',
          async () => ((await streams()) === before ? true : undefined),
          { timeoutMs: 90_000, everyMs: 500 },
        );
        await waitFor('what changed meanwhile', async () =>
          (await mesh.call(web, { path: '/after' })).status === 200 ? true : undefined,
        );
        expect(readFileSync(mesh.controlPlane.bundle, 'utf8')).toBe(bundle);
        await traffic();
      } finally {
        await Promise.all(loads.map((load) => load.stop()));
        await mesh.stop();
      }
      expect(loads.map(({ failed }) => failed)).toEqual([0, 0]);
    },
  );
});
