import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { waitFor } from '../harness/wait.ts';
import { TestMesh } from './mesh.ts';
import { allowAll } from './policies.ts';

const cart = 'shop/cart';
const web = 'shop/web';
const other = 'shop/other';

/** Envoy asks again after up to 30 s, once it was refused a few times. */
const patience = { timeout: 180_000 };

describe.each(['sotw', 'delta'] as const)('a pod is deleted, %s xDS', (xds) => {
  let mesh: TestMesh;

  beforeAll(async () => {
    const calls = [{ to: cart, protocol: 'http' }] as const;
    mesh = await TestMesh.start({
      xds,
      pods: [
        { pod: cart, serves: ['http'] },
        { pod: web, calls },
        { pod: other, calls },
      ],
      policies: { cart: allowAll('shop/cart', 'cart') },
    });
  });
  afterAll(async () => mesh.stop());

  async function events(
    from: number,
    wanted: Readonly<Record<string, unknown>>,
  ): Promise<Record<string, unknown>> {
    return await waitFor(
      `${JSON.stringify(wanted)} in the audit log`,
      () =>
        mesh.controlPlane
          .audit()
          .slice(from)
          .find((event) => Object.entries(wanted).every(([key, value]) => event[key] === value)),
      { timeoutMs: 90_000 },
    );
  }

  async function streamsOf(pod: string): Promise<number> {
    return (await mesh.connected()).filter((stream) => stream.pod === pod).length;
  }

  it('its streams end, it gets no SVID, its valid token opens nothing; others go on', patience, async () => {
    const others = await streamsOf(other);
    expect(await streamsOf(web)).toBeGreaterThan(0);
    const seen = mesh.controlPlane.audit().length;
    mesh.deletePod(web);
    await events(seen, { event: 'svid.refused', actor: web });
    await waitFor('its streams to end', async () => ((await streamsOf(web)) === 0 ? true : undefined));
    const back = mesh.controlPlane.audit().length;
    await events(back, { event: 'workload.refused', actor: web, factor: 'pod' });
    expect(await streamsOf(web)).toBe(0);
    await expect(mesh.controlPlane.ask('renew', '--pod', web)).rejects.toThrow(/no pod shop\/web/u);
    await expect(mesh.token(web)).rejects.toThrow(/no pod shop\/web/u);
    expect(await streamsOf(other)).toBe(others);
    expect((await mesh.call(other)).status).toBe(200);
  });

  it(
    'created again under its name, it is another pod: the old token is refused, a new one is not',
    patience,
    async () => {
      const old = await mesh.envoy(web).serials();
      const seen = mesh.controlPlane.audit().length;
      mesh.createPod(web);
      const refusal = await events(seen, { event: 'workload.refused', actor: web, factor: 'pod' });
      // The first attempt may still have come before the new pod was read.
      if (!String(refusal['detail']).includes('UID')) {
        const later = mesh.controlPlane.audit().length;
        const next = await events(later, { event: 'workload.refused', actor: web, factor: 'pod' });
        expect(next['detail']).toMatch(/uid/iu);
      }
      expect(await streamsOf(web)).toBe(0);

      writeFileSync(mesh.envoy(web).tokenFile, await mesh.token(web));
      await waitFor(
        'a new SVID, with no restart of Envoy',
        async () =>
          (await mesh.envoy(web).serials()).some((serial) => !old.includes(serial)) ? true : undefined,
        { timeoutMs: 90_000 },
      );
      expect((await mesh.call(web)).status).toBe(200);
    },
  );
});
