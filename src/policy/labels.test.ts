import { expect, it } from 'vitest';
import { satisfies } from './index.ts';

it('labels satisfy a selector by every pair of it, and by their own alone', () => {
  expect(satisfies({ app: 'a', tier: 'b' }, { app: 'a' })).toBe(true);
  expect(satisfies({ app: 'a' }, {})).toBe(true);
  expect(satisfies({ app: 'a' }, { app: 'a', tier: 'b' })).toBe(false);
  expect(satisfies({ app: 'a' }, { app: 'b' })).toBe(false);
  // What every object has is no label, whatever stands behind it.
  const inherited = Object.create({ app: 'a' }) as Record<string, string>;
  expect(satisfies(inherited, { app: 'a' })).toBe(false);
});
