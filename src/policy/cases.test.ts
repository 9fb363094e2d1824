import { describe, expect, it } from 'vitest';
import {
  parseAuthorizationPolicy,
  parseCases,
  renderIssues,
  runCase,
  type AuthorizationPolicy,
  type CaseResult,
  type ParsedCases,
} from './index.ts';
import { requestAuthentication } from './authn/testing.ts';

const settings = { trustDomain: 'td', rootNamespace: 'root', defaultAction: 'deny' } as const;
const parse = (...cases: unknown[]): ParsedCases => parseCases({ cases }, settings);
function policy(spec: object, name = 'p'): AuthorizationPolicy {
  const parsed = parseAuthorizationPolicy({
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name, namespace: 'shop' },
    spec,
  });
  if (!parsed.ok) throw new Error(renderIssues(parsed.issues));
  return parsed.policy;
}
function run(policies: AuthorizationPolicy[], ...cases: unknown[]): CaseResult[] {
  const parsed = parse(...cases);
  if (!parsed.ok) throw new Error(renderIssues(parsed.issues));
  const labelsOf = (namespace: string, pod: string): Record<string, string> | undefined =>
    namespace === 'shop' && pod === 'cart-0' ? { app: 'cart' } : undefined;
  const requestAuthentications = [
    requestAuthentication([{ issuer: 'i', jwksUri: 'https://i.example/keys' }]),
  ];
  const documents = { policies, requestAuthentications, peerAuthentications: [] };
  return parsed.cases.map((each) => runCase(each, { ...documents, settings, nowMs: () => 0, labelsOf }));
}
const simple = { from: 'shop/web', to: 'shop/cart-0', expect: 'allow' };
const cart = policy({
  selector: { matchLabels: { app: 'cart' } },
  rules: [{ from: [{ source: { serviceAccounts: ['web'] } }], to: [{ operation: { methods: ['GET'] } }] }],
});

describe('parseCases', () => {
  it('combines lists, and names each case by what it is', () => {
    const parsed = parse({ ...simple, from: ['shop/web', 'nobody'], method: ['GET', 'PUT'], name: 'n' });
    expect(parsed.ok && parsed.cases.map(({ name }) => name)).toEqual([
      'n (spiffe://td/ns/shop/sa/web -> shop/cart-0: GET /)',
      'n (spiffe://td/ns/shop/sa/web -> shop/cart-0: PUT /)',
      'n (nobody -> shop/cart-0: GET /)',
      'n (nobody -> shop/cart-0: PUT /)',
    ]);
    const one = parse({ ...simple, name: 'one' }, simple, { ...simple, protocol: 'tcp' });
    expect(one.ok && one.cases.map(({ name }) => name)).toEqual([
      'one',
      'spiffe://td/ns/shop/sa/web -> shop/cart-0: GET /',
      'spiffe://td/ns/shop/sa/web -> shop/cart-0: connects',
    ]);
  });

  it.each<[object, string]>([
    [{ ...simple, expects: 'allow' }, 'cases[0].expects: unknown field "expects"; did you mean expect?'],
    [{ ...simple, expect: 'ALLOW' }, 'cases[0].expect: expected allow or deny, found "ALLOW"'],
    [{ from: 'shop/web', expect: 'allow' }, 'cases[0].to: expected a text'],
    [{ ...simple, to: 'cart-0' }, 'cases[0].to: "cart-0" is no pod'],
    [{ ...simple, from: 'web' }, 'cases[0].from: "web" is no caller'],
    [{ ...simple, from: [] }, 'cases[0].from: an empty list'],
    [{ ...simple, port: '80' }, 'cases[0].port: expected a number'],
    [{ ...simple, sourceIp: '10.0.0' }, 'cases[0].sourceIp: "10.0.0" is no IP address'],
    [{ ...simple, at: 'noon' }, 'cases[0].at: expected a time'],
    [{ ...simple, claims: 'aaa' }, 'cases[0].claims: expected a mapping'],
    [{ ...simple, headers: { a: 1 } }, 'cases[0].headers.a: expected a text'],
    [{ ...simple, authorizerSays: true }, 'cases[0].authorizerSays: expected allow or deny'],
    [
      { ...simple, path: Array.from({ length: 1_001 }, () => '/') },
      'cases[0]: its lists combine to 1001 cases',
    ],
  ])('refuses %j', (value, message) => {
    const parsed = parse(value);
    expect(renderIssues(parsed.issues)).toContain(message);
    expect(parsed.ok).toBe(false);
  });

  it('refuses a document without cases', () => {
    expect(parseCases({}, settings).ok).toBe(false);
    expect(parseCases('text', settings).ok).toBe(false);
  });
});

