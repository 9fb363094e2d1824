import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import protobuf from 'protobufjs';
import { describe, expect, it, vi } from 'vitest';
import {
  parseAuthorizationPolicy,
  parseRequestAuthentication,
  type AuthorizationPolicy,
  type PeerModes,
  type RequestAuthentication,
} from '../policy/index.ts';
import { ResourceEncoder } from './encoder.ts';
import { faultOf, FilterCache, MAX_FILTER_BYTES, type FilterInputs, type FilterSet } from './filters.ts';

const schema = protobuf.Root.fromJSON(
  JSON.parse(
    readFileSync(new URL('../../proto/gen/envoy.json', import.meta.url), 'utf8'),
  ) as protobuf.INamespace,
);

function allow(name: string, path: string): AuthorizationPolicy {
  return policy(name, { action: 'ALLOW', rules: [{ to: [{ operation: { paths: [path] } }] }] });
}

function policy(name: string, spec: object): AuthorizationPolicy {
  const parsed = parseAuthorizationPolicy(
    {
      apiVersion: 'security.countersign.dev/v1',
      kind: 'AuthorizationPolicy',
      metadata: { namespace: 'shop', name },
      spec,
    },
    {},
  );
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
  return parsed.policy;
}

const settings = { trustDomain: 'cluster.local', rootNamespace: 'root', defaultAction: 'deny' } as const;
const strict: PeerModes = { mode: 'STRICT', ports: new Map(), from: [] };

function cacheOf(encoder: ResourceEncoder, keys: ReadonlyMap<string, string> = new Map()): FilterCache {
  return new FilterCache({ encoder, settings: { ...settings }, jwksOf: (uri) => keys.get(uri) });
}

function inputs(policies: readonly AuthorizationPolicy[], more: Partial<FilterInputs> = {}): FilterInputs {
  return { policies, requestAuthentications: [], peers: strict, quarantine: [], ...more };
}

describe('FilterCache', () => {
  it('puts who is in quarantine first into the deny filters, and touches no other', () => {
    const cache = cacheOf(new ResourceEncoder(schema));
    const before = cache.get(inputs([allow('web', '/a')]));
    const rule = { entry: 'q-1', reason: 'stolen', callers: { kind: 'pod', uid: 'uid-1' } } as const;
    const after = cache.get(inputs([allow('web', '/a')], { quarantine: [rule] }));
    const changed = [...after].filter(([name, { version }]) => before.get(name)?.version !== version);
    expect(changed.map(([name]) => name)).toEqual([
      'countersign.authz.http.deny',
      'countersign.authz.tcp.deny',
    ]);
    for (const [, { body }] of changed)
      expect(Buffer.from(body).toString('latin1')).toContain('countersign-quarantine[q-1]');
    expect(cache.get(inputs([allow('web', '/a')], { quarantine: [rule] }))).toBe(after);
    expect(cache.get(inputs([allow('web', '/a')]))).toBe(before);
  });

  it('encodes only the filter that a change touches, and gives what is equal again as the same object', () => {
    const encoder = new ResourceEncoder(schema);
    const encode = vi.spyOn(encoder, 'encode');
    const cache = cacheOf(encoder);
    const before = cache.get(inputs([allow('web', '/a')]));
    expect(encode).toHaveBeenCalledTimes(14);
    const after = cache.get(inputs([allow('web', '/b')]));
    expect(encode).toHaveBeenCalledTimes(15);
    for (const [name, filter] of after) {
      if (name === 'countersign.authz.http.allow') expect(filter.version).not.toBe(before.get(name)?.version);
      else expect(filter, name).toBe(before.get(name));
    }
    cache.keepOnly(new Set([after]));
    cache.get(inputs([allow('web', '/a')]));
    expect(encode, 'what nobody used any more is forgotten').toHaveBeenCalledTimes(16);
  });

  it('gives the bytes that each policy alone would give, however often its rules were encoded before', () => {
    const fresh = (): AuthorizationPolicy =>
      policy('stays', {
        validity: { notAfter: '2027-01-31T18:00:00Z' },
        rules: [
          {
            from: [{ source: { ipBlocks: ['10.0.0.0/8'], notNamespaces: ['a*'] } }],
            to: [{ operation: { paths: ['/a/{*}', '/b*'], ports: ['80'] } }],
          },
        ],
      });
    const stays = fresh();
    const bytes = (cache: FilterCache, policies: AuthorizationPolicy[]): unknown =>
      [...cache.get(inputs(policies)).values()].map(({ body }) => Buffer.from(body).toString('hex'));
    const cache = cacheOf(new ResourceEncoder(schema));
    for (const path of ['/1', '/2', '/3']) {
      const other = cacheOf(new ResourceEncoder(schema));
      const expected = bytes(other, [fresh(), allow('web', path)]);
      expect(bytes(cache, [stays, allow('web', path)])).toEqual(expected);
    }
  });

  it('other keys or other peer modes make the one filter that they shape anew', () => {
    const encoder = new ResourceEncoder(schema);
    const encode = vi.spyOn(encoder, 'encode');
    const keys = new Map<string, string>();
    const cache = cacheOf(encoder, keys);
    const policies = [allow('web', '/a')];
    const first = cache.get(inputs(policies, { requestAuthentications: [tokens('https://a/keys')] }));
    expect(encode).toHaveBeenCalledTimes(14);
    keys.set('https://a/keys', jwks('1'));
    const withKeys = cache.get(inputs(policies, { requestAuthentications: [tokens('https://a/keys')] }));
    keys.set('https://other/keys', jwks('2'));
    expect(cache.get(inputs(policies, { requestAuthentications: [tokens('https://a/keys')] }))).toBe(
      withKeys,
    );
    keys.set('https://a/keys', jwks('3'));
    const rotated = cache.get(inputs(policies, { requestAuthentications: [tokens('https://a/keys')] }));
    expect(encode).toHaveBeenCalledTimes(16);
    expect(differing(first, withKeys)).toEqual(['countersign.authn.http.jwt']);
    expect(differing(withKeys, rotated)).toEqual(['countersign.authn.http.jwt']);
    const open = cache.get(inputs(policies, { peers: { ...strict, mode: 'PERMISSIVE' } }));
    const closed = cache.get(inputs(policies));
    expect(differing(open, closed).toSorted()).toEqual([
      'countersign.authn.peer.http',
      'countersign.authn.peer.plaintext',
    ]);
    const port = { ...strict, ports: new Map([[80, 'DISABLE' as const]]) };
    expect(differing(cache.get(inputs(policies, { peers: port })), closed).toSorted()).toEqual([
      'countersign.authn.peer.http',
      'countersign.authn.peer.mtls',
      'countersign.authn.peer.plaintext',
    ]);
  });
});

