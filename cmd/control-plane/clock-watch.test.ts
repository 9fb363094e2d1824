import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { watchForJumps } from './clock-watch.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

it('tells of a clock that was set, or stood still, once; not of one that is corrected little by little', () => {
  let [wall, monotonic] = [1_000_000, 0];
  const jumps: number[] = [];
  const pass = (ms: number, wallMs: number = ms): void => {
    wall += wallMs;
    monotonic += ms;
    vi.advanceTimersByTime(1_000);
  };
  const stop = watchForJumps({
    wallMs: () => wall,
    monotonicMs: () => monotonic,
    clockFault: () => undefined,
    onJump: (byMs) => jumps.push(byMs),
  });
  // An event loop that was held up sees both clocks go on.
  for (const ms of [1_000, 30_000, 1_000]) pass(ms);
  for (let count = 0; count < 10; count += 1) pass(1_000, 1_500);
  expect(jumps).toEqual([]);
  pass(1_000, 3 * 24 * 3_600_000 + 1_000);
  pass(1_000);
  pass(1_000, -59_000);
  expect(jumps).toEqual([3 * 24 * 3_600_000, -60_000]);
  stop();
  pass(1_000, 100_000);
  expect(jumps).toHaveLength(2);
});

it('tells nothing by a clock that is not believed: of one that is right again, what is left; of one that was, nothing', () => {
  let [ahead, fault]: [number, string | undefined] = [0, undefined];
  const jumps: number[] = [];
  const look = (): void => void vi.advanceTimersByTime(1_000);
  const stop = watchForJumps({
    wallMs: () => ahead,
    monotonicMs: () => 0,
    clockFault: () => fault,
    onJump: (byMs) => jumps.push(byMs),
  });
  [ahead, fault] = [7_200_000, 'it is ahead'];
  look();
  look();
  [ahead, fault] = [0, undefined];
  look();
  expect(jumps).toEqual([]);
  [ahead, fault] = [7_200_000, 'it is ahead, as far as is known'];
  look();
  fault = undefined;
  look();
  look();
  expect(jumps).toEqual([7_200_000]);
  stop();
});
