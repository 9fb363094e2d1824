import { expect } from 'vitest';
import { Court } from './envoy/court.ts';
import { BATCH_PAIRS, render, tryPairs } from './trial.ts';

/** The share that each kind of outcome has at least: pairs that all end the same way would prove little. */
const LEAST: Readonly<Record<string, number>> = {
  'http ALLOW by rule': 0.05,
  'http DENY by rule': 0.05,
  'http DENY by default': 0.1,
  'http REFUSED': 0.01,
  'http UNAUTHENTICATED': 0.01,
  'ALLOW by rule token': 0.003,
  'tcp ALLOW by rule': 0.001,
  'tcp DENY by rule': 0.005,
  quarantined: 0.01,
  'tcp DENY by rule quarantined': 0.001,
  asked: 0.02,
  metadata: 0.01,
  proxied: 0.02,
  audited: 0.02,
  'shadow differs': 0.03,
  unproven: 0.05,
};

/** Fails with the first mismatch, in its smallest form and with the seed that replays it. */
export async function proveEqual(seed: number, pairs: number): Promise<void> {
  const court = await Court.open();
  try {
    const trial = await tryPairs(court, { seed, pairs, onBatch: (done) => report(done, pairs) });
    if (trial.mismatch !== undefined) expect.fail(render(trial.mismatch, trial.replay));
    expect(trial.pairs).toBeGreaterThanOrEqual(pairs);
    if (pairs < BATCH_PAIRS) return;
    for (const [kind, least] of Object.entries(LEAST)) {
      const seen = [...trial.outcomes].filter(([name]) => name.includes(kind));
      const share = seen.reduce((sum, [, count]) => sum + count, 0) / trial.pairs;
      expect(share, `the share of pairs like "${kind}"`).toBeGreaterThan(least);
    }
  } finally {
    await court.close();
  }
}

function report(done: number, pairs: number): void {
  if (pairs > BATCH_PAIRS) process.stderr.write(`${done} of ${pairs} pairs agree\n`);
}
