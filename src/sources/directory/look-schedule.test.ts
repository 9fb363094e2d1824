import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { LookSchedule } from './look-schedule.ts';
import type { LookRequest } from './look-schedule.ts';

let looks: LookRequest[];
let finish: (() => void)[];

beforeEach(() => {
  vi.useFakeTimers();
  looks = [];
  finish = [];
});

afterEach(() => {
  vi.useRealTimers();
});

function newSchedule(): LookSchedule {
  const look = (request: LookRequest): Promise<void> => {
    looks.push(request);
    return new Promise((resolve) => {
      finish.push(resolve);
    });
  };
  return new LookSchedule(look, 1000);
}

describe('LookSchedule', () => {
  it('gathers what is asked for at once into one look', async () => {
    const schedule = newSchedule();
    schedule.soon('a');
    schedule.soon('b');
    expect(looks).toEqual([]);
    await vi.advanceTimersByTimeAsync(2);
    expect(looks).toEqual([new Set(['a', 'b'])]);
  });

  it('is not put off by events that keep coming', async () => {
    const schedule = newSchedule();
    for (let ms = 0; ms < 3; ms += 1) {
      schedule.soon(`file-${ms}`);
      await vi.advanceTimersByTimeAsync(1);
    }
    expect(looks).toHaveLength(1);
  });

  it('never has two looks at once: what comes meanwhile is done next, `all` taking in the rest', async () => {
    const schedule = newSchedule();
    schedule.soon('a');
    await vi.advanceTimersByTimeAsync(2);
    schedule.soon('b');
    schedule.soon('all');
    schedule.soon('c');
    await vi.advanceTimersByTimeAsync(50);
    expect(looks).toHaveLength(1);
    finish[0]?.();
    await vi.advanceTimersByTimeAsync(0);
    expect(looks).toEqual([new Set(['a']), 'all']);
  });

  it('looks at all by itself now and then, and again at what is not settled', async () => {
    const schedule = newSchedule();
    schedule.whenSettled('a');
    await vi.advanceTimersByTimeAsync(10);
    finish[0]?.();
    await vi.advanceTimersByTimeAsync(992);
    expect(looks).toEqual([new Set(['a']), 'all']);
  });

  it('looks later at what is to be looked at later', async () => {
    const schedule = newSchedule();
    schedule.later('a', 500);
    await vi.advanceTimersByTimeAsync(499);
    expect(looks).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(looks).toEqual([new Set(['a'])]);
  });

  it('ends with close, once the look under way has ended', async () => {
    const schedule = newSchedule();
    schedule.soon('a');
    await vi.advanceTimersByTimeAsync(2);
    schedule.soon('b');
    let closed = false;
    const closing = (async (): Promise<void> => {
      await schedule.close();
      closed = true;
    })();
    await vi.advanceTimersByTimeAsync(5000);
    expect(closed).toBe(false);
    finish[0]?.();
    await closing;
    schedule.soon('c');
    await vi.advanceTimersByTimeAsync(5000);
    expect(looks).toEqual([new Set(['a'])]);
  });
});