describe('a filter that is too large to be sent', () => {
  /** Of about 250 KB in each filter that it is compiled to. */
  const long = (action: string, index: number): AuthorizationPolicy => {
    const values = Array.from({ length: 125 }, (_, value) => `${index}.${value}.${'x'.repeat(1_990)}`);
    return policy(`p${index}`, { action, rules: [{ when: [{ key: 'connection.sni', values }] }] });
  };
  const many = (action: string, count: number): AuthorizationPolicy[] =>
    Array.from({ length: count }, (_, index) => long(action, index));
  it('denies all in its slot, says so, and leaves the others', () => {
    const cache = cacheOf(new ResourceEncoder(schema));
    const web = allow('web', '/a');
    expect(faultOf(cache.get(inputs([...many('DENY', 12), web])))).toBeUndefined();
    const set = cache.get(inputs([...many('DENY', 13), web]));
    const denying = set.get('countersign.authz.http.deny');
    const small = cache.get(inputs([web]));
    expect(differing(set, small).toSorted()).toEqual([
      'countersign.authz.http.deny',
      'countersign.authz.tcp.deny',
    ]);
    expect(faultOf(set)).toMatch(
      /everything is denied: countersign\.authz\.http\.deny has \d{7} bytes, countersign\.authz\.tcp\.deny has \d{7} bytes; a filter has at most 3145728/,
    );
    const type = schema.lookupType('envoy.extensions.filters.http.rbac.v3.RBAC');
    const config = schema.lookupType('envoy.config.core.v3.TypedExtensionConfig');
    const { typed_config: any } = config.toObject(config.decode(denying?.body ?? new Uint8Array())) as {
      typed_config: { value: Uint8Array };
    };
    expect(type.toObject(type.decode(any.value), { enums: String, defaults: true })).toMatchObject({
      rules: { action: 'ALLOW' },
    });
    expect(cache.get(inputs([...many('DENY', 13), web]))).toBe(set);
  });

  it('keeps all filters of a workload together below what its Envoy takes in one message', () => {
    const cache = cacheOf(new ResourceEncoder(schema));
    const set = cache.get(inputs([...many('DENY', 12), ...many('AUDIT', 12), ...many('ALLOW', 12)]));
    const sizes = [...set.values()].map(({ body }) => body.length);
    expect(Math.max(...sizes)).toBeLessThan(MAX_FILTER_BYTES);
    expect(sizes.reduce((sum, size) => sum + size)).toBeLessThanOrEqual(12 * 1024 * 1024);
    expect(faultOf(set)).toContain('all of a workload 12582912');
  });
});

function differing(a: FilterSet, b: FilterSet): string[] {
  return [...a].filter(([name, filter]) => b.get(name) !== filter).map(([name]) => name);
}

function tokens(jwksUri: string): RequestAuthentication {
  const parsed = parseRequestAuthentication({
    apiVersion: 'security.countersign.dev/v1',
    kind: 'RequestAuthentication',
    metadata: { namespace: 'shop', name: 'tokens' },
    spec: { jwtRules: [{ issuer: 'https://a', jwksUri }] },
  });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
  return parsed.policy;
}

function jwks(kid: string): string {
  const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' });
  return JSON.stringify({ keys: [{ ...key, kid }] });
}
