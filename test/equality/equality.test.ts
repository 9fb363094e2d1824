import { describe, it } from 'vitest';
import { fromEnvironment } from '../setup/environment.ts';
import { proveEqual } from './proof.ts';

const seed = fromEnvironment('EQUALITY_SEED', 20_261_122);
const pairs = fromEnvironment('EQUALITY_PAIRS', 5_000);

describe('Envoy and the evaluator agree', () => {
  it(`on ${pairs} generated pairs: verdict, deciding rule, AUDIT, shadow (EQUALITY_SEED=${seed})`, async () => {
    await proveEqual(seed, pairs);
  }, 3_600_000);
});
