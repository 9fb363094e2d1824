import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { endsAt } from './lifetime.ts';

const HOUR = 3_600_000;

describe('endsAt', () => {
  it('spreads the ends over the last fifth, at least the margin before expiry', () => {
    expect(endsAt(0, HOUR, 60_000, 0)).toBe(48 * 60_000);
    expect(endsAt(0, HOUR, 60_000, 0.999999)).toBeCloseTo(59 * 60_000, -3);
  });

  it('takes a smaller margin where little time is left', () => {
    expect(endsAt(1000, 11_000, 60_000, 0)).toBe(9000);
    expect(endsAt(1000, 11_000, 60_000, 0.999999)).toBeLessThanOrEqual(10_000);
  });

  it('lies between now and expiry for any proof, and within what a timer can wait', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1e12 }),
        fc.integer({ min: 0, max: 1e7 }),
        fc.double({ min: 0, max: 0.999999, noNaN: true }),
        (leftMs, marginMs, random) => {
          const ends = endsAt(5000, 5000 + leftMs, marginMs, random);
          expect(ends).toBeGreaterThanOrEqual(5000);
          expect(ends).toBeLessThan(5000 + leftMs);
          expect(ends - 5000).toBeLessThan(2 ** 31);
        },
      ),
    );
  });
});
