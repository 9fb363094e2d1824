import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  Evaluator,
  lintTogether,
  parseAuthorizationPolicy,
  renderIssues,
  type AuthorizationPolicy,
  type Request,
  type Surroundings,
} from './index.ts';

let count = 0;
function policy(spec: object, namespace = 'shop'): AuthorizationPolicy {
  count += 1;
  const parsed = parseAuthorizationPolicy({
    apiVersion: 'security.countersign.dev/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: `p${count}`, namespace },
    spec,
  });
  if (!parsed.ok) throw new Error(renderIssues(parsed.issues));
  return parsed.policy;
}
const warnings = (policies: AuthorizationPolicy[], more: Partial<Surroundings> = {}): string[] =>
  lintTogether(policies, { rootNamespace: 'root', ...more }).map(
    ({ code, path, message }) => `${code} ${path}: ${message}`,
  );
const codes = (policies: AuthorizationPolicy[], more: Partial<Surroundings> = {}): (string | undefined)[] =>
  lintTogether(policies, { rootNamespace: 'root', ...more }).map(({ code }) => code);
const from = (source: object): object => ({ from: [{ source }] });
const to = (operation: object): object => ({ to: [{ operation }] });
const allow = (...rules: object[]): object => ({ rules });
const deny = (...rules: object[]): object => ({ action: 'DENY', rules });

