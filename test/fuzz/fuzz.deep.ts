import { randomInt } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fromEnvironment } from '../setup/environment.ts';
import { throughAll } from './invariants.ts';
import { large } from './large.ts';
import { texts } from './texts.ts';

/** Far above what any of them takes; what grows with the square of its size takes far longer. Milliseconds. */
const CEILING_MS = 60_000;

const seed = fromEnvironment('FUZZ_SEED', randomInt(2 ** 31));
const cases = fromEnvironment('FUZZ_CASES', 300_000);

describe('any YAML at all', () => {
  it(`${cases} texts (FUZZ_SEED=${seed}) neither throw nor compile to more than they say`, () => {
    process.stderr.write(`fuzz: FUZZ_SEED=${seed} FUZZ_CASES=${cases}\n`);
    fc.assert(
      fc.property(texts(), (text) => {
        throughAll(text);
      }),
      { seed, numRuns: cases },
    );
  });

  it.each(large())(
    'no end of %s is read or refused',
    (_name, text) => {
      const begun = performance.now();
      throughAll(text());
      expect(performance.now() - begun).toBeLessThan(CEILING_MS);
    },
    2 * CEILING_MS,
  );
});
