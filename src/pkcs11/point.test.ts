import { describe, expect, it } from 'vitest';
import { pointOf } from './point.ts';

describe('the point of a public key', () => {
  it.each([
    ['P-256', 65],
    ['P-384', 97],
  ])('is read bare and in an OCTET STRING, whatever its numbers begin with: %s', (_curve, size) => {
    for (let first = 0; first < 256; first += 1) {
      for (const second of [0x04, 0x05]) {
        const bare = Buffer.alloc(size, 0x11);
        bare.set([0x04, first, second]);
        expect(pointOf(bare)).toEqual(bare);
        expect(pointOf(Buffer.concat([Buffer.of(0x04, size), bare]))).toEqual(bare);
      }
    }
  });
});
