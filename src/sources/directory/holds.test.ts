import { expect, it } from 'vitest';
import { Holds } from './holds.ts';

it('a hold lasts from the last beginning on, and not longer when the clock is set back', () => {
  let now = 10_000;
  const holds = new Holds(() => now, 1000);
  expect(holds.left('a')).toBe(0);
  holds.begin('a');
  now += 600;
  expect(holds.left('a')).toBe(400);
  holds.begin('a');
  now += 600;
  expect(holds.left('a')).toBe(400);
  now += 400;
  expect(holds.left('a')).toBe(0);
  holds.begin('a');
  now -= 5000;
  expect(holds.left('a')).toBe(0);
  holds.begin('b');
  holds.end('b');
  expect(holds.left('b')).toBe(0);
});
