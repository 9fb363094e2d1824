import { afterEach, expect, it } from 'vitest';
import { Life, type LifeOptions } from './life.ts';

const second = 1_000;
const hour = 3_600 * second;
const day = 24 * hour;

const small: LifeOptions = {
  seed: 7,
  workloads: 6,
  replicas: 2,
  svidTtlMs: 2 * hour,
  rootTtlMs: 10 * day,
  rotateAtAgeMs: 4 * day,
};

let life: Life | undefined;
afterEach(() => {
  life?.close();
  life = undefined;
});

it(
  'for two weeks, over rotations by age, nobody holds an SVID that a peer refuses',
  { timeout: 300_000 },
  async () => {
    life = await Life.start(small);
    await life.live(14 * day);
    expect(life.faults).toEqual([]);
    const steps = life.replicas.flatMap((replica) => replica.steps);
    expect(steps.filter((step) => step === 'retire')).toHaveLength(3);
    expect(life.returned).toBeGreaterThan(100);
    expect(life.issued.length).toBeGreaterThan(1_000);
    expect(life.checks).toBeGreaterThan(10_000);
  },
);

it('finds who lacks a root where the steps of a rotation wait for nobody', { timeout: 200_000 }, async () => {
  life = await Life.start({ ...small, workloads: 24, rotateAtAgeMs: day, hasty: true });
  await life.live(3 * day);
  expect(life.faults.join()).toMatch(/w\d+ by bundle \d: IdentityError: No root/u);
});

it(
  'days that no timer saw: all is renewed at once, what ends first before the others',
  { timeout: 200_000 },
  async () => {
    life = await Life.start({ ...small, replicas: 1, workloads: 24, watchesClock: true });
    await life.live(3 * hour, 10 * second);
    const held = life.sidecars.map(({ svid }) => svid);
    const before = life.issued.length;
    life.jump(3 * day);
    await life.live(second, second);
    const renewed = life.issued.slice(before);
    expect(new Set(renewed.map(({ former }) => former?.serial))).toEqual(
      new Set(held.map((svid) => svid?.serial)),
    );
    // Of some the own timer came in that same second.
    const atMs = renewed.at(-1)?.svid.issuedAtMs;
    const together = renewed.filter(({ svid }) => svid.issuedAtMs === atMs);
    const ends = together.map(({ former }) => former?.notAfterMs ?? 0);
    expect(ends).toEqual(ends.toSorted((a, b) => a - b));
    expect(new Set(ends).size).toBeGreaterThan(5);
    // What is on its way to Envoys, some of which are busy, is there within minutes.
    life.faults.splice(0);
    await life.live(6 * 60 * second, 6 * 60 * second);
    life.faults.splice(0);
    await life.live(3 * hour, 10 * second);
    expect(life.faults).toEqual([]);
  },
);
