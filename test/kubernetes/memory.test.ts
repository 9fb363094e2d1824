import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiServer, openAccess } from '../../src/kubernetes/index.ts';
import { Mesh } from '../../src/mesh/index.ts';
import { KubernetesSource } from '../../src/sources/kubernetes/index.ts';
import { at } from '../cluster/api-client.ts';
import { waitFor } from '../harness/wait.ts';
import { controlPlaneAccount, KubernetesWorld } from './world.ts';

const count = 5_000;
/** Of them. */
const changedCount = 500;
const atOnce = 32;
/** A pod as the API server tells of it has about 11 KiB as JSON, and more as objects; what is used of it, half of one. */
const mostBytesPerPod = 4 * 1_024;
const monotonicMs = (): number => performance.now();
const env = Array.from({ length: 30 }, (_, index) => ({
  name: `SETTING_${index}`,
  value: `what the application is told about setting ${index}`,
}));
const containers = ['app', 'helper'].map((name) => ({ name, image: `registry.example.com/${name}:1`, env }));

let world: KubernetesWorld;
let folder: string;
let api: ApiServer;
let source: KubernetesSource;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'countersign-memory-'));
  world = await KubernetesWorld.start();
  const { cluster } = world;
  await cluster.make.namespace('shop');
  await each(count, async (name, index) => {
    const labels = { app: `app-${index % 50}` };
    await cluster.make.pod({ namespace: 'shop', name, labels, containers });
  });
}, 180_000);
afterAll(async () => {
  await source?.close();
  await api?.close();
  await world?.dispose();
  rmSync(folder, { recursive: true, force: true });
});

/** The first so many pods, some at a time. */
async function each(many: number, act: (name: string, index: number) => Promise<void>): Promise<void> {
  const waiting = Array.from({ length: many }, (_, index) => index).values();
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (const index of waiting) await act(`pod-${index}`, index);
    }),
  );
}

/** Of objects and buffers, after a full garbage collection. */
function heapBytes(): number {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

describe('what is held of 5,000 pods', () => {
  it('is what is used of them, when they were listed and when they have changed', async () => {
    const { cluster } = world;
    const mesh = new Mesh({ rootNamespace: 'countersign-system' });
    api = new ApiServer({ access: openAccess(await cluster.kubeconfigOf(controlPlaneAccount), monotonicMs) });
    const before = heapBytes();
    source = await KubernetesSource.open({
      api,
      mesh,
      random: Math.random,
      monotonicMs,
      rootNamespace: 'countersign-system',
      stateFile: join(folder, 'mesh.json'),
      onReport: () => {},
    });
    expect(mesh.count('Pod')).toBe(count);
    const pod = JSON.stringify(await cluster.operator.get(at('pods', 'shop', 'pod-0')));
    expect(pod.length).toBeGreaterThan(mostBytesPerPod);
    const listed = heapBytes();
    expect((listed - before) / count).toBeLessThan(mostBytesPerPod);

    await each(changedCount, async (name) => {
      await cluster.operator.merge(at('pods', 'shop', name), { metadata: { labels: { seen: 'again' } } });
    });
    await waitFor('every change', () =>
      mesh.list('Pod').filter(({ labels }) => labels['seen'] === 'again').length === changedCount
        ? true
        : undefined,
    );
    expect((heapBytes() - listed) / changedCount).toBeLessThan(mostBytesPerPod);
  }, 120_000);
});
