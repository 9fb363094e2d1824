import { describe, expect, it } from 'vitest';
import { DerReader, TAG } from './index.ts';

const reader = (hex: string): DerReader => new DerReader(Buffer.from(hex, 'hex'), 'text');
const malformed = (finding: string): unknown =>
  expect.objectContaining({ code: 'der-malformed', message: `The text is not well-formed DER: ${finding}.` });

describe('a reader of what stands inside a value', () => {
  it('ends where that value ends, whatever follows', () => {
    const inside = reader('30040401aa050004').enter(TAG.sequence, 'it');
    expect(inside.read(TAG.octetString, 'text').content.toString('hex')).toBe('aa');
    expect(inside.peek()).toBe(5);
    const whole = reader('3003040 1aa0500'.replace(' ', '')).enter(TAG.sequence, 'it');
    whole.read(TAG.octetString, 'text');
    expect([whole.peek(), whole.atEnd]).toEqual([undefined, true]);
    expect(whole.readOptional(0x05, 'more')).toBeUndefined();
    expect(() => whole.readAny('more')).toThrow(malformed('more is missing'));
    expect(() => whole.read(0x05, 'more')).toThrow(malformed('more is missing'));
  });

  it.each([
    ['content that reaches beyond it', '30030402aabb', 'text is cut off'],
    ['a length that stands beyond it', '30010401aa', 'text is cut off'],
    ['a long length that reaches beyond it', '300304820100', 'text has a length that is not DER'],
  ])('refuses %s, though the bytes are there', (_title, hex, finding) => {
    const inside = reader(`${hex}${'00'.repeat(300)}`).enter(TAG.sequence, 'it');
    expect(() => inside.read(TAG.octetString, 'text')).toThrow(malformed(finding));
  });

  it('says how much is left over in it', () => {
    const inside = reader('30050401aa0500ffff').enter(TAG.sequence, 'it');
    inside.read(TAG.octetString, 'text');
    expect(() => inside.end('text')).toThrow(malformed('2 bytes follow text'));
  });

  it('reads views of larger buffers, and plain bytes', () => {
    const view = Buffer.from('ffff0401aaff', 'hex').subarray(2, 5);
    for (const bytes of [view, new Uint8Array(view)]) {
      const value = new DerReader(bytes, 'text').read(TAG.octetString, 'it');
      expect([value.tag, value.raw.toString('hex'), value.content.toString('hex')]).toEqual([
        4,
        '0401aa',
        'aa',
      ]);
    }
  });
});
