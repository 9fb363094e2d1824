import { beforeEach, describe, expect, it } from 'vitest';
import { slowClock } from './slow-clock.ts';

const HOUR = 3_600_000;
let wallMs: number;
let ticksMs: number;
beforeEach(() => {
  wallMs = Date.UTC(2026, 10, 22, 12);
  ticksMs = 7;
});

function passes(ms: number): void {
  wallMs += ms;
  ticksMs += ms;
}

describe('slowClock', () => {
  it('goes as the clock does that is not set', () => {
    const nowMs = slowClock(
      () => wallMs,
      () => ticksMs,
    );
    passes(HOUR);
    expect(nowMs()).toBe(wallMs);
  });

  it('does not jump forward, be it from the right time or back to it', () => {
    const nowMs = slowClock(
      () => wallMs,
      () => ticksMs,
    );
    const began = nowMs();
    wallMs += 25 * HOUR;
    expect(nowMs()).toBe(began);
    passes(HOUR);
    expect(nowMs()).toBe(began + HOUR);
    wallMs -= 50 * HOUR;
    expect(nowMs()).toBe(wallMs);
    wallMs += 25 * HOUR;
    expect(nowMs()).toBe(began + HOUR - 25 * HOUR);
  });
});
