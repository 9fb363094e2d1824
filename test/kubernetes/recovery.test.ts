import { readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Authority, memoryKeyStore, serializeStored } from '../../src/authority/index.ts';
import { TrustDomain } from '../../src/identity/index.ts';
import type { CheckExpiryResponse, RotateRootResponse } from '../../src/operator/index.ts';
import { TestControlPlane } from '../harness/control-plane.ts';
import { countersign, root } from '../harness/paths.ts';
import { run } from '../harness/process.ts';
import { waitFor } from '../harness/wait.ts';
import { home, KubernetesWorld } from './world.ts';

let world: KubernetesWorld;
const controlPlanes: TestControlPlane[] = [];
beforeAll(async () => {
  world = await KubernetesWorld.start();
});
afterAll(async () => {
  await Promise.all(controlPlanes.map((controlPlane) => controlPlane.stop()));
  await world.dispose();
});

/** As a control plane keeps it, of a root that ended a while ago. */
async function endedState(): Promise<string> {
  const store = memoryKeyStore();
  const authority = await Authority.open({
    store,
    trustDomain: TrustDomain.parse('cluster.local'),
    nowMs: () => Date.now() - 3_600_000,
    svidTtlMs: 60_000,
    rootTtlMs: 1_800_000,
  });
  authority.close();
  const state = await store.load();
  if (state === undefined) throw new Error('nothing was kept');
  return serializeStored(state);
}

it(
  'begins anew in the Secret as docs/recovery.md says, and replicas start',
  { timeout: 200_000 },
  async () => {
    await world.apply({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'countersign-root', namespace: home },
      type: 'countersign.dev/root',
      stringData: { 'authority.json': await endedState() },
    });
    const options = { kubeconfig: world.kubeconfig, dataDir: join(world.cluster.folder, 'data') };
    const ports = ['--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0'];
    const flags = ['--kubeconfig', options.kubeconfig, '--data-dir', options.dataDir];
    const refused = await run(countersign, ['control-plane', ...flags, ...ports]);
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining('countersign recover')]);

    const page = readFileSync(`${root}docs/recovery.md`, 'utf8');
    const [line = ''] = /^countersign recover --kubeconfig .*$/mu.exec(page) ?? [];
    symlinkSync(world.kubeconfig, join(world.cluster.folder, 'kubeconfig'));
    const script = 'cd "$1" && PATH="$2:$PATH" && eval "$3"';
    const inShell = ['-c', script, 'sh', world.cluster.folder, dirname(countersign), line];
    const done = await run('sh', inShell);
    expect([done.code, done.stderr]).toEqual([0, '']);
    expect(done.stdout).toMatch(/is replaced by a new one.*bundle number 2/u);
    expect(readdirSync(join(world.cluster.folder, 'recovery', 'authority'))).toContainEqual(
      expect.stringMatching(/^before-recovery-/u),
    );

    // With the copy of the former root in its data directory.
    const controlPlane = await TestControlPlane.start(options);
    controlPlanes.push(controlPlane);
    const { signing } = JSON.parse(
      await controlPlane.ask('rotate status', '-o', 'json'),
    ) as RotateRootResponse;
    expect(done.stdout).toContain(signing?.fingerprint.slice(0, 16));
    const { links } = JSON.parse(await controlPlane.ask('doctor', '-o', 'json')) as CheckExpiryResponse;
    expect(links.map(({ kind }) => kind).toSorted()).toEqual([
      'intermediate',
      'root',
      'serving',
      'token-keys',
    ]);
    await waitFor('the bundle in every namespace', async () => {
      const { stdout } = await world.cluster.kubectl(
        ['get', 'configmap', '-n', 'default', 'countersign-trust-bundle', '-o', 'yaml'],
        '',
      );
      return stdout.includes('spiffe_sequence": 2') ? true : undefined;
    });
    expect((await run('sh', inShell)).stderr).toContain('countersign rotate');
  },
);
