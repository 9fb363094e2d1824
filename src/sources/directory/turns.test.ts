import { expect, it } from 'vitest';
import { inTurns } from './turns.ts';

it('the event loop has a turn between two, and none is waited for by one alone', async () => {
  const order: string[] = [];
  setImmediate(() => order.push('others'));
  const done = inTurns(['a', 'b'], (item) => order.push(item));
  expect(order).toEqual(['a']);
  await done;
  expect(order).toEqual(['a', 'others', 'b']);
});