describe('rules that add nothing', () => {
  it.each<[object, object, boolean]>([
    [to({ methods: ['GET'] }), {}, true],
    [{}, to({ methods: ['GET'] }), false],
    [to({ methods: ['GET'] }), to({ methods: ['GET', 'PUT'] }), true],
    [to({ methods: ['GET', 'PUT'] }), to({ methods: ['GET'] }), false],
    [to({ methods: ['GET'], ports: ['80'] }), to({ methods: ['GET'] }), true],
    [to({ paths: ['/a/b', '/a/*'] }), to({ paths: ['/*'] }), true],
    [to({ paths: ['/a/b'] }), to({ paths: ['/a/{*}'] }), true],
    [to({ paths: ['/a/b/c'] }), to({ paths: ['/a/{*}'] }), false],
    [to({ hosts: ['A.example'] }), to({ hosts: ['*.EXAMPLE'] }), true],
    [to({ methods: ['GET'] }), to({ notMethods: ['PUT'] }), true],
    [to({ methods: ['PUT'] }), to({ notMethods: ['PUT'] }), false],
    [to({ methods: ['P*'] }), to({ notMethods: ['PUT'] }), false],
    [to({ notMethods: ['PUT', 'GET'] }), to({ notMethods: ['PUT'] }), true],
    [to({ notMethods: ['P*'] }), to({ notMethods: ['PUT'] }), true],
    [from({ principals: ['td/ns/a/sa/b'] }), from({ principals: ['td/*'] }), true],
    [from({ principals: ['td/ns/a/sa/b'] }), from({ namespaces: ['a'] }), false],
    [from({ ipBlocks: ['10.1.0.0/16'] }), from({ ipBlocks: ['10.0.0.0/8'] }), true],
    [from({ ipBlocks: ['10.0.0.0/8'] }), from({ ipBlocks: ['10.1.0.0/16'] }), false],
    [from({ requestPrincipals: ['i/s'] }), from({ requestPrincipals: ['i/*'] }), true],
    [from({ requestPrincipals: ['j/s'] }), from({ requestPrincipals: ['i/*'] }), false],
    [
      { when: [{ key: 'request.headers[x]', values: ['a'] }] },
      { when: [{ key: 'request.headers[x]', notValues: ['b'] }] },
      false,
    ],
    [
      { when: [{ key: 'request.headers[x]', values: ['a'] }] },
      { when: [{ key: 'request.headers[y]', values: ['a'] }] },
      false,
    ],
  ])('%j beside %j: %s', (inner, outer, useless) => {
    const judged = policy(allow(inner));
    const found = (other: object): (string | undefined)[] =>
      lintTogether([policy(other), judged], { rootNamespace: 'root' })
        .filter((issue) => issue.policy === judged)
        .map(({ code }) => code);
    expect(found(allow(outer))).toEqual(useless ? ['shadowed-rule'] : []);
    // A DENY of the same takes the ALLOW away.
    expect(found(deny(outer))).toEqual(useless ? ['unreachable-rule'] : []);
  });

  it('names the later one of two that say the same, and the rule that says it already', () => {
    const [a, b] = [policy(allow(to({ methods: ['GET'] }))), policy(allow(to({ methods: ['GET'] })))];
    const found = lintTogether([a, b], { rootNamespace: 'root' });
    expect(found).toHaveLength(1);
    expect([a, b]).toContain(found[0]?.policy);
    expect(found[0]?.message).toMatch(
      /^adds nothing: rule 0 of ALLOW policy shop\/p\d+ already allows all of it$/,
    );
    expect(warnings([policy(deny({}, {}))])).toEqual([
      expect.stringMatching(
        /^shadowed-rule spec\.rules\[1\]: adds nothing: rule 0 of DENY .* already denies/,
      ),
    ]);
  });

  it('is never wrong: no request passes an ALLOW that is said to be void', () => {
    const list = <T>(...values: T[]): fc.Arbitrary<T[]> =>
      fc.subarray(values, { minLength: 1, maxLength: 2 });
    const source = fc.record(
      {
        principals: list('td/ns/a/sa/x', 'td/ns/a/*', '*/x', '*', 'td/ns/b/sa/x'),
        notPrincipals: list('td/ns/a/sa/x', 'td/ns/b/*'),
        notNamespaces: list('a', 'b', 'a*'),
        ipBlocks: list('10.0.0.0/8', '10.0.0.1', '0.0.0.0/0'),
        notRequestPrincipals: list('i/s', '*'),
      },
      { requiredKeys: [] },
    );
    const operation = fc.record(
      {
        methods: list('GET', 'P*', '*T', '*'),
        notMethods: list('PUT', 'P*', 'GET'),
        paths: list('/a', '/a/*', '/a/{*}', '/{**}', '*b', '*'),
        notPaths: list('/a/{*}', '/a/b', '/a*'),
        hosts: list('H', 'h*', '*'),
      },
      { requiredKeys: [] },
    );
    const key = 'request.headers[x]';
    const header = fc.oneof(
      list('a', 'b', 'a*').map((values) => ({ key, values })),
      list('a', 'b', '*').map((notValues) => ({ key, notValues })),
    );
    const some = (parts: object[]): boolean => parts.every((part) => Object.keys(part).length > 0);
    const rule = fc.record(
      {
        from: fc
          .array(source, { minLength: 1, maxLength: 2 })
          .filter(some)
          .map((all) => all.map((each) => ({ source: each }))),
        to: fc
          .array(operation, { minLength: 1, maxLength: 2 })
          .filter(some)
          .map((all) => all.map((each) => ({ operation: each }))),
        when: fc.array(header, { minLength: 1, maxLength: 2 }),
      },
      { requiredKeys: [] },
    );
    const requests: Request[] = [undefined, 'spiffe://td/ns/a/sa/x', 'spiffe://td/ns/b/sa/x'].flatMap(
      (principal) =>
        ['GET', 'PUT'].flatMap((method) =>
          ['/a', '/a/b', '/a/[b', '/'].flatMap((path) =>
            [[], ['a'], ['b', 'a']].flatMap((x) =>
              [undefined, { iss: 'i', sub: 's' }].map((claims) => ({
                protocol: 'http' as const,
                principal,
                sourceIp: '10.0.0.1',
                remoteIp: undefined,
                destinationIp: undefined,
                destinationPort: 80,
                sni: undefined,
                method,
                path,
                host: 'h',
                headers: { x },
                claims,
              })),
            ),
          ),
        ),
    );
    let judged = 0;
    fc.assert(
      fc.property(rule, rule, (outer, inner) => {
        const pair = [policy(deny(outer)), policy(allow(inner))];
        if (!codes(pair).includes('unreachable-rule')) return;
        judged += 1;
        const settings = { trustDomain: 'td', rootNamespace: 'root', defaultAction: 'deny' } as const;
        const evaluator = new Evaluator(pair, { settings });
        expect(requests.filter((request) => evaluator.decide(request).verdict === 'ALLOW')).toEqual([]);
      }),
      { numRuns: 1_500 },
    );
    expect(judged).toBeGreaterThan(10);
  });

  it('asks where and when the other one holds', () => {
    const inner = (more: object = {}): AuthorizationPolicy =>
      policy({ ...allow(to({ methods: ['GET'] })), ...more });
    const cart = { selector: { matchLabels: { app: 'cart' } } };
    expect(codes([policy({ ...deny({}), ...cart }), inner()])).toEqual([]);
    expect(codes([policy(deny({})), inner(cart)])).toEqual(['unreachable-rule']);
    expect(codes([policy({ ...deny({}), mode: 'Shadow' }), inner()])).toEqual([]);
    expect(codes([policy({ ...deny({}), validity: { notAfter: '2999-01-01T00:00:00Z' } }), inner()])).toEqual(
      [],
    );
    expect(codes([policy(deny({}), 'other'), inner()])).toEqual([]);
    expect(codes([policy(deny({}), 'root'), inner()])).toEqual(['unreachable-rule']);
  });
});

