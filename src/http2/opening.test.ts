import { describe, expect, it } from 'vitest';
import { PREFACE } from './frames.ts';
import { Opening } from './opening.ts';
import { CALL, data, ECHO, frame, headers, SETTINGS } from './testing.ts';

const begun = Buffer.concat([PREFACE, SETTINGS]);

describe('a connection that is not decided', () => {
  it('is ours to end once its headers come in many small frames, each of which would cost a copy of all', () => {
    const opening = new Opening((path) => path === ECHO);
    opening.receive(Buffer.concat([begun, headers(1, CALL, 0)]));
    const pieces = Array.from({ length: 9 }, () => opening.receive(frame(9, 0, 1)));
    expect(pieces).toEqual([...Array.from({ length: 8 }, () => 'undecided'), 'ours']);
  });

  it('keeps no more room than it may ever need', () => {
    const opening = new Opening(() => false);
    opening.receive(Buffer.concat([begun, headers(1)]));
    for (let count = 0; count < 7; count += 1) opening.receive(data(1, Buffer.alloc(16_384), 0));
    expect(opening.receive(data(1, Buffer.alloc(15_000), 0))).toBe('undecided');
    expect(opening.received().buffer.byteLength).toBe(131_072);
    expect(opening.receive(Buffer.alloc(2_000))).toBe('too-much');
  });
});
