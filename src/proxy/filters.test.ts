import { readFileSync } from 'node:fs';
import protobuf from 'protobufjs';
import { describe, expect, it, vi } from 'vitest';
import { parseAuthorizationPolicy, type AuthorizationPolicy } from '../policy/index.ts';
import { ResourceEncoder } from './encoder.ts';
import { FilterCache } from './filters.ts';

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

describe('FilterCache', () => {
  it('encodes only the filter that a change touches, and gives what is equal again as the same object', () => {
    const encoder = new ResourceEncoder(schema);
    const encode = vi.spyOn(encoder, 'encode');
    const settings = { trustDomain: 'cluster.local', rootNamespace: 'root', defaultAction: 'deny' } as const;
    const cache = new FilterCache(encoder, settings);
    const before = cache.get([allow('web', '/a')]);
    expect(encode).toHaveBeenCalledTimes(10);
    const after = cache.get([allow('web', '/b')]);
    expect(encode).toHaveBeenCalledTimes(11);
    for (const [name, filter] of after) {
      if (name === 'countersign.authz.http.allow') expect(filter.version).not.toBe(before.get(name)?.version);
      else expect(filter, name).toBe(before.get(name));
    }
    cache.keepOnly(new Set([after]));
    cache.get([allow('web', '/a')]);
    expect(encode, 'what nobody used any more is forgotten').toHaveBeenCalledTimes(12);
  });

  it('gives the bytes that each policy alone would give, however often its rules were encoded before', () => {
    const settings = { trustDomain: 'cluster.local', rootNamespace: 'root', defaultAction: 'deny' } as const;
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
      [...cache.get(policies).values()].map(({ body }) => Buffer.from(body).toString('hex'));
    const cache = new FilterCache(new ResourceEncoder(schema), settings);
    for (const path of ['/1', '/2', '/3']) {
      const other = new FilterCache(new ResourceEncoder(schema), { ...settings });
      const expected = bytes(other, [fresh(), allow('web', path)]);
      expect(bytes(cache, [stays, allow('web', path)])).toEqual(expected);
    }
  });
});
