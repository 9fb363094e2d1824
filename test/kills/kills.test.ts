import { describe, it } from 'vitest';
import { fromEnvironment } from '../setup/environment.ts';
import { killWhileRotating } from './standalone.ts';

const seed = fromEnvironment('KILL_SEED', 20_261_122);

describe('the control plane is killed while its root rotates', () => {
  it(`three times: one state, every key, every root in use (KILL_SEED=${seed})`, async () => {
    await killWhileRotating(seed, 3);
  }, 240_000);
});
