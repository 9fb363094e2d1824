import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { readKeySet } from './index.ts';

const jwk = (key: KeyObject): object => key.export({ format: 'jwk' });

describe('readKeySet', () => {
  const keyOf = (type: 'ec' | 'ed25519' | 'rsa'): object => {
    if (type === 'rsa') return jwk(generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey);
    if (type === 'ec') return jwk(generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey);
    return jwk(generateKeyPairSync('ed25519').publicKey);
  };
  it('has one form, whatever the order and the further members', () => {
    const [a, b, c] = [keyOf('ec'), keyOf('ed25519'), keyOf('rsa')];
    const one = readKeySet(JSON.stringify({ keys: [a, { ...b, x5t: 'x', use: 'sig' }, c] }));
    const other = readKeySet(
      JSON.stringify({ x: 1, keys: [c, b, { ...a, key_ops: ['verify'] }, a] }, undefined, 2),
    );
    expect(one).toEqual(other);
    expect(one).toMatchObject({ ok: true, keys: 3, secrets: [], unused: [] });
  });

  it('leaves out keys of no use, and tells how many', () => {
    const good = keyOf('ec');
    const rsa = keyOf('rsa');
    const weak = jwk(generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey);
    const useless = [
      { ...good, use: 'enc' },
      { ...good, alg: 'ECDH-ES' },
      { ...good, key_ops: ['encrypt'] },
      { ...good, alg: 'ES256' },
      { ...good, kid: '\uD800' },
      { ...good, kid: 7 },
      { ...rsa, e: 'BQ' },
      { ...rsa, n: 'not base64' },
      { ...good, x: 'AAAA' },
      { ...good, crv: 'secp256k1' },
      { kty: 'new' },
      weak,
      null,
      7,
    ];
    const read = readKeySet(JSON.stringify({ keys: [good, ...useless] }));
    expect(read).toMatchObject({ ok: true, keys: 1 });
    expect(read.ok && read.unused.at(-1)).toBe(`and ${useless.length - 5} more`);
    expect(readKeySet(JSON.stringify({ keys: useless })).ok).toBe(false);
  });

  it.each(['', '[]', '{"keys": {}}', '"x"', `{"keys":[${'{},'.repeat(200)}{}]}`, ' '.repeat(300_000)])(
    'is refused: %.20s',
    (text) => {
      expect(readKeySet(text).ok).toBe(false);
    },
  );
});
