import { randomInt } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { fromEnvironment } from '../setup/environment.ts';
import { killReplicas } from './replicas.ts';
import { killWhileRotating } from './standalone.ts';

const seed = fromEnvironment('KILL_SEED', randomInt(2 ** 32));
const kills = fromEnvironment('KILLS', 50);

describe('the control plane is killed while its root rotates', () => {
  it(`${kills} times: one state, every key, every root in use (KILL_SEED=${seed})`, async () => {
    process.stderr.write(`kills: KILL_SEED=${seed} KILLS=${kills}\n`);
    const killed = await killWhileRotating(seed, kills);
    process.stderr.write(`kills: ${JSON.stringify(killed)}\n`);
    if (kills >= 50) {
      expect(killed.cutAndKept + killed.cutAndLost, 'kills in the midst of a step').toBeGreaterThan(10);
      for (const [step, count] of Object.entries(killed.taken)) expect(count, step).toBeGreaterThan(0);
    }
  });
});

describe('one of two replicas is killed while their root rotates', () => {
  const few = Math.ceil(kills / 5);
  it(`${few} times: one root in the Secret, which both follow (KILL_SEED=${seed})`, async () => {
    const taken = await killReplicas(seed, few);
    process.stderr.write(`kills: ${JSON.stringify(taken)}\n`);
  });
});
