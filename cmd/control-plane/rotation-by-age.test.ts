import { describe, expect, it } from 'vitest';
import { Authority, memoryKeyStore, type RotationStep } from '../../src/authority/index.ts';
import { SpiffeId, TrustDomain, verifySvid } from '../../src/identity/index.ts';
import { dueStep, type RotationByAge } from './rotation-by-age.ts';

const td = TrustDomain.parse('example.org');
const id = SpiffeId.workload(td, 'shop', 'web');
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

async function world(svidTtlMs: number = HOUR_MS): Promise<{
  readonly authority: Authority;
  readonly clock: { nowMs: number };
  readonly parts: RotationByAge;
  readonly take: (step: RotationStep) => Promise<void>;
  readonly behind: Set<string>;
}> {
  const clock = { nowMs: Date.UTC(2026, 10, 22) };
  const authority = await Authority.open({
    store: memoryKeyStore(),
    trustDomain: td,
    nowMs: () => clock.nowMs,
    svidTtlMs,
  });
  const steps: Record<RotationStep, () => Promise<void>> = {
    prepare: () => authority.prepareRotation(),
    activate: () => authority.activateRotation(),
    retire: () => authority.retireRotation(),
    abort: () => authority.abortRotation(),
  };
  const behind = new Set<string>();
  const parts: RotationByAge = {
    ageMs: 30 * DAY_MS,
    settleMs: svidTtlMs,
    nowMs: () => clock.nowMs,
    state: () => authority.rotation,
    lagging: (step) =>
      step === 'retire' && clock.nowMs < (authority.rotation.otherEndsMs ?? 0)
        ? [...behind, 'SVIDs live']
        : [...behind],
  };
  return { authority, clock, parts, behind, take: (step) => steps[step]() };
}

describe('a root is replaced by its age', () => {
  it('waits for the age, then for the life of an SVID, then for those who lag, then for the last SVID', async () => {
    const { authority, clock, parts, behind, take } = await world();
    expect(dueStep(parts)).toBeUndefined();
    clock.nowMs += 30 * DAY_MS;
    expect(dueStep(parts)).toBe('prepare');
    await take('prepare');
    expect(dueStep(parts)).toBeUndefined();
    clock.nowMs += HOUR_MS;
    behind.add('shop/web');
    expect(dueStep(parts)).toBeUndefined();
    behind.clear();
    expect(dueStep(parts)).toBe('activate');
    authority.issue(id);
    await take('activate');
    expect(dueStep(parts)).toBeUndefined();
    clock.nowMs += HOUR_MS;
    expect(dueStep(parts)).toBe('retire');
    await take('retire');
    expect(dueStep(parts)).toBeUndefined();
  });

  it('leaves a rotation alone that somebody took back: the younger root no longer signs', async () => {
    const { clock, parts, take } = await world();
    await take('prepare');
    clock.nowMs += HOUR_MS;
    // Prepared by hand, while the root that signs is young.
    expect(dueStep(parts)).toBeUndefined();
  });

  it('over a year, never leaves an SVID that lives without its root', async () => {
    const { authority, clock, parts, take } = await world(12 * HOUR_MS);
    let steps = 0;
    let living = [authority.issue(id)];
    for (let turn = 0; turn < 4 * 365; turn += 1) {
      clock.nowMs += 6 * HOUR_MS;
      const step = dueStep(parts);
      if (step !== undefined) {
        await take(step);
        steps += 1;
      }
      living = [...living.filter(({ notAfterMs }) => clock.nowMs < notAfterMs), authority.issue(id)];
      if (turn % 10 === 0 || step !== undefined) {
        for (const { chain } of living)
          verifySvid({ chain, bundles: () => authority.bundle, nowMs: clock.nowMs });
      }
    }
    // Prepared, activated and retired eleven or twelve times.
    expect(steps).toBeGreaterThanOrEqual(33);
  }, 60_000);
});