describe('runCase', () => {
  it('passes, or says what came instead', () => {
    const results = run([cart], simple, { ...simple, method: 'PUT' }, { ...simple, to: 'shop/other' });
    expect(results.map(({ passed, message }) => [passed, message])).toEqual([
      [true, ''],
      [
        false,
        'expected ALLOW, got DENY: no ALLOW rule matches; nearest is rule 0 of shop/p: method PUT is not GET',
      ],
      [
        false,
        'could not tell: there is no Pod shop/other in the manifests, and shop/p selects by labels: add the Pod, or give its labels by labels',
      ],
    ]);
    const unknown = { ...simple, to: 'shop/other', expect: 'deny' };
    expect(run([cart], unknown, { ...unknown, labels: {} }).map(({ passed }) => passed)).toEqual([
      false,
      true,
    ]);
    // Another namespace's policies do not reach it, so its labels cannot matter.
    expect(run([cart], { ...unknown, to: 'elsewhere/any' })[0]?.passed).toBe(true);
    expect(run([cart], { ...simple, to: 'shop/other', labels: { app: 'cart' } })[0]?.passed).toBe(true);
  });

  it('holds the deciding policy to its name', () => {
    const results = run([cart], { ...simple, by: 'shop/p' }, { ...simple, by: 'shop/q' });
    expect(results.map(({ passed }) => passed)).toEqual([true, false]);
    expect(results[1]?.message).toContain('expected ALLOW by shop/q, got it by shop/p');
    const denied = run([cart], { ...simple, from: 'nobody', expect: 'deny', by: 'shop/p' });
    expect(denied[0]?.message).toContain('got it by no policy');
  });

  it('takes all of the request', () => {
    const when = [
      { key: 'request.headers[x-a]', values: ['2'] },
      { key: 'request.auth.claims[g]', values: ['dev'] },
      { key: 'experimental.envoy.filters.http.x[k]', values: ['v'] },
      { key: 'source.ip', values: ['10.0.0.1'] },
      { key: 'destination.port', values: ['80'] },
      { key: 'connection.sni', values: ['s'] },
    ];
    const full = {
      ...simple,
      headers: { 'X-A': ['1', '2'] },
      claims: { iss: 'i', g: ['dev'] },
      filterMetadata: { 'envoy.filters.http.x': { k: 'v' } },
      sourceIp: '10.0.0.1',
      port: 80,
      sni: 's',
    };
    expect(run([policy({ rules: [{ when }] })], full, simple).map(({ passed }) => passed)).toEqual([
      true,
      false,
    ]);
  });

  it('fails, whatever is expected, where a rule looks at what the case leaves out', () => {
    const shut = policy({ action: 'DENY', rules: [{ to: [{ operation: { ports: ['8080'] } }] }] }, 'shut');
    const denied = { ...simple, expect: 'deny' };
    const results = run([cart, shut], simple, denied, { ...simple, port: 80 }, { ...denied, port: 8080 });
    expect(results.map(({ passed }) => passed)).toEqual([false, false, true, true]);
    expect(results[0]?.message).toBe('could not tell: rule 0 of shop/shut looks at the port; give port');
  });

  it('says what keeps a caller from the rules, and a token', () => {
    const open = policy({ rules: [{}] });
    const results = run(
      [open],
      { ...simple, from: 'nobody' },
      { ...simple, claims: { iss: 'other' } },
      { ...simple, claims: { iss: 'i' } },
    );
    expect(results.map(({ decision }) => decision.verdict)).toEqual(['DENY', 'DENY', 'ALLOW']);
    expect(results[0]?.message).toMatch(/got DENY: the caller comes without mTLS/);
    expect(results[1]?.message).toMatch(
      /the token is refused before any rule sees it \(401\): no rule .* \(known: i\)/,
    );
    expect(run([open], { ...simple, to: 'elsewhere/x', claims: { iss: 'i' } })[0]?.message).toMatch(
      /rules see no token: no RequestAuthentication of the workload verifies tokens/,
    );
  });

  it('does not guess what an external authorizer answers', () => {
    const ask = policy({ action: 'CUSTOM', provider: { name: 'opa' }, rules: [{}] }, 'ask');
    const world = {
      policies: [cart, ask],
      requestAuthentications: [],
      peerAuthentications: [],
      settings: {
        ...settings,
        authorizers: [
          {
            name: 'opa',
            protocol: 'grpc',
            host: 'h',
            port: 1,
            timeoutMs: 1,
            failOpen: false,
            statusOnError: 403,
          },
        ],
      },
      nowMs: () => 0,
      labelsOf: () => ({ app: 'cart' }),
    } as const;
    const parsed = parse(
      simple,
      { ...simple, authorizerSays: 'allow' },
      { ...simple, authorizerSays: 'deny' },
    );
    if (!parsed.ok) throw new Error(renderIssues(parsed.issues));
    const results = parsed.cases.map((each) => runCase(each, world));
    expect(results.map(({ passed }) => passed)).toEqual([false, true, false]);
    expect(results[0]?.message).toBe('depends on what opa answers: state it by authorizerSays');
  });
});
