import { randomInt } from 'node:crypto';
import type { Parameters } from 'fast-check';
import { fromEnvironment } from '../setup/environment.ts';

/** Told to fast-check, and printed: whatever fails is found again by its seed. */
export function budget(what: string): Parameters<unknown> {
  const seed = fromEnvironment('FUZZ_SEED', randomInt(2 ** 31));
  const minutes = fromEnvironment('FUZZ_MINUTES', 0);
  const cases = fromEnvironment('FUZZ_CASES', minutes > 0 ? 2 ** 31 - 1 : 300_000);
  const limit = minutes > 0 ? `FUZZ_MINUTES=${minutes}` : `FUZZ_CASES=${cases}`;
  process.stderr.write(`fuzz of ${what}: FUZZ_SEED=${seed} ${limit}\n`);
  return {
    seed,
    numRuns: cases,
    ...(minutes > 0 && { interruptAfterTimeLimit: minutes * 60_000, markInterruptAsFailure: false }),
  };
}
