import { describe, expect, it } from 'vitest';
import { printable } from './index.ts';

describe('printable', () => {
  it('shows what would move, hide or turn text around', () => {
    expect(printable('a\u001b[2J\u009b\r\n\u0000\u007f')).toBe(
      String.raw`a\u001b[2J\u009b\u000d\u000a\u0000\u007f`,
    );
    expect(printable('\u2028\u2029\u202e\u2066\u200f\u061c')).toBe(
      String.raw`\u2028\u2029\u202e\u2066\u200f\u061c`,
    );
  });

  it('leaves words of every language alone', () => {
    for (const text of ['spiffe://example.org/ns/a b', 'äöü', 'שלום', '日本', '\u{1f511}']) {
      expect(printable(text)).toBe(text);
    }
  });
});
