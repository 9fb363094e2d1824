import { beforeAll, describe, expect, it } from 'vitest';
import { FAKE_NOW_MS, FakeCa } from '../../test/fake/ca.ts';
import { parseBundleMap, SpiffeId, TrustBundle, TrustDomain, verifySvid } from './index.ts';

const td = TrustDomain.parse('example.org');
const id = SpiffeId.workload(td, 'shop', 'web');
let root: FakeCa;
let second: FakeCa;
let key: Readonly<Record<string, unknown>>;

beforeAll(async () => {
  root = await FakeCa.root(td);
  second = await FakeCa.root(td);
  key = { ...root.bundle().toJSON().keys[0] };
});

const code = (expected: string): unknown =>
  expect.objectContaining({ name: 'IdentityError', code: expected });
const parse = (document: unknown): TrustBundle => TrustBundle.parse(td, JSON.stringify(document));
const without = (member: string): Readonly<Record<string, unknown>> =>
  Object.fromEntries(Object.entries(key).filter(([name]) => name !== member));

describe('X509-SVID, bundle representation', () => {
  it('X-40: one JWK per root, use "x509-svid", no kid', () => {
    const bundle = TrustBundle.of({ trustDomain: td, x509Authorities: [root.der, second.der], sequence: 1 });
    const { keys } = bundle.toJSON();
    expect(keys).toHaveLength(2);
    for (const jwk of keys) {
      expect(jwk.use).toBe('x509-svid');
      expect(jwk).not.toHaveProperty('kid');
    }
  });

  it('X-41: x5c holds one root in base64, and the JWK is its public key', () => {
    expect(key['x5c']).toEqual([root.der.toString('base64')]);
    expect(key).toMatchObject({ kty: 'EC', crv: 'P-256', x: expect.any(String), y: expect.any(String) });
  });

  it('X-41: a certificate that cannot sign is no root', async () => {
    const { der } = await root.leaf(id);
    expect(() => TrustBundle.of({ trustDomain: td, x509Authorities: [der], sequence: 1 })).toThrow(
      /not a CA/,
    );
    expect(() => parse({ keys: [{ ...key, x5c: [der.toString('base64')] }] })).toThrow(
      code('bundle-malformed'),
    );
    const two = Buffer.concat([root.der, second.der]);
    expect(() => TrustBundle.of({ trustDomain: td, x509Authorities: [two], sequence: 1 })).toThrow(
      code('bundle-malformed'),
    );
  });

  it('X-42: a key with missing or empty x5c is ignored, and so is every x5c value but the first', () => {
    expect(parse({ keys: [without('x5c'), { ...key, x5c: [] }] }).x509Authorities).toEqual([]);
    const several = parse({ keys: [{ ...key, x5c: [root.der.toString('base64'), 'not base64 at all'] }] });
    expect(several.x509Authorities).toEqual([root.der]);
  });

  it.each([['a text'], [[5]], [['']], [['%%%%']], [['AAAA']], [{}]])('X-42: x5c %j is refused', (x5c) => {
    expect(() => parse({ keys: [{ ...key, x5c }] })).toThrow(code('bundle-malformed'));
  });
});

