import { median } from './statistics.ts';

export interface RatePair {
  /** Operations per CPU second; medians of the rounds. */
  readonly value: number;
  readonly limit: number;
  /** Median of the rounds' ratios. */
  readonly ofLimit: number;
}

export interface Rounds {
  readonly rounds: number;
  readonly roundMs: number;
  /** How often an operation is done between two looks at the clock: more often, the shorter it takes. */
  readonly batch?: number;
  /** How many operations one call of the product is. Default 1. */
  readonly perCall?: number;
}

/**
 * Two operations, measured in turns of `roundMs` of this process's CPU time (its garbage collection included), so
 * that what disturbs the machine disturbs both.
 */
export function compareRates(
  limit: () => void,
  product: () => void,
  { rounds, roundMs, batch = 16, perCall = 1 }: Rounds,
): RatePair {
  const pairs: { value: number; limit: number }[] = [];
  // The first round warms both up, and does not count.
  for (let round = 0; round <= rounds; round += 1) {
    const pair = {
      limit: rate(limit, roundMs, batch),
      value: rate(product, roundMs, Math.ceil(batch / perCall)) * perCall,
    };
    if (round > 0) pairs.push(pair);
  }
  return {
    value: median(pairs.map(({ value }) => value)),
    limit: median(pairs.map((pair) => pair.limit)),
    ofLimit: median(pairs.map((pair) => pair.value / pair.limit)),
  };
}

/** How often an operation is done in a second of this process's CPU time. */
export function rate(operation: () => void, roundMs: number, batch = 16): number {
  const start = process.cpuUsage();
  let done = 0;
  let spentMicros = 0;
  do {
    for (let at = 0; at < batch; at += 1) operation();
    done += batch;
    const { user, system } = process.cpuUsage(start);
    spentMicros = user + system;
  } while (spentMicros < roundMs * 1_000);
  return (done * 1_000_000) / spentMicros;
}
