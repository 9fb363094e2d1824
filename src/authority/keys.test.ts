import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { generateKeyNumbers, isPrivateNumber, privateKeyPem, publicKeyInfo } from './keys.ts';

const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
const number = (value: bigint): Buffer => Buffer.from(value.toString(16).padStart(64, '0'), 'hex');

describe('generateKeyNumbers', () => {
  it('gives pairs that OpenSSL takes as such, each another', () => {
    const text = Buffer.from('text');
    const pairs = Array.from({ length: 50 }, generateKeyNumbers);
    for (const keys of pairs) {
      const privateKey = createPrivateKey(privateKeyPem(keys));
      const publicKey = createPublicKey({ key: publicKeyInfo(keys.point), format: 'der', type: 'spki' });
      expect(createPublicKey(privateKey).equals(publicKey)).toBe(true);
      expect(verify('sha256', text, publicKey, sign('sha256', text, privateKey))).toBe(true);
      expect(keys.secret).toHaveLength(32);
    }
    expect(new Set(pairs.map(({ secret }) => secret.toString('hex'))).size).toBe(50);
  });

  it('draws again what is no private number of the curve', () => {
    const judged = [0n, 1n, order - 1n, order, order + 1n, 2n ** 256n - 1n].map((one) =>
      isPrivateNumber(number(one)),
    );
    expect(judged).toEqual([false, true, true, false, false, false]);
    expect(isPrivateNumber(Buffer.alloc(31, 1))).toBe(false);
  });
});