describe('who exists', () => {
  const known: Partial<Surroundings> = {
    trustDomains: ['td'],
    hasNamespace: (name) => name === 'shop',
    hasServiceAccount: (namespace, name) => namespace === 'shop' && name === 'web',
  };
  it.each([
    [{ principals: ['td/ns/shop/sa/web'] }, []],
    [{ principals: ['td/ns/shop/sa/wbe'] }, ['service account shop/wbe does not exist']],
    [{ principals: ['td2/ns/shop/sa/web'] }, ['trust domain td2 is not known']],
    [{ principals: ['td/ns/shop/*', '*'] }, []],
    [{ serviceAccounts: ['web', 'cart'] }, ['service account shop/cart does not exist']],
    [{ notNamespaces: ['shop', 'sohp'] }, ['namespace sohp does not exist']],
    [{ namespaces: ['s*'] }, []],
    [{ trustDomains: ['td', 'tdd'] }, ['trust domain tdd is not known']],
  ])('%j', (source, messages) => {
    expect(warnings([policy(allow(from(source)))], known)).toEqual(
      messages.map((message) => expect.stringContaining(`${message}: nobody can match`)),
    );
    expect(warnings([policy(allow(from(source)))])).toEqual([]);
  });

  it('says which policy selects nothing', () => {
    expect(codes([policy(allow({}))], { selectsAny: () => false })).toEqual(['selects-nothing']);
    expect(codes([policy(allow({}))], { selectsAny: () => true })).toEqual([]);
  });
});

describe('HTTP fields on TCP ports', () => {
  const tcpPorts = (): number[] => [6379, 5432];
  it.each([
    [allow(to({ methods: ['GET'] })), /TCP port 6379, 5432 has none of: there the rule never matches/],
    [deny(to({ methods: ['GET'] })), /there the rule holds without them and covers more/],
    [deny(to({ methods: ['GET'], ports: ['6379', '80'] })), /TCP port 6379 has none of/],
  ])('%j', (spec, message) => {
    expect(warnings([policy(spec)], { tcpPorts })).toEqual([expect.stringMatching(message)]);
  });

  it.each([[allow(to({ ports: ['6379'] }))], [deny(to({ methods: ['GET'], ports: ['80'] }))]])(
    'says nothing of %j',
    (spec) => {
      expect(warnings([policy(spec)], { tcpPorts })).toEqual([]);
    },
  );
});

describe('an IP address as the only factor', () => {
  const found = (rule: object, action = 'ALLOW'): string => {
    const parsed = parseAuthorizationPolicy({
      apiVersion: 'security.istio.io/v1',
      kind: 'AuthorizationPolicy',
      metadata: { name: 'p', namespace: 'shop' },
      spec: { action, rules: [rule] },
    });
    return renderIssues(parsed.issues);
  };
  const ip = { key: 'remote.ip', values: ['10.0.0.0/8'] };
  it.each<[object, string | undefined]>([
    [from({ ipBlocks: ['10.0.0.0/8'] }), 'spec.rules[0].from[0]'],
    [from({ remoteIpBlocks: ['10.0.0.0/8'] }), 'spec.rules[0].from[0]'],
    [{ when: [ip] }, 'spec.rules[0].when'],
    [from({ ipBlocks: ['10.0.0.0/8'], namespaces: ['a'] }), undefined],
    [{ ...from({ namespaces: ['a'] }), when: [ip] }, undefined],
    [
      { ...from({ ipBlocks: ['10.0.0.0/8'] }), when: [{ key: 'request.auth.claims[a]', values: ['b'] }] },
      undefined,
    ],
    [from({ notIpBlocks: ['10.0.0.0/8'] }), undefined],
  ])('%j', (rule, path) => {
    const text = found(rule);
    if (path === undefined) expect(text).toBe('');
    else expect(text).toContain(`warning ${path}: an IP address is the only factor`);
    expect(found(rule, 'DENY')).toBe('');
  });
});
