import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { parseKeySet } from './key-set.ts';
import { ecKey, setOf } from './testing/world.ts';

const parse = (text: string): ReturnType<typeof parseKeySet> => parseKeySet(Buffer.from(text));
const refused = (code: string): unknown => expect.objectContaining({ name: 'JwksError', code });
const rsa = (modulusLength: number, publicExponent = 65_537): object =>
  generateKeyPairSync('rsa', { modulusLength, publicExponent }).publicKey.export({ format: 'jwk' });
const ec = (namedCurve: string): object =>
  generateKeyPairSync('ec', { namedCurve }).publicKey.export({ format: 'jwk' });
const ed25519 = (): object => generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' });
const strong = rsa(2048);
const good = ecKey('good').publicKey;

describe('parseKeySet', () => {
  it('takes the kinds of keys that Envoy takes', () => {
    const set = setOf(
      strong,
      rsa(2048, 3),
      { ...strong, alg: 'PS256', use: 'sig', key_ops: ['verify'] },
      ec('P-256'),
      { ...ec('P-384'), alg: 'ES384' },
      ec('P-521'),
      { ...ed25519(), alg: 'EdDSA' },
    );
    expect(parse(set)).toMatchObject({ keys: 7, secrets: [], unused: [] });
  });

  it('writes one text for one meaning', () => {
    const other = { ...strong, kid: 'other', x5t: 'a thumbprint', use: 'sig' };
    const { x, ...rest } = good;
    const one = parse(setOf(good, other)).text;
    expect(parse(setOf({ ...other, x5c: ['a certificate'] }, { x, ...rest }, good)).text).toBe(one);
    expect(parse(one).text).toBe(one);
    expect(one).not.toContain('thumbprint');
    expect(parse(setOf({ ...good, kid: 'renamed' }, other)).text).not.toBe(one);
    expect(parse(setOf({ ...good, alg: 'ES256' }, other)).text).not.toBe(one);
  });

  it('drops secret parts, and says which key they were in without showing it', () => {
    const { privateKey } = ecKey('leaked');
    const set = parse(setOf(good, privateKey));
    expect(set).toMatchObject({ keys: 2, secrets: ['keys[1]'] });
    expect(JSON.stringify(set)).not.toContain(String(privateKey['d']));
    const full = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' });
    expect(Object.keys(JSON.parse(parse(setOf(full)).text).keys[0])).toEqual(['kty', 'n', 'e']);
  });

  it.each([
    ['a symmetric key', { kty: 'oct', k: 'c2VjcmV0' }, /symmetric/u],
    ['an unknown kind', { kty: 'AKP' }, /`kty`/u],
    ['no kind', {}, /`kty`/u],
    ['no object', ['text'], /no object/u],
    ['a short RSA key', rsa(1024), /1024 bits/u],
    ['a rare RSA exponent', rsa(2048, 17), /65537/u],
    ['an even RSA modulus', { ...strong, n: `${'_'.repeat(341)}g` }, /even/u],
    ['an encryption algorithm', { ...strong, alg: 'RSA-OAEP' }, /`alg`/u],
    ['another curve', ec('secp256k1'), /`crv`/u],
    ["a name from an object's prototype", { ...ec('P-256'), crv: 'constructor' }, /`crv`/u],
    ['the algorithm of another curve', { ...ec('P-256'), alg: 'ES384' }, /ES256/u],
    ['a point off its curve', { ...good, y: good['x'] }, /point/u],
    ['coordinates in plain base64', { ...good, x: `${String(good['x']).slice(0, -1)}+` }, /point/u],
    ['an agreement key', { kty: 'OKP', crv: 'X25519', x: 'AAAA' }, /Ed25519/u],
    ['a short Ed25519 key', { kty: 'OKP', crv: 'Ed25519', x: 'dGVzdAo' }, /Ed25519/u],
    ['a use that is not signing', { ...good, use: 'enc' }, /`use`/u],
    ['operations without verify', { ...good, key_ops: ['sign'] }, /`key_ops`/u],
    ['a number as kid', { ...good, kid: 7 }, /`kid`/u],
    ['half a character as kid', { ...good, kid: '\ud800' }, /`kid`/u],
    ['a list as alg', { ...good, alg: ['ES256'] }, /`alg`/u],
  ] as readonly (readonly [string, object, RegExp])[])('leaves out %s', (_name, key, why) => {
    const { keys, unused } = parse(setOf(key, good));
    expect(keys).toBe(1);
    expect(unused).toEqual([expect.stringMatching(why)]);
    expect(() => parse(setOf(key))).toThrow(refused('no-usable-key'));
  });

  it('refuses what is no set, without quoting it', () => {
    for (const text of ['', 'secret', '[]', 'null', '{"keys":{}}', '{"keys":null}', '{"a":"secret"}']) {
      expect(() => parse(text)).toThrow(refused('malformed'));
      expect(() => parse(text)).not.toThrow(/secret/u);
    }
    expect(() => parseKeySet(Buffer.from([0x7b, 0xff, 0x7d]))).toThrow(refused('malformed'));
    expect(() => parse(setOf())).toThrow(refused('no-usable-key'));
    expect(() => parse(setOf(...Array.from({ length: 101 }, () => good)))).toThrow(refused('malformed'));
    expect(() => parse(`{"keys":${'['.repeat(100_000)}`)).toThrow(refused('malformed'));
  });

  it('does not list a hundred bad keys', () => {
    const { unused } = parse(setOf(good, ...Array.from({ length: 50 }, () => ({ kty: 'AKP' }))));
    expect(unused).toHaveLength(6);
    expect(unused.at(-1)).toBe('and 45 more');
  });
});
