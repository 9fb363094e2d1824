import { describe, expect, it } from 'vitest';
import { refreshDelayMs, retryDelayMs } from './schedule.ts';

const schedule = {
  refreshMs: 1_200_000,
  minRefreshMs: 60_000,
  maxRefreshMs: 3_600_000,
  retryMs: 1_000,
  maxRetryMs: 300_000,
};

describe('schedule', () => {
  it('refreshes as the server says, within bounds', () => {
    const delays = [undefined, 0, 600_000, 86_400_000].map((maxAge) => refreshDelayMs(schedule, maxAge, 0.5));
    expect(delays).toEqual([1_200_000, 60_000, 600_000, 3_600_000]);
  });

  it('tries again after twice the time, up to a bound', () => {
    const delays = [1, 2, 3, 9, 10, 5_000].map((failures) => retryDelayMs(schedule, failures, 0.5));
    expect(delays).toEqual([1_000, 2_000, 4_000, 256_000, 300_000, 300_000]);
  });

  it('spreads by a tenth', () => {
    expect([0, 1].map((random) => refreshDelayMs(schedule, undefined, random))).toEqual([
      1_080_000, 1_320_000,
    ]);
    expect(retryDelayMs(schedule, 1, 0)).toBe(900);
  });
});
