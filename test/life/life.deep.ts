import { afterEach, expect, it } from 'vitest';
import { Life } from './life.ts';

const hour = 3_600_000;
const day = 24 * hour;

let life: Life | undefined;
afterEach(() => {
  life?.close();
  life = undefined;
});

it('for a year, over twelve rotations by age, nobody holds an SVID that a peer refuses', async () => {
  life = await Life.start({
    seed: Number(process.env['LIFE_SEED'] ?? 1),
    workloads: 24,
    replicas: 3,
    svidTtlMs: 6 * hour,
    rootTtlMs: 90 * day,
    rotateAtAgeMs: 30 * day,
  });
  await life.live(365 * day);
  expect(life.faults).toEqual([]);
  const steps = life.replicas.flatMap((replica) => replica.steps);
  expect(steps.filter((step) => step === 'retire').length).toBeGreaterThanOrEqual(11);
  expect(life.issued.length).toBeGreaterThan(50_000);
});
