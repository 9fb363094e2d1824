import { describe, expect, it } from 'vitest';
import {
  compile,
  evaluate,
  parseAuthorizationPolicy,
  renderIssues,
  type Decision,
  type MeshSettings,
  type Parsed,
  type RbacPolicy,
  type Request,
} from './index.ts';

const settings: MeshSettings = { trustDomain: 'td', rootNamespace: 'root', defaultAction: 'deny' };
const parse = (spec: object): Parsed =>
  parseAuthorizationPolicy({
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'p', namespace: 'shop' },
    spec,
  });
const policyOf = (spec: object): Extract<Parsed, { ok: true }>['policy'] => {
  const parsed = parse(spec);
  if (!parsed.ok) throw new Error(renderIssues(parsed.issues));
  return parsed.policy;
};
const from = (source: object, action = 'ALLOW'): object => ({ action, rules: [{ from: [{ source }] }] });
const when = (key: string, rest: object, action = 'ALLOW'): object => ({
  action,
  rules: [{ when: [{ key, ...rest }] }],
});

const claims = {
  iss: 'https://issuer.example/realm',
  sub: 'alice',
  aud: ['cart', 'web'],
  azp: 'app',
  groups: ['dev', 'ops', 7],
  realm_access: { roles: ['admin'], 'a.b': 'c' },
  admin: true,
  level: 3,
  empty: '',
  list: [],
};
const request: Request = {
  protocol: 'http',
  principal: undefined,
  sourceIp: undefined,
  remoteIp: undefined,
  destinationIp: undefined,
  destinationPort: 80,
  sni: undefined,
  method: 'GET',
  path: '/',
  host: 'cart',
  headers: {},
  claims,
  filterMetadata: { 'envoy.filters.http.x': { tier: 'gold', tags: ['a1', 'b2'], n: 1 } },
};
const decide = (spec: object, changes: Partial<Request> = {}, open = false): Decision =>
  evaluate(
    [policyOf(spec)],
    { ...request, ...changes },
    { settings: open ? { ...settings, defaultAction: 'allow' } : settings },
  );
const allows = (spec: object, changes: Partial<Request> = {}): boolean =>
  decide(spec, changes).verdict === 'ALLOW';
const withoutToken = { claims: undefined };

describe('requestPrincipals', () => {
  it.each([
    ['https://issuer.example/realm/alice', true],
    ['https://issuer.example/realm/Alice', false],
    ['https://issuer.example/alice', false],
    ['https://issuer.example/realm/*', true],
    ['https://issuer.example/realm/al*', true],
    ['https://issuer.example/*', false],
    ['https:*', true],
    ['*/alice', true],
    ['*realm/alice', true],
    ['*other/alice', false],
    ['*/bob', false],
    ['*lice', true],
    ['http*', true],
    ['ftp*', false],
    ['*', true],
  ])('%s: %s', (value, allowed) => {
    expect(allows(from({ requestPrincipals: [value] }))).toBe(allowed);
    expect(allows(when('request.auth.principal', { values: [value] }))).toBe(allowed);
    expect(allows(from({ requestPrincipals: [value] }), withoutToken)).toBe(false);
    expect(allows(from({ requestPrincipals: [value] }), { protocol: 'tcp' })).toBe(false);
  });

  it('needs both halves as texts', () => {
    const any = from({ requestPrincipals: ['*'] });
    expect(allows(any, { claims: { iss: 'i' } })).toBe(false);
    expect(allows(any, { claims: { iss: 'i', sub: '' } })).toBe(false);
    expect(allows(any, { claims: { iss: 'i', sub: ['s'] } })).toBe(false);
    expect(allows(any, { claims: { iss: 'i', sub: 7 } })).toBe(false);
    expect(allows(any, { claims: 'no struct' })).toBe(false);
    expect(allows(any, { claims: { iss: 'i', sub: 's' } })).toBe(true);
  });

  it('negative: an ALLOW asks for a token, a DENY takes its absence, too', () => {
    expect(allows(from({ notRequestPrincipals: ['*/bob'] }))).toBe(true);
    expect(allows(from({ notRequestPrincipals: ['*/alice'] }))).toBe(false);
    expect(allows(from({ notRequestPrincipals: ['*/bob'] }), withoutToken)).toBe(false);
    const deny = from({ notRequestPrincipals: ['*'] }, 'DENY');
    expect(decide(deny, withoutToken, true).verdict).toBe('DENY');
    expect(decide(deny, {}, true).verdict).toBe('ALLOW');
  });

  it.each([
    ['alice', 'names an issuer or a subject, not both; write <iss>/<sub>, "alice/*" or "*/alice"'],
    ['https://issuer/', 'has no subject'],
    ['/alice', 'has no issuer'],
    ['a*b/c', 'at most one *'],
    ['*/b*', 'at most one *'],
    [' x/y', 'blanks around it'],
  ])('refuses %s', (value, message) => {
    expect(renderIssues(parse(from({ requestPrincipals: [value] })).issues)).toContain(message);
    expect(parse(from({ requestPrincipals: [value] })).ok).toBe(false);
  });

  it('warns where the cut falls into the scheme, and where nobody is left', () => {
    const warning = (spec: object): string => renderIssues(parse(spec).issues);
    expect(warning(from({ requestPrincipals: ['https://issuer.ex*'] }))).toContain(
      'is cut at the last / into issuer "https:/" and subject "issuer.ex*" and can never match; for a whole issuer write "https://issuer.ex/*"',
    );
    expect(warning(from({ requestPrincipals: ['https://issuer'] }))).toContain('can never match');
    expect(warning(from({ requestPrincipals: ['https://issuer/*'] }))).toBe('');
    expect(warning(from({ notRequestPrincipals: ['*'] }))).toMatch(
      /notRequestPrincipals\[0\]: can never match/,
    );
    expect(warning(from({ notRequestPrincipals: ['*'] }, 'DENY'))).toBe('');
    expect(warning(from({ notPrincipals: ['*'] }))).toMatch(/asks for an authenticated caller/);
  });
});

