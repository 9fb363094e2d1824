import { describe, expect, it } from 'vitest';
import { waitFor } from '../harness/wait.ts';
import { busy, cart, loadsOf, rotationOf, startCartMesh, web } from './cart-mesh.ts';
import type { TestMesh } from './mesh.ts';

/** The former root leaves when the SVIDs below it have ended: a minute for each rotation. */
const patience = { timeout: 400_000 };

const startMesh = async (): Promise<TestMesh> => await startCartMesh('--svid-ttl', '1m');

/** Takes a step as soon as nobody is in its way. */
async function takeWhenReady(mesh: TestMesh, step: string, timeoutMs: number): Promise<void> {
  await waitFor(
    `the rotation to ${step}`,
    async () => {
      const { code, stderr } = await mesh.controlPlane.tryToAsk(`rotate ${step}`);
      if (code !== 0 && !/^countersign: cannot .* yet:/u.test(stderr)) throw new Error(stderr);
      return code === 0 ? true : undefined;
    },
    { timeoutMs, everyMs: 500 },
  );
}

async function rotate(mesh: TestMesh): Promise<void> {
  await mesh.controlPlane.ask('rotate prepare');
  await takeWhenReady(mesh, 'activate', 30_000);
  await takeWhenReady(mesh, 'retire', 120_000);
}

describe.concurrent('the root rotates', () => {
  it(
    'twice, and no request or connection fails; who read the old CA file once still follows',
    patience,
    async () => {
      const mesh = await startMesh();
      const loads = loadsOf(mesh);
      const roots: string[] = [];
      try {
        for (let round = 0; round < 2; round += 1) {
          roots.push((await rotationOf(mesh)).signing?.fingerprint ?? '');
          await rotate(mesh);
        }
        const { state, signing } = await rotationOf(mesh);
        expect(state).toBe('steady');
        expect(new Set([...roots, signing?.fingerprint]).size).toBe(3);

        // Every Envoy comes back to a control plane that shows a certificate below a root it has never read.
        await mesh.controlPlane.restart();
        for (const pod of [cart, web, busy]) {
          const before = await mesh.envoy(pod).serials();
          await waitFor(
            `${pod} to be back`,
            async () =>
              (await mesh.connected()).some((proxy) => proxy.pod === pod && proxy.serial !== '')
                ? true
                : undefined,
            { timeoutMs: 60_000 },
          );
          await waitFor(
            `a new serial in ${pod}`,
            async () =>
              (await mesh.envoy(pod).serials()).every((serial) => !before.includes(serial))
                ? true
                : undefined,
            { timeoutMs: 60_000 },
          );
        }
        for (const { total } of loads) expect(total).toBeGreaterThan(50);
        for (const pod of [cart, web, busy]) {
          const stats = await mesh.envoy(pod).admin('/stats?filter=ssl.(fail_verify|connection_error)');
          expect(stats.split('\n').filter((line) => line !== '' && !line.endsWith(': 0'))).toEqual([]);
        }
      } finally {
        await Promise.all(loads.map((load) => load.stop()));
        await mesh.stop();
      }
      expect(loads.map(({ failed }) => failed)).toEqual(loads.map(() => 0));
    },
  );

  it('not before every live Envoy has followed: each step names who lags', patience, async () => {
    const mesh = await startMesh();
    const { controlPlane } = mesh;
    try {
      expect((await controlPlane.tryToAsk('rotate activate')).stderr).toContain('Possible now: prepare.');
      mesh.envoy(web).freeze();
      await controlPlane.ask('rotate prepare');
      await waitFor('the others to follow', async () =>
        (await rotationOf(mesh)).lagging.length === 1 ? true : undefined,
      );
      const refused = await controlPlane.tryToAsk('rotate activate');
      expect(refused).toMatchObject({ code: 2, stdout: '' });
      expect(refused.stderr).toContain(`${web} has not acknowledged the bundle yet`);
      const rehearsed = await controlPlane.tryToAsk('rotate activate', '--dry-run');
      expect(rehearsed.code).toBe(1);
      expect(rehearsed.stdout).toContain(`${web} has not acknowledged the bundle yet`);
      expect((await rotationOf(mesh)).state).toBe('prepared');

      mesh.envoy(web).thaw();
      await takeWhenReady(mesh, 'activate', 30_000);
      const early = await controlPlane.tryToAsk('rotate retire');
      expect(early.code).toBe(2);
      expect(early.stderr).toMatch(/SVIDs of the former root live until 2\d{3}-/u);

      // Back, and forth again: nothing is lost on the way.
      const { signing } = await rotationOf(mesh);
      await controlPlane.ask('rotate abort');
      await waitFor('the former root in every Envoy', async () =>
        (await mesh.call(web)).status === 200 ? true : undefined,
      );
      expect((await rotationOf(mesh)).other).toEqual(signing);
      await takeWhenReady(mesh, 'activate', 30_000);
      expect((await rotationOf(mesh)).signing).toEqual(signing);

      mesh.envoy(busy).freeze();
      await controlPlane.ask('rotate retire', '--force');
      expect((await rotationOf(mesh)).state).toBe('steady');
      const forced = controlPlane.audit().findLast(({ event }) => event === 'root.rotated');
      expect(forced).toMatchObject({ actor: 'operator', step: 'retire', other: '' });
      expect(forced?.['forcedPast']).not.toEqual([]);
    } finally {
      mesh.envoy(busy).thaw();
      await mesh.stop();
    }
  });

  it('and not before who was live before a kill can be back', patience, async () => {
    const mesh = await startMesh();
    const { controlPlane } = mesh;
    try {
      mesh.envoy(web).freeze();
      await controlPlane.ask('rotate prepare');
      await controlPlane.crash();
      const refused = await controlPlane.tryToAsk('rotate activate');
      expect(refused.code).toBe(2);
      expect(refused.stderr).toContain('Envoys may be on their way back until 2');
      mesh.envoy(web).thaw();
      await takeWhenReady(mesh, 'activate', 60_000);
      expect((await mesh.call(web)).status).toBe(200);
    } finally {
      mesh.envoy(web).thaw();
      await mesh.stop();
    }
  });

  it('and goes on where it was after a kill', patience, async () => {
    const mesh = await startMesh();
    try {
      await mesh.controlPlane.ask('rotate prepare');
      await takeWhenReady(mesh, 'activate', 30_000);
      const before = await rotationOf(mesh);
      await mesh.controlPlane.killHard();
      await mesh.controlPlane.restart();
      const after = await rotationOf(mesh);
      expect({ ...after, lagging: [], plan: [] }).toEqual({ ...before, lagging: [], plan: [] });
      await takeWhenReady(mesh, 'retire', 120_000);
      expect((await mesh.call(web)).status).toBe(200);
    } finally {
      await mesh.stop();
    }
  });
});
