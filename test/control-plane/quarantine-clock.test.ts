import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { QuarantineState } from '../../src/operator/index.ts';
import { TestControlPlane } from '../harness/control-plane.ts';
import { root } from '../harness/paths.ts';
import { waitFor } from '../harness/wait.ts';
import { World } from './world.ts';

const HOUR = 3_600_000;
const world = new World('shop/web');
let controlPlane: TestControlPlane;
let clockFile: string;

beforeEach(async () => {
  mkdirSync(world.dataDir, { recursive: true });
  clockFile = join(world.dataDir, 'clock');
  writeFileSync(clockFile, '0');
  controlPlane = await TestControlPlane.start({
    directory: world.manifests,
    dataDir: world.dataDir,
    env: {
      NODE_OPTIONS: `--import=${root}test/kubernetes/shifted-clock.ts`,
      COUNTERSIGN_TEST_CLOCK: clockFile,
    },
  });
});
afterEach(async () => {
  await controlPlane.stop();
  await world.close();
});

async function add(name: string): Promise<QuarantineState & { readonly added: string }> {
  const id = `spiffe://cluster.local/ns/shop/sa/${name}`;
  const args = ['--id', id, '--force', '--reason', 'stolen', '--for', '1h', '-o', 'json'];
  return JSON.parse(await controlPlane.ask('quarantine add', ...args)) as Awaited<ReturnType<typeof add>>;
}

it('standalone, no quarantine ends by a clock that is set forward', { timeout: 60_000 }, async () => {
  const { added } = await add('web');
  writeFileSync(clockFile, String(25 * HOUR));
  // Whatever is decided leaves out what has ended.
  const later = await waitFor('the clock to be ahead', async () => {
    const found = await add('other');
    return Date.parse(found.entries[0]?.added ?? '') > Date.now() + 24 * HOUR ? found : undefined;
  });
  const { entries } = JSON.parse(await controlPlane.ask('quarantine list', '-o', 'json')) as QuarantineState;
  expect(entries.map(({ name }) => name)).toEqual(expect.arrayContaining([added, later.added]));
  expect(controlPlane.audit().filter(({ change }) => change === 'expired')).toEqual([]);
});