describe('SPIFFE bundle', () => {
  it('B-1: unknown members, at the top and in a key, are ignored', () => {
    const bundle = parse({ keys: [{ ...key, 'x-new': 1 }], spiffe_sequence: 3, 'x-other': { keys: 1 } });
    expect(bundle.x509Authorities).toEqual([root.der]);
    expect(parse({ keys: [] }).x509Authorities).toEqual([]);
  });

  it('B-2: the sequence is a whole number that grows with each change of content, and only then', () => {
    const bundle = TrustBundle.of({ trustDomain: td, x509Authorities: [root.der], sequence: 7 });
    const grown = bundle.withAuthorities([root.der, second.der]);
    expect(grown.sequence).toBe(8);
    expect(bundle.sequence).toBe(7);
    expect(grown.withAuthorities([second.der, root.der])).toBe(grown);
    expect(grown.withAuthorities([second.der]).sequence).toBe(9);
    expect(grown.withAuthorities([]).sequence).toBe(9);
  });

  it('B-2: the sequence is exact up to 2^53 - 1, and refused above instead of rounded', () => {
    expect(parse({ keys: [], spiffe_sequence: Number.MAX_SAFE_INTEGER }).sequence).toBe(9007199254740991);
    expect(() => TrustBundle.parse(td, '{"keys":[],"spiffe_sequence":9007199254740993}')).toThrow(
      code('bundle-malformed'),
    );
    for (const sequence of [-1, 1.5, '1', true]) {
      expect(() => parse({ keys: [], spiffe_sequence: sequence })).toThrow(code('bundle-malformed'));
    }
  });

  it('B-3: the refresh hint is whole seconds', () => {
    expect(parse({ keys: [], spiffe_refresh_hint: 300 }).refreshHintSeconds).toBe(300);
    expect(parse({ keys: [] }).refreshHintSeconds).toBeUndefined();
    expect(() => parse({ keys: [], spiffe_refresh_hint: 0.5 })).toThrow(code('bundle-malformed'));
    const bundle = TrustBundle.of({
      trustDomain: td,
      x509Authorities: [],
      sequence: 1,
      refreshHintSeconds: 60,
    });
    expect(bundle.toJSON()).toEqual({ keys: [], spiffe_sequence: 1, spiffe_refresh_hint: 60 });
  });

  it('B-4: keys must be there and may be empty', () => {
    expect(parse({ keys: [] }).x509Authorities).toEqual([]);
    for (const document of [{}, { keys: {} }, { keys: null }, [], null, 'text']) {
      expect(() => parse(document)).toThrow(/no array "keys"/);
    }
    expect(() => TrustBundle.parse(td, '{"keys":')).toThrow(/not JSON/);
  });

  it('B-5: with an empty or unusable bundle every SVID of the trust domain is untrusted', async () => {
    const { der } = await root.leaf(id);
    for (const keys of [[], [{ ...key, use: 'jwt-svid', kid: 'a' }], [without('use')]]) {
      const bundle = parse({ keys });
      expect(() => verifySvid({ chain: [der], bundles: () => bundle, nowMs: FAKE_NOW_MS })).toThrow(
        code('bundle-empty'),
      );
    }
  });

  it('B-6: a key without kty, or of an unknown one, is ignored', () => {
    expect(parse({ keys: [without('kty'), { ...key, kty: 'XX' }, key] }).x509Authorities).toEqual([root.der]);
  });

  it('B-7: a key without use, or of another one, is ignored; upper and lower case differ', () => {
    const others = ['X509-SVID', 'x509-svid ', 'sig', 'jwt-svid', 5].map((use) => ({ ...key, use }));
    expect(parse({ keys: [without('use'), ...others] }).x509Authorities).toEqual([]);
  });

  it('B-8: the JWK has no member that neither standard defines', () => {
    expect(Object.keys(key).toSorted()).toEqual(['crv', 'kty', 'use', 'x', 'x5c', 'y']);
    expect(Object.keys(root.bundle().toJSON()).toSorted()).toEqual(['keys', 'spiffe_sequence']);
  });

  it('B-9: a bundle map has trust_domains, each name once', () => {
    const document = JSON.stringify(root.bundle());
    const map = parseBundleMap(`{"trust_domains":{"example.org":${document},"b":{"keys":[]}}}`);
    expect([...map.keys()]).toEqual(['example.org', 'b']);
    expect(map.get('example.org')?.x509Authorities).toEqual([root.der]);
    for (const twice of [
      '"a":{"keys":[]},"a":{"keys":[]}',
      String.raw`"a":{"keys":[]},"\u0061":{"keys":[]}`,
    ]) {
      expect(() => parseBundleMap(`{"trust_domains":{${twice}}}`)).toThrow(/"a" twice/);
    }
    expect(() => parseBundleMap('{"trust_domains":{},"trust_domains":{}}')).toThrow(/twice/);
    for (const text of ['{}', '[]', '{"trust_domains":[]}', 'null']) {
      expect(() => parseBundleMap(text)).toThrow(/trust_domains/);
    }
    expect(() => parseBundleMap('{"trust_domains":{"A.org":{"keys":[]}}}')).toThrow(
      code('trust-domain-character'),
    );
  });

  it('B-9: keys may recur in different objects, and look like JSON inside texts', () => {
    const text = String.raw`{"trust_domains":{"a":{"keys":[],"x":"\",\"keys\":["},"b":{"keys":[]}}}`;
    expect(parseBundleMap(text).size).toBe(2);
    expect(() => TrustBundle.parse(td, '{"keys":[],"keys":[]}')).toThrow(/"keys" twice/);
  });

  it('B-10: a refresh hint inside a map is dropped', () => {
    const map = parseBundleMap('{"trust_domains":{"a":{"keys":[],"spiffe_refresh_hint":1}}}');
    expect(map.get('a')?.refreshHintSeconds).toBeUndefined();
  });
});

describe('TrustBundle', () => {
  it('survives its own JSON form', () => {
    const parts = {
      trustDomain: td,
      x509Authorities: [root.der, second.der],
      sequence: 9,
      refreshHintSeconds: 30,
    };
    const bundle = TrustBundle.of(parts);
    expect(TrustBundle.parse(td, JSON.stringify(bundle))).toEqual(bundle);
  });

  it('keeps each root once, in order, and does not share memory with what it was made from', () => {
    const mine = Buffer.from(root.der);
    const bundle = TrustBundle.of({
      trustDomain: td,
      x509Authorities: [mine, second.der, mine],
      sequence: 1,
    });
    mine.fill(0);
    expect(bundle.x509Authorities).toEqual([root.der, second.der]);
  });

  it('prints its roots as PEM', () => {
    const pem = root.bundle().withAuthorities([root.der, second.der]).toPem();
    expect(pem.match(/-----BEGIN CERTIFICATE-----\n/g)).toHaveLength(2);
    expect(pem.endsWith('-----END CERTIFICATE-----\n')).toBe(true);
  });
});
