import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Authority, directoryKeyStore } from '../../src/authority/index.ts';
import { TrustDomain } from '../../src/identity/index.ts';
import { TestControlPlane } from '../harness/control-plane.ts';
import { countersign, root } from '../harness/paths.ts';
import { freePort } from '../harness/ports.ts';
import { Child, run } from '../harness/process.ts';
import { waitFor } from '../harness/wait.ts';

const page = readFileSync(`${root}docs/recovery.md`, 'utf8');
const blocks = [...page.matchAll(/```sh\n(.*?)```/gsu)].map(([, block = '']) => block);
const [doctor = '', rotate = '', recover = '', start = '', kubernetes = ''] = blocks;

/** Until a root ends, on a machine that is busy. */
const patience = { timeoutMs: 90_000, everyMs: 500 };

let folder: string;
const children: { stop(): Promise<unknown> }[] = [];
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'countersign-docs-'));
});
afterAll(async () => {
  await Promise.all(children.map((child) => child.stop()));
  rmSync(folder, { recursive: true });
});

/** A folder to run the page in, whose root ends after this time; below 0: it has ended. */
async function place(name: string, endsInMs: number): Promise<string> {
  const path = join(folder, name);
  mkdirSync(join(path, 'manifests'), { recursive: true });
  const ttlMs = 60_000;
  const authority = await Authority.open({
    store: directoryKeyStore(join(path, 'data', 'authority')),
    trustDomain: TrustDomain.parse('cluster.local'),
    nowMs: () => Date.now() + endsInMs - ttlMs,
    svidTtlMs: 3_600_000,
    rootTtlMs: ttlMs,
  });
  authority.close();
  return path;
}

/** A block of the page, as it stands there. */
async function inShell(path: string, block: string): ReturnType<typeof run> {
  const script = 'cd "$1" && PATH="$2:$PATH" && set -e && eval "$3"';
  return await run('sh', ['-c', script, 'sh', path, dirname(countersign), block]);
}

describe('docs/recovery.md', () => {
  it('has a way back while the control plane runs', { timeout: 120_000 }, async () => {
    const path = await place('running', 40_000);
    const controlPlane = await TestControlPlane.start({
      directory: join(path, 'manifests'),
      dataDir: join(path, 'data'),
    });
    children.push(controlPlane);
    const before = await inShell(path, doctor);
    expect([before.code, before.stdout]).toEqual([1, expect.stringMatching(/^root .* soon /mu)]);
    const ended = await waitFor(
      'the root to end',
      async () => {
        const asked = await inShell(path, doctor);
        return /^root .* expired /mu.test(asked.stdout) ? asked : undefined;
      },
      patience,
    );
    expect(ended.code).toBe(1);
    expect(ended.stdout).toMatch(/countersign rotate prepare --data-dir \S+data/u);
    expect(await inShell(path, rotate)).toMatchObject({ code: 0, stderr: '' });
    const since = await inShell(path, doctor);
    expect(since.stdout).toMatch(/^root .* ok /mu);
    // What is left to do is named, and can be done.
    const [named = ''] = /countersign rotate retire --data-dir \S+/u.exec(since.stdout) ?? [];
    expect(await inShell(path, named)).toMatchObject({ code: 0, stderr: '' });
    await waitFor('all to be well', async () =>
      (await inShell(path, doctor)).code === 0 ? true : undefined,
    );
    await waitFor('metrics', async () =>
      /^countersign_links_due\{state="expired"\} 0$/mu.test(await controlPlane.metrics()) ? true : undefined,
    );
    expect(await controlPlane.metrics()).toMatch(
      /^countersign_certificate_not_after_seconds\{certificate="serving"\} \d/mu,
    );
  });

  it('has a way back while it is stopped', { timeout: 120_000 }, async () => {
    const path = await place('stopped', -1_000);
    const before = await inShell(path, doctor);
    expect(before).toMatchObject({
      code: 1,
      stderr: 'countersign: no control plane is running on ./data: this is what its files say\n',
    });
    const [named = ''] = /countersign recover --data-dir \S+/u.exec(before.stdout) ?? [];
    expect(recover).toContain(named);
    const done = await inShell(path, recover);
    expect([done.code, done.stderr]).toEqual([0, '']);
    expect(done.stdout).toMatch(/^could be done: .* bundle number 2$/mu);
    expect(readdirSync(join(path, 'data', 'authority')).toSorted()).toEqual([
      'authority.json',
      expect.stringMatching(/^before-recovery-.*\.json$/u),
    ]);
    expect(readFileSync(join(path, 'audit.log'), 'utf8')).toContain('"event":"root.recovered"');
    expect(await inShell(path, recover)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('countersign rotate') as string,
    });

    const admin = `127.0.0.1:${await freePort()}`;
    const ports = `--listen 127.0.0.1:${await freePort()} --admin ${admin}`;
    const line = start.replace('countersign control-plane', `exec countersign control-plane ${ports}`);
    const env = { PATH: `${dirname(countersign)}:${process.env['PATH']}` };
    const child = new Child('control plane', 'sh', ['-ec', `cd ${path}\n${line}`], { env });
    children.push(child);
    await waitFor('the control plane', async () => {
      child.assertRunning();
      return (await fetch(`http://${admin}/readyz`)).status === 200 ? true : undefined;
    });
    expect(await inShell(path, doctor)).toMatchObject({ code: 0, stderr: '' });
  });

  it('has no command but those, and one that test/kubernetes runs', () => {
    expect(blocks).toHaveLength(5);
    expect(kubernetes).toMatch(/^countersign recover --kubeconfig \S+ [^\n]*\n$/u);
  });
});
