import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { RotateRootResponse } from '../../src/operator/index.ts';
import { CaFolder } from '../harness/ca-files.ts';
import { Load } from '../harness/http.ts';
import { operatorCa } from '../harness/operator-ca.ts';
import { waitFor } from '../harness/wait.ts';
import { useConnectionsOnce } from './bootstrap-edits.ts';
import { TestMesh } from './mesh.ts';
import { allowAll } from './policies.ts';

const cart = 'shop/cart';
const web = 'shop/web';
const busy = 'shop/busy';
const patience = { timeout: 400_000 };

const folder = mkdtempSync(join(tmpdir(), 'countersign-ca-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function startMesh(flags: readonly string[]): Promise<TestMesh> {
  const calls = [{ to: cart, protocol: 'http' }] as const;
  return await TestMesh.start({
    pods: [
      { pod: cart, serves: ['http'] },
      { pod: web, calls },
      { pod: busy, calls, edit: useConnectionsOnce },
    ],
    policies: { cart: allowAll('shop/cart', 'cart') },
    flags: ['--svid-ttl', '1m', ...flags],
  });
}

async function status(mesh: TestMesh): Promise<RotateRootResponse> {
  return JSON.parse(await mesh.controlPlane.ask('rotate status', '-o', 'json')) as RotateRootResponse;
}

async function readyz(mesh: TestMesh): Promise<string> {
  return await (await fetch(`http://${mesh.controlPlane.admin}/readyz`)).text();
}

async function untilReadyz(mesh: TestMesh, says: RegExp): Promise<void> {
  await waitFor(`readyz to say ${says}`, async () => (says.test(await readyz(mesh)) ? true : undefined), {
    timeoutMs: 30_000,
  });
}

async function expectNoTlsFault(mesh: TestMesh): Promise<void> {
  for (const pod of [cart, web, busy]) {
    const stats = await mesh.envoy(pod).admin('/stats?filter=ssl.(fail_verify|connection_error)');
    expect(stats.split('\n').filter((line) => line !== '' && !line.endsWith(': 0'))).toEqual([]);
  }
}

describe.concurrent("an operator's CA", () => {
  it(
    'signs below an offline root; a bad one is refused, and a renewed one is taken over, while requests go on',
    patience,
    async () => {
      const files = new CaFolder(join(folder, 'renewed'));
      const root = await operatorCa({ name: 'Offline Root', key: 'P-384' });
      const middle = await operatorCa({ name: 'Middle', key: 'P-384', by: root, pathLength: 1 });
      const first = await operatorCa({ name: 'Mesh CA', key: 'RSA-2048', by: middle, pathLength: 0 });
      const good = { signer: first, above: [middle], roots: [root] };
      files.write(good);
      const mesh = await startMesh(files.flags);
      const load = new Load({ ...mesh.wayOut(busy), path: '/items' });
      try {
        expect((await mesh.call(web)).status).toBe(200);
        const { controlPlane } = mesh;
        expect((await status(mesh)).signing?.fingerprint).toBe(
          Buffer.from(await root.certificate.getThumbprint('SHA-256')).toString('hex'),
        );
        expect(await controlPlane.metrics()).toMatch(/certificate_not_after_seconds\{certificate="ca"\} \d/u);

        // Its key is that of another certificate, and then it is readable for everybody.
        files.put('key.pem', middle.keyPem);
        await untilReadyz(mesh, /ca: refused, the one before stays in use: .*its key belongs/u);
        expect(await controlPlane.metrics()).toMatch(/^countersign_ca_refused 1$/mu);
        expect(controlPlane.log).toContain('the CA of the operator was refused');
        expect(controlPlane.audit().at(-1)).toMatchObject({ event: 'ca.refused' });
        await controlPlane.ask('renew', '--pod', web);
        expect((await mesh.call(web)).status).toBe(200);

        const second = await operatorCa({ name: 'Mesh CA', by: middle, pathLength: 0 });
        files.write({ ...good, signer: second });
        await waitFor('the renewed CA', async () =>
          /^countersign_ca_refused 0$/mu.test(await controlPlane.metrics()) ? true : undefined,
        );
        expect(await readyz(mesh)).toBe('ok\n');
        const before = await mesh.envoy(web).serials();
        await controlPlane.ask('renew', '--pod', web);
        await waitFor('an SVID below it', async () =>
          (await mesh.envoy(web).serials()).every((serial) => !before.includes(serial)) ? true : undefined,
        );
        expect((await mesh.call(web)).status).toBe(200);
        expect((await status(mesh)).state).toBe('steady');
        await expectNoTlsFault(mesh);
      } finally {
        await load.stop();
        await mesh.stop();
      }
      expect(load.total).toBeGreaterThan(20);
      expect(load.failed).toBe(0);
    },
  );

  it('gives way to another one, step by step, and no request fails', patience, async () => {
    const files = new CaFolder(join(folder, 'moved'));
    const [one, two] = [await operatorCa({ name: 'One' }), await operatorCa({ name: 'Two', key: 'P-384' })];
    const below = await operatorCa({ name: 'Two Mesh CA', by: two, pathLength: 1 });
    const fingerprints = [one, two].map(async ({ certificate }) =>
      Buffer.from(await certificate.getThumbprint('SHA-256')).toString('hex'),
    );
    const [oneFingerprint, twoFingerprint] = await Promise.all(fingerprints);
    files.write({ signer: one, roots: [one] });
    const mesh = await startMesh(files.flags);
    const loads = [web, busy].map((pod) => new Load({ ...mesh.wayOut(pod), path: '/items' }));
    try {
      expect((await status(mesh)).signing?.fingerprint).toBe(oneFingerprint);
      mesh.envoy(web).freeze();
      files.write({ signer: below, roots: [two] });
      await untilReadyz(mesh, /ca-transition: the CA in .* waits: its root is trusted, and it signs from 2/u);
      const waiting = await status(mesh);
      expect([waiting.state, waiting.signing?.fingerprint, waiting.other?.fingerprint]).toEqual([
        'prepared',
        oneFingerprint,
        twoFingerprint,
      ]);
      expect(waiting.lagging.join()).toContain(`${web} has not acknowledged the bundle yet`);
      mesh.envoy(web).thaw();
      for (const state of ['activated', 'steady']) {
        await waitFor(
          `the rotation to be ${state}`,
          async () => ((await status(mesh)).state === state ? true : undefined),
          { timeoutMs: 150_000, everyMs: 500 },
        );
        expect((await status(mesh)).signing?.fingerprint).toBe(twoFingerprint);
      }
      expect((await status(mesh)).other).toBeNull();

      // Who read the file with the first root once still knows its control plane.
      await mesh.controlPlane.restart();
      for (const pod of [cart, web, busy]) {
        await waitFor(
          `${pod} to be back`,
          async () =>
            (await mesh.connected()).some((proxy) => proxy.pod === pod && proxy.serial !== '')
              ? true
              : undefined,
          { timeoutMs: 60_000 },
        );
      }
      await expectNoTlsFault(mesh);
      const steps = mesh.controlPlane.audit().filter(({ event }) => event === 'root.rotated');
      expect(steps.map(({ actor, step }) => [actor, step])).toEqual([
        ['ca', 'prepare'],
        ['ca', 'activate'],
        ['ca', 'retire'],
      ]);
    } finally {
      mesh.envoy(web).thaw();
      await Promise.all(loads.map((load) => load.stop()));
      await mesh.stop();
    }
    for (const { total } of loads) expect(total).toBeGreaterThan(50);
    // What was asked of a frozen Envoy waits, and is answered later.
    expect(loads.map(({ failed }) => failed)).toEqual([0, 0]);
  });
});
