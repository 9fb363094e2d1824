import { randomInt } from 'node:crypto';
import { describe, it } from 'vitest';
import { fromEnvironment } from '../setup/environment.ts';
import { proveEqual } from './proof.ts';

const seed = fromEnvironment('EQUALITY_SEED', randomInt(2 ** 32));
const pairs = fromEnvironment('EQUALITY_PAIRS', 200_000);

describe('Envoy and the evaluator agree', () => {
  it(`on ${pairs} generated pairs (EQUALITY_SEED=${seed})`, async () => {
    process.stderr.write(`equality: EQUALITY_SEED=${seed} EQUALITY_PAIRS=${pairs}\n`);
    await proveEqual(seed, pairs);
  });
});
