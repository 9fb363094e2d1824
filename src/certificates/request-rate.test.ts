import { expect, it } from 'vitest';
import { RequestRate } from './request-rate.ts';

function setup(perMinute: number): { rate: RequestRate; after: (ms: number) => void } {
  let nowMs = 1_000;
  return { rate: new RequestRate({ perMinute, ticks: () => nowMs }), after: (ms) => void (nowMs += ms) };
}

it('lets through a minute’s worth at once, then one share after another, each workload by itself', () => {
  const { rate, after } = setup(6);
  expect(Array.from({ length: 7 }, () => rate.take('a'))).toEqual([0, 0, 0, 0, 0, 0, 10_000]);
  expect(rate.take('b')).toBe(0);
  after(9_999);
  expect(rate.take('a')).toBe(1);
  after(1);
  expect(rate.take('a')).toBe(0);
  expect(rate.take('a')).toBe(10_000);
  after(60_000);
  expect(Array.from({ length: 7 }, () => rate.take('a')).at(-1)).toBe(10_000);
});

it('does not count what it turned away', () => {
  const { rate, after } = setup(1);
  expect(rate.take('a')).toBe(0);
  for (let at = 0; at < 100; at += 1) expect(rate.take('a')).toBe(60_000);
  after(60_000);
  expect(rate.take('a')).toBe(0);
});

it('without a bound lets all through', () => {
  const { rate } = setup(Infinity);
  for (let at = 0; at < 1_000; at += 1) expect(rate.take('a')).toBe(0);
});

it('remembers a workload that has asked, however many others ask too', () => {
  const { rate, after } = setup(1);
  for (let at = 0; at < 25_000; at += 1) expect(rate.take(`old ${at}`)).toBe(0);
  after(59_000);
  expect(rate.take('late')).toBe(0);
  after(1_001);
  for (let at = 0; at < 25_000; at += 1) expect(rate.take(`new ${at}`)).toBe(0);
  expect(rate.take('late')).toBe(58_999);
});
