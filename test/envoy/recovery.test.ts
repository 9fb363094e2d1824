import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Authority, directoryKeyStore } from '../../src/authority/index.ts';
import { TrustDomain } from '../../src/identity/index.ts';
import type { CheckExpiryResponse } from '../../src/operator/index.ts';
import { countersign } from '../harness/paths.ts';
import { run } from '../harness/process.ts';
import { waitFor } from '../harness/wait.ts';
import { useConnectionsOnce } from './bootstrap-edits.ts';
import { TestMesh, trustDomain } from './mesh.ts';
import { allowAll } from './policies.ts';

const cart = 'shop/cart';
const web = 'shop/web';
/** Long enough for a mesh to start on two busy cores. */
const rootSeconds = 60;

async function makeShortRoot(dataDir: string): Promise<void> {
  const authority = await Authority.open({
    store: directoryKeyStore(join(dataDir, 'authority')),
    trustDomain: TrustDomain.parse(trustDomain),
    nowMs: Date.now,
    svidTtlMs: 3_600_000,
    rootTtlMs: rootSeconds * 1_000,
  });
  authority.close();
}

async function untilCalls(mesh: TestMesh, status: number): Promise<void> {
  await waitFor(
    `calls to be answered with ${status}`,
    async () => ((await mesh.call(web)).status === status ? true : undefined),
    { timeoutMs: 100_000, everyMs: 500 },
  );
}

async function doctor({ controlPlane }: TestMesh): Promise<{ code: number | null; due: readonly string[] }> {
  const { code, stdout } = await controlPlane.tryToAsk('doctor', '-o', 'json');
  const { links } = JSON.parse(stdout) as CheckExpiryResponse;
  return {
    code,
    due: links.filter(({ state }) => state !== 'ok').map(({ kind, state }) => `${kind} ${state}`),
  };
}

async function readiness({ controlPlane }: TestMesh): Promise<string> {
  const answer = await fetch(`http://${controlPlane.admin}/readyz`);
  return `${answer.status} ${await answer.text()}`;
}

it('a mesh whose root has ended comes back, stopped or running', { timeout: 400_000 }, async () => {
  const mesh = await TestMesh.start({
    pods: [
      { pod: cart, serves: ['http'] },
      { pod: web, calls: [{ to: cart, protocol: 'http' }], edit: useConnectionsOnce },
    ],
    policies: { cart: allowAll('shop/cart', 'cart') },
    prepare: makeShortRoot,
  });
  const { controlPlane } = mesh;
  try {
    await untilCalls(mesh, 200);
    expect((await doctor(mesh)).due).toContain('root soon');
    expect(await readiness(mesh)).toMatch(/^200 ok\nexpiry: root /u);

    await untilCalls(mesh, 503);
    await waitFor('readiness', async () => ((await readiness(mesh)).startsWith('503') ? true : undefined));
    expect(await readiness(mesh)).toMatch(/expiry: nothing can be signed.*countersign rotate prepare/u);
    const ended = await doctor(mesh);
    expect(ended.code).toBe(1);
    expect(ended.due).toEqual(
      expect.arrayContaining(['root expired', 'intermediate expired', 'serving expired', 'svid expired']),
    );
    expect((await controlPlane.tryToAsk('recover')).stderr).toMatch(/countersign rotate, or stop it first/u);

    await controlPlane.stop();
    const args = [
      '--directory',
      mesh.manifests,
      '--data-dir',
      controlPlane.dataDir,
      '--listen',
      '127.0.0.1:0',
    ];
    const refused = await run(countersign, [
      'control-plane',
      ...args,
      '--admin',
      '127.0.0.1:0',
      '--trust-domain',
      trustDomain,
    ]);
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining('countersign recover')]);
    expect(await doctor(mesh)).toEqual({ code: 1, due: ['root expired'] });

    const before = readFileSync(controlPlane.bundle, 'utf8');
    const again = ['--root-ttl', `${rootSeconds}s`, '--audit-log', controlPlane.auditLog];
    const told = await controlPlane.ask('recover', ...again);
    expect(told).toMatch(/is replaced by a new one.*bundle number 2/u);
    expect(readFileSync(controlPlane.bundle, 'utf8')).not.toBe(before);
    expect(controlPlane.audit().at(-1)).toMatchObject({ event: 'root.recovered', root: 'new' });
    await controlPlane.restart();
    for (const pod of [cart, web]) {
      await mesh.envoy(pod).stop();
      await mesh.startSidecar(pod);
    }
    await untilCalls(mesh, 200);

    // The same again, while the control plane runs: streams that are open carry the new root.
    await untilCalls(mesh, 503);
    await controlPlane.ask('rotate prepare');
    await waitFor(
      'the new root to sign',
      async () => ((await controlPlane.tryToAsk('rotate activate')).code === 0 ? true : undefined),
      { timeoutMs: 30_000, everyMs: 500 },
    );
    await untilCalls(mesh, 200);
    await waitFor('readiness', async () => ((await readiness(mesh)).startsWith('200') ? true : undefined));
  } finally {
    await mesh.stop();
  }
});