describe('claims', () => {
  it.each<[string, string[], boolean]>([
    ['request.auth.audiences', ['web'], true],
    ['request.auth.audiences', ['w*'], true],
    ['request.auth.audiences', ['other'], false],
    ['request.auth.presenter', ['app'], true],
    ['request.auth.presenter', ['*p'], true],
    ['request.auth.claims[sub]', ['alice'], true],
    ['request.auth.claims[groups]', ['ops'], true],
    ['request.auth.claims[groups]', ['7'], false],
    ['request.auth.claims[groups]', ['dev,ops'], false],
    ['request.auth.claims[realm_access][roles]', ['admin'], true],
    ['request.auth.claims[realm_access][a.b]', ['c'], true],
    ['request.auth.claims[realm_access.roles]', ['admin'], false],
    ['request.auth.claims[realm_access]', ['*'], false],
    ['request.auth.claims[groups][0]', ['dev'], false],
    ['request.auth.claims[admin]', ['true'], false],
    ['request.auth.claims[admin]', ['*'], false],
    ['request.auth.claims[level]', ['3'], false],
    ['request.auth.claims[empty]', ['*'], false],
    ['request.auth.claims[list]', ['*'], false],
    ['request.auth.claims[groups]', ['*'], true],
    ['request.auth.claims[__proto__]', ['*'], false],
    ['request.auth.claims[constructor][name]', ['*'], false],
  ])('%s %j: %s', (key, values, allowed) => {
    expect(allows(when(key, { values }))).toBe(allowed);
    expect(allows(when(key, { notValues: values }))).toBe(!allowed);
    expect(allows(when(key, { values }), withoutToken)).toBe(false);
  });

  it('is one text in one case, and a list of one in the other', () => {
    expect(allows(when('request.auth.audiences', { values: ['cart'] }), { claims: { aud: 'cart' } })).toBe(
      true,
    );
  });

  it.each([
    ['request.auth.claims', 'unknown key'],
    ['request.auth.claims[]', 'unknown key'],
    ['request.auth.claims[a', 'unknown key'],
    ['request.auth.claims[a]b', 'unknown key'],
    ['request.auth.claim[a]', 'did you mean request.auth.claims[NAME]?'],
    ['request.auth.audience', 'did you mean request.auth.audiences?'],
    [`request.auth.claims[${'x'.repeat(1024)}]`, 'a key has at most 1024 characters'],
    ['request.auth.claims[\ud800]', 'holds half of a character'],
    ['experimental.envoy.filters.a', 'unknown key'],
    ['experimental.a.b[c]', 'unknown key'],
  ])('refuses the key %s', (key, message) => {
    expect(renderIssues(parse(when(key, { values: ['x'] })).issues)).toContain(message);
  });

  it('warns of a bare notValues, which a request without a token passes', () => {
    const { issues } = parse(when('request.auth.claims[group]', { notValues: ['guests'] }));
    expect(renderIssues(issues)).toMatch(/when\[0\]\.notValues: also matches a request without a token/);
  });
});

