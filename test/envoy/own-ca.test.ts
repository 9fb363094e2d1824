import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { CaFolder } from '../harness/ca-files.ts';
import { Load } from '../harness/http.ts';
import { operatorCa, type OperatorCa } from '../harness/operator-ca.ts';
import { waitFor } from '../harness/wait.ts';
import { busy, cart, loadsOf, rotationOf, startCartMesh, web } from './cart-mesh.ts';
import type { TestMesh } from './mesh.ts';

const patience = { timeout: 400_000 };

const folder = mkdtempSync(join(tmpdir(), 'countersign-ca-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const startMesh = async (flags: readonly string[]): Promise<TestMesh> =>
  await startCartMesh('--svid-ttl', '1m', ...flags);

async function fingerprintOf({ certificate }: OperatorCa): Promise<string> {
  return Buffer.from(await certificate.getThumbprint('SHA-256')).toString('hex');
}

async function reaches(mesh: TestMesh, state: string): Promise<void> {
  await waitFor(
    `the rotation to be ${state}`,
    async () => ((await rotationOf(mesh)).state === state ? true : undefined),
    { timeoutMs: 150_000, everyMs: 500 },
  );
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
        expect((await rotationOf(mesh)).signing?.fingerprint).toBe(
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
        expect((await rotationOf(mesh)).state).toBe('steady');
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
    const [oneFingerprint, twoFingerprint] = [await fingerprintOf(one), await fingerprintOf(two)];
    files.write({ signer: one, roots: [one] });
    const mesh = await startMesh(files.flags);
    const loads = loadsOf(mesh);
    try {
      expect((await rotationOf(mesh)).signing?.fingerprint).toBe(oneFingerprint);
      mesh.envoy(web).freeze();
      files.write({ signer: below, roots: [two] });
      await untilReadyz(mesh, /ca-transition: the CA in .* waits: its root is trusted, and it signs from 2/u);
      const waiting = await rotationOf(mesh);
      expect([waiting.state, waiting.signing?.fingerprint, waiting.other?.fingerprint]).toEqual([
        'prepared',
        oneFingerprint,
        twoFingerprint,
      ]);
      expect(waiting.lagging.join()).toContain(`${web} has not acknowledged the bundle yet`);
      mesh.envoy(web).thaw();
      for (const state of ['activated', 'steady']) {
        await reaches(mesh, state);
        expect((await rotationOf(mesh)).signing?.fingerprint).toBe(twoFingerprint);
      }
      expect((await rotationOf(mesh)).other).toBeNull();

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
    expect(loads.map(({ failed }) => failed)).toEqual(loads.map(() => 0));
  });

  it('gives way to another one over HTTP/2 and TCP too, with a kill after each step', patience, async () => {
    const files = new CaFolder(join(folder, 'killed'));
    const [one, two] = [await operatorCa({ name: 'One' }), await operatorCa({ name: 'Two' })];
    const second = await fingerprintOf(two);
    files.write({ signer: one, roots: [one] });
    const mesh = await startMesh(files.flags);
    const { controlPlane } = mesh;
    const loads = loadsOf(mesh);
    try {
      files.write({ signer: two, roots: [two] });
      await reaches(mesh, 'prepared');
      await waitFor('every Envoy to trust the new root', async () =>
        (await rotationOf(mesh)).lagging.length === 0 ? true : undefined,
      );
      // All that is left is the new CA: it signs at once, and all trust it.
      await controlPlane.crash();
      expect(controlPlane.log).toContain('so the next one signs at once');
      expect(await rotationOf(mesh)).toMatchObject({ state: 'activated', signing: { fingerprint: second } });
      await waitFor(
        'every Envoy to be back',
        async () => (new Set((await mesh.connected()).map(({ pod }) => pod)).size === 3 ? true : undefined),
        { timeoutMs: 60_000 },
      );
      await controlPlane.crash();
      expect(await rotationOf(mesh)).toMatchObject({ state: 'activated', signing: { fingerprint: second } });
      await reaches(mesh, 'steady');
      await controlPlane.crash();
      expect(await rotationOf(mesh)).toMatchObject({
        state: 'steady',
        signing: { fingerprint: second },
        other: null,
      });
      await expectNoTlsFault(mesh);
    } finally {
      await Promise.all(loads.map((load) => load.stop()));
      await mesh.stop();
    }
    for (const { total } of loads) expect(total).toBeGreaterThan(50);
    expect(loads.map(({ failed }) => failed)).toEqual(loads.map(() => 0));
  });

  it('is left alone after it was taken back, by the process after a kill too', patience, async () => {
    const files = new CaFolder(join(folder, 'taken-back'));
    const first = await operatorCa({ name: 'One' });
    const mesh = await startMesh([]);
    const { controlPlane } = mesh;
    try {
      const before = (await rotationOf(mesh)).signing?.fingerprint;
      files.write({ signer: first, roots: [first] });
      await controlPlane.restartWith(files.flags);
      await reaches(mesh, 'prepared');
      await controlPlane.ask('rotate abort');
      await untilReadyz(mesh, /ca-transition: .* was taken back/u);
      await controlPlane.crash();
      await untilReadyz(mesh, /ca-transition: .* was taken back/u);
      expect(await rotationOf(mesh)).toMatchObject({ state: 'steady', signing: { fingerprint: before } });
      const steps = controlPlane.audit().filter(({ event }) => event === 'root.rotated');
      expect(steps.map(({ actor, step }) => [actor, step])).toEqual([
        ['ca', 'prepare'],
        ['operator', 'abort'],
      ]);
    } finally {
      await mesh.stop();
    }
  });
});
