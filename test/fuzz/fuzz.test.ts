import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { throughAll } from './invariants.ts';
import { SEEDS } from './seeds.ts';
import { texts } from './texts.ts';

describe('any YAML at all', () => {
  it('its seeds are good policies', () => {
    const outcomes = SEEDS.map((text) => throughAll(text));
    expect(outcomes.reduce((sum, { policies }) => sum + policies, 0)).toBeGreaterThan(5);
  });

  it('never throws, and never compiles to more than it says', () => {
    let policies = 0;
    let refused = 0;
    const property = fc.property(texts(), (text) => {
      const outcome = throughAll(text);
      policies += outcome.policies;
      refused += outcome.refused;
    });
    fc.assert(property, { seed: 4, numRuns: 2_000 });
    // Texts that never get past the parser would prove nothing.
    expect(Math.min(policies, refused)).toBeGreaterThan(100);
  }, 120_000);
});