describe('metadata of other filters', () => {
  it.each<[string, string[], boolean]>([
    ['tier', ['gold'], true],
    ['tier', ['g*'], true],
    ['tier', ['[gold]'], false],
    ['tags', ['[b2]'], true],
    ['tags', ['[b*]'], true],
    ['tags', ['[*]'], true],
    ['tags', ['b2'], false],
    ['n', ['1'], false],
    ['none', ['*'], false],
  ])('%s %j: %s', (key, values, allowed) => {
    const name = `experimental.envoy.filters.http.x[${key}]`;
    expect(allows(when(name, { values }))).toBe(allowed);
    expect(allows(when(name, { values }), { protocol: 'tcp' })).toBe(allowed);
    expect(allows(when(name, { values }), { filterMetadata: {} })).toBe(false);
  });
});

describe('in Envoy', () => {
  const rule = (spec: object): RbacPolicy | undefined =>
    compile([policyOf(spec)], { protocol: 'http', settings }).allow.typed_config.rules?.policies[
      'ns[shop]-policy[p]-rule[0]'
    ];
  const metadata = (path: string[], value: object, filter = 'envoy.filters.http.jwt_authn'): object => ({
    sourced_metadata: { metadata_matcher: { filter, path: path.map((key) => ({ key })), value } },
  });
  const notEmpty = { string_match: { safe_regex: { regex: String.raw`\C+` } } };

  it('a request principal is two claims of the payload', () => {
    expect(rule(from({ requestPrincipals: ['https://i/*'] }))?.principals).toEqual([
      {
        and_ids: {
          ids: [
            metadata(['payload', 'iss'], { string_match: { exact: 'https://i' } }),
            metadata(['payload', 'sub'], notEmpty),
          ],
        },
      },
    ]);
  });

  it('a claim is a text or a list', () => {
    const text = { string_match: { prefix: 'de' } };
    expect(rule(when('request.auth.claims[a][b]', { values: ['de*'] }))?.principals).toEqual([
      metadata(['payload', 'a', 'b'], {
        or_match: { value_matchers: [text, { list_match: { one_of: text } }] },
      }),
    ]);
  });

  it('a negative request principal in an ALLOW asks for a token first', () => {
    const [principal] = rule(from({ notRequestPrincipals: ['i/s'] }))?.principals ?? [];
    expect(principal).toMatchObject({
      and_ids: {
        ids: [
          {
            and_ids: {
              ids: [metadata(['payload', 'iss'], notEmpty), metadata(['payload', 'sub'], notEmpty)],
            },
          },
          { not_id: { and_ids: { ids: [{}, {}] } } },
        ],
      },
    });
  });

  it('metadata of a filter is a permission', () => {
    const permissions = (value: string): unknown =>
      rule(when('experimental.envoy.filters.http.x[k]', { values: [value] }))?.permissions;
    const filter = 'envoy.filters.http.x';
    expect(permissions('v')).toEqual([metadata(['k'], { string_match: { exact: 'v' } }, filter)]);
    expect(permissions('[v]')).toEqual([
      metadata(['k'], { list_match: { one_of: { string_match: { exact: 'v' } } } }, filter),
    ]);
  });
});

describe('explanations', () => {
  const failed = (spec: object, changes: Partial<Request> = {}): readonly string[] | undefined =>
    decide(spec, changes).nearest?.failed;

  it.each<[object, Partial<Request>, string]>([
    [
      from({ requestPrincipals: ['i/bob', 'i/eve'] }),
      {},
      'request principal https://issuer.example/realm/alice is not i/bob or i/eve',
    ],
    [
      from({ requestPrincipals: ['*'] }),
      withoutToken,
      'the request has no verified token, so it has no request principal',
    ],
    [
      from({ notRequestPrincipals: ['i/bob'] }),
      { claims: { sub: 'alice' } },
      'the token has no iss or no sub',
    ],
    [when('request.auth.claims[groups]', { values: ['qa'] }), {}, 'claim groups dev, ops is not qa'],
    [when('request.auth.claims[a][b]', { values: ['qa'] }), {}, 'claim a.b is missing'],
    [
      when('request.auth.claims[a]', { values: ['qa'] }),
      withoutToken,
      'the request has no verified token, so it has no claim a',
    ],
    [
      when('experimental.envoy.filters.http.x[tier]', { values: ['[gold]'] }),
      {},
      'metadata tier of envoy.filters.http.x gold is not [gold]',
    ],
  ])('%j', (spec, changes, words) => {
    expect(failed(spec, changes)).toEqual([words]);
  });
});
