import { beforeEach, describe, expect, it } from 'vitest';
import { ServerClock } from './server-clock.ts';

const HOUR = 3_600_000;
const start = Date.parse('2026-11-22T10:00:00Z');
let passedMs: number;
let setMs: number;
let clock: ServerClock;

beforeEach(() => {
  [passedMs, setMs] = [0, 0];
  clock = new ServerClock({
    wallMs: () => start + passedMs + setMs,
    monotonicMs: () => passedMs,
    mostSkewMs: 60_000,
  });
});

describe('the clock of the API server', () => {
  it('is not known before it has said a date, and nothing is held against ours', () => {
    setMs = 5 * HOUR;
    clock.heard('nonsense');
    expect([clock.skewMs, clock.fault(), clock.laterMs()]).toEqual([0, undefined, start + setMs]);
  });

  it('goes on by itself: ours that jumps is noticed without another answer, and when it is back', () => {
    clock.heard('Sun, 22 Nov 2026 10:00:00 GMT');
    passedMs = HOUR;
    expect(clock.fault()).toBeUndefined();
    setMs = 2 * HOUR;
    expect(clock.fault()).toMatch(
      /^the clock is 7199 s ahead of the API server's, and at most 60 s are allowed/u,
    );
    expect(clock.laterMs()).toBe(start + passedMs + setMs);
    setMs = -2 * HOUR;
    expect(clock.fault()).toMatch(/^the clock is 7200 s behind/u);
    expect(clock.laterMs()).toBe(start + passedMs);
    setMs = 0;
    expect(clock.fault()).toBeUndefined();
  });

  it('may differ by what is allowed, and by the second that a date does not say', () => {
    clock.heard('Sun, 22 Nov 2026 10:00:00 GMT');
    setMs = 61_000;
    expect(clock.fault()).toBeUndefined();
    setMs = 61_001;
    expect(clock.fault()).toBeDefined();
    setMs = -60_000;
    expect(clock.fault()).toBeUndefined();
    setMs = -60_001;
    expect(clock.fault()).toBeDefined();
  });
});
