import { describe, expect, it } from 'vitest';
import { grantedMs } from './validity.ts';

const bounds = { minMs: 60_000, maxMs: 86_400_000, svidTtlMs: 3_600_000 };

describe('grantedMs', () => {
  it.each([
    ['nothing: the mesh’s', 0, 3_600_000],
    ['the least', 60, 60_000],
    ['less than the mesh’s', 1_800, 1_800_000],
    ['the mesh’s', 3_600, 3_600_000],
    ['more than the mesh’s: cut to it', 3_601, 3_600_000],
    ['the most, which agents ask for', 86_400, 3_600_000],
  ])('grants %s', (_what, seconds, granted) => {
    expect(grantedMs(seconds, bounds)).toBe(granted);
  });

  it.each([59, 1, -1, -3_600, 86_401, 315_360_000, 2 ** 63, -(2 ** 63), Number.NaN])(
    'refuses %d s, and says what is allowed',
    (seconds) => {
      expect(() => grantedMs(seconds, bounds)).toThrow(
        expect.objectContaining({
          field: 'validity',
          message: `validity_duration is ${seconds} s: 60 to 86400 s may be asked for, or 0 for the mesh's 3600 s, which is also the most that is given`,
        }),
      );
    },
  );
});
