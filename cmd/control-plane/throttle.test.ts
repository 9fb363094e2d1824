import { describe, expect, it } from 'vitest';
import { Throttle } from './throttle.ts';

interface Told {
  readonly what: string;
  readonly leftOut: number;
}

function setUp(): {
  readonly told: Told[];
  readonly throttle: Throttle;
  readonly tell: (origin: string, what: string, weight?: number) => void;
  readonly second: () => boolean;
} {
  const told: Told[] = [];
  let due: (() => void) | undefined;
  const throttle = new Throttle((_delayMs, run) => {
    due = run;
    return (): void => {
      due = undefined;
    };
  });
  return {
    told,
    throttle,
    tell: (origin, what, weight = 1): void =>
      throttle.tell(origin, weight, (leftOut) => told.push({ what, leftOut })),
    second: (): boolean => {
      const run = due;
      due = undefined;
      run?.();
      return run !== undefined;
    },
  };
}

describe('Throttle', () => {
  it('tells the first at once, and of many only a burst', () => {
    const { told, tell } = setUp();
    tell('a', 'first');
    expect(told).toEqual([{ what: 'first', leftOut: 0 }]);
    for (let at = 0; at < 1_000; at += 1) tell('a', 'more');
    expect(told).toHaveLength(20);
    tell('b', 'another');
    expect(told.at(-1)).toEqual({ what: 'another', leftOut: 0 });
  });

  it('then tells one a second, the last, and counts the others', () => {
    const { told, tell, second } = setUp();
    for (let at = 0; at < 20; at += 1) tell('a', 'burst', 7);
    for (const what of ['x', 'y', 'z']) tell('a', what, 7);
    second();
    expect(told.slice(20)).toEqual([{ what: 'z', leftOut: 14 }]);
    tell('a', 'later', 3);
    expect(told).toHaveLength(21);
    second();
    expect(told.slice(21)).toEqual([{ what: 'later', leftOut: 0 }]);
  });

  it('lets an origin that was quiet have its burst again, and then forgets it', () => {
    const { told, tell, second } = setUp();
    for (let at = 0; at < 25; at += 1) tell('a', 'x');
    let seconds = 0;
    while (second()) seconds += 1;
    expect(seconds).toBe(21);
    told.length = 0;
    for (let at = 0; at < 25; at += 1) tell('a', 'x');
    expect(told).toHaveLength(20);
  });

  it('tells or counts everything exactly once, in the end on close', () => {
    const { told, throttle, tell, second } = setUp();
    let weight = 0;
    for (let at = 0; at < 300; at += 1) {
      tell(`origin ${at % 3}`, 'x', 1);
      weight += 1;
      if (at % 50 === 49) second();
    }
    throttle.close();
    expect(told.reduce((sum, { leftOut }) => sum + 1 + leftOut, 0)).toBe(weight);
    expect(second()).toBe(false);
  });

  it('lets origins without number share one allowance', () => {
    const { told, throttle, tell } = setUp();
    for (let at = 0; at < 10_000; at += 1) tell(`origin ${at}`, 'x');
    expect(told).toHaveLength(1_024 + 20);
    throttle.close();
    expect(told.at(-1)).toEqual({ what: 'x', leftOut: 10_000 - 1_024 - 20 - 1 });
  });
});
