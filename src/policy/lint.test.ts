import { describe, expect, it } from 'vitest';
import { parseAuthorizationPolicy } from './index.ts';

const warnings = (header: string, action = 'ALLOW'): string[] => {
  const parsed = parseAuthorizationPolicy({
    apiVersion: 'security.countersign.dev/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'p', namespace: 'shop' },
    spec: {
      action,
      rules: [
        {
          when: [
            { key: 'source.namespace', values: ['shop'] },
            { key: `request.headers[${header}]`, notValues: ['a'] },
          ],
        },
      ],
    },
  });
  expect(parsed.ok).toBe(true);
  return parsed.issues.map(({ code, path }) => `${code} ${path}`);
};

describe('headers that Envoy writes itself', () => {
  it.each([
    'x-forwarded-for',
    'X-Forwarded-Proto',
    'x-forwarded-client-cert',
    'x-request-id',
    'x-envoy-external-address',
    'X-Envoy-Anything',
  ])('warns of a rule on %s, whatever its action', (header) => {
    for (const action of ['ALLOW', 'DENY', 'AUDIT'])
      expect(warnings(header, action)).toEqual(['rewritten-header spec.rules[0].when[1].key']);
  });

  it.each(['x-forwarded', 'x-envoy', 'authorization', 'x-user', ':path'])(
    'has nothing against %s',
    (header) => {
      expect(warnings(header)).toEqual([]);
    },
  );
});
