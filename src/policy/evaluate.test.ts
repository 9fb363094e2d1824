import { describe, expect, it } from 'vitest';
import {
  evaluate,
  Evaluator,
  parseAuthorizationPolicy,
  renderIssues,
  type AuthorizationPolicy,
  type Decision,
  type MeshSettings,
  type Request,
} from './index.ts';

const settings: MeshSettings = { trustDomain: 'td', rootNamespace: 'root', defaultAction: 'deny' };
const web = 'spiffe://td/ns/shop/sa/web';

const base: Request = {
  protocol: 'http',
  principal: web,
  sourceIp: '10.0.0.7',
  remoteIp: undefined,
  destinationIp: '10.0.0.8',
  destinationPort: 80,
  sni: undefined,
  method: 'GET',
  path: '/api/items',
  host: 'cart.shop',
  headers: {},
};

let count = 0;
function policy(spec: object): AuthorizationPolicy {
  count += 1;
  const parsed = parseAuthorizationPolicy({
    apiVersion: 'security.countersign.dev/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: `p${count}`, namespace: 'shop' },
    spec,
  });
  if (!parsed.ok) throw new Error(renderIssues(parsed.issues));
  return parsed.policy;
}
const decide = (specs: object[], request: Partial<Request> = {}, open = false): Decision =>
  evaluate(
    specs.map(policy),
    { ...base, ...request },
    { settings: open ? { ...settings, defaultAction: 'allow' } : settings },
  );
const verdict = (spec: object, request: Partial<Request> = {}): string => decide([spec], request).verdict;
const from = (source: object, action = 'ALLOW'): object => ({ action, rules: [{ from: [{ source }] }] });
const to = (operation: object, action = 'ALLOW'): object => ({ action, rules: [{ to: [{ operation }] }] });
const when = (key: string, rest: object, action = 'ALLOW'): object => ({
  action,
  rules: [{ when: [{ key, ...rest }] }],
});
const all = { rules: [{}] };

it('a caller of a trust domain that ended is denied before any policy, and told so', () => {
  const ended = { settings: { ...settings, endedTrustDomains: ['other'] } };
  const asked = { ...base, principal: 'spiffe://other/ns/shop/sa/web' };
  const decision = evaluate([policy(all), policy({ ...all, action: 'AUDIT' })], asked, ended);
  expect(decision).toMatchObject({ verdict: 'DENY', decidedBy: undefined, audited: [{ rule: 0 }] });
  expect(decision.reason).toBe('the trust domain other is not trusted any more: there is no bundle of it');
  expect(evaluate([policy(all)], { ...base, principal: 'spiffe://other.x/ns/a/sa/b' }, ended).verdict).toBe(
    'ALLOW',
  );
});

describe('a caller of another trust domain', () => {
  const foreign = { principal: 'spiffe://other/ns/shop/sa/web' };

  it.each([
    [{ namespaces: ['shop'] }],
    [{ namespaces: ['*'] }],
    [{ notNamespaces: ['bank'] }],
    [{ serviceAccounts: ['web'] }],
    [{ notServiceAccounts: ['bank'] }],
  ])('is not who an ALLOW means by %j, and is told so', (fields) => {
    expect(verdict(from(fields))).toBe('ALLOW');
    const { verdict: refused, reason } = decide([from(fields)], foreign);
    expect(refused).toBe('DENY');
    expect(reason).toMatch(
      /the caller is of trust domain other, and a source .* is one of td: principals name/,
    );
    expect(decide([when('source.namespace', { values: ['shop'] })], foreign).verdict).toBe('DENY');
  });

  it('is who a principal in full means, and an alias of the trust domain makes it one of our own', () => {
    expect(verdict(from({ principals: ['other/ns/shop/sa/web'] }), foreign)).toBe('ALLOW');
    const aliased = { settings: { ...settings, trustDomainAliases: ['other'] } };
    const asked = { ...base, ...foreign };
    expect(evaluate([policy(from({ namespaces: ['shop'] }))], asked, aliased).verdict).toBe('ALLOW');
  });

  it.each([
    [{ namespaces: ['shop'] }],
    [{ serviceAccounts: ['web'] }],
    [{ notNamespaces: ['shop'] }],
    [{ notServiceAccounts: ['web'] }],
  ])('is in doubt who a DENY means by %j', (fields) => {
    expect(decide([all, from(fields, 'DENY')], foreign).verdict).toBe('DENY');
  });
});

describe('the order', () => {
  it('denies by default, and says so', () => {
    expect(decide([])).toMatchObject({ verdict: 'DENY', decidedBy: undefined });
    expect(decide([]).reason).toBe("no ALLOW policy selects the workload; the mesh's default action is deny");
    expect(decide([], {}, true).verdict).toBe('ALLOW');
    expect(decide([{}], {}, true)).toMatchObject({
      verdict: 'DENY',
      reason: 'the ALLOW policies of the workload have no rule: they allow nothing',
    });
  });

  it('DENY wins over ALLOW however exact, and names its policy and reason', () => {
    const decision = decide([
      from({ principals: ['td/ns/shop/sa/web'] }),
      { ...to({ paths: ['/*'] }, 'DENY'), reason: 'closed' },
    ]);
    expect(decision.verdict).toBe('DENY');
    expect(decision.reason).toMatch(/^denied by rule 0 of DENY policy shop\/p\d+: closed$/);
    expect(decision.nearest).toBeUndefined();
  });

  it('AUDIT changes nothing and is told', () => {
    const decision = decide([all, to({ methods: ['GET'] }, 'AUDIT'), to({ methods: ['PUT'] }, 'AUDIT')]);
    expect(decision.verdict).toBe('ALLOW');
    expect(decision.audited).toHaveLength(1);
  });

  it('names the rule that Envoy names: the first by name, 10 before 2', () => {
    const rules = Array.from({ length: 11 }, (_, index) =>
      index === 10 || index === 2 ? {} : to({ paths: ['/no'] }),
    );
    const spec = {
      rules: rules.map((rule) => ('rules' in rule ? { to: [{ operation: { paths: ['/no'] } }] } : rule)),
    };
    expect(decide([spec]).decidedBy?.rule).toBe(10);
  });

  it('tells what the shadow policies would have changed', () => {
    const shadow = { mode: 'Shadow' };
    expect(decide([all]).shadow).toBeUndefined();
    expect(decide([all, { ...to({ methods: ['GET'] }, 'DENY'), ...shadow }])).toMatchObject({
      verdict: 'ALLOW',
      shadow: { verdict: 'DENY' },
    });
    expect(decide([to({ methods: ['PUT'] }), { ...all, ...shadow }])).toMatchObject({
      verdict: 'DENY',
      shadow: { verdict: 'ALLOW' },
    });
    // An ALLOW that is tried beside one that matches takes nothing away.
    expect(decide([all, { ...to({ methods: ['PUT'] }), ...shadow }])).toMatchObject({
      shadow: { verdict: 'ALLOW' },
    });
    expect(decide([{ ...to({ methods: ['PUT'] }), ...shadow }], {}, true)).toMatchObject({
      verdict: 'ALLOW',
      shadow: { verdict: 'DENY' },
    });
  });
});

describe('sources', () => {
  it.each([
    [{ principals: ['td/ns/shop/sa/web'] }, true],
    [{ principals: ['spiffe://td/ns/shop/sa/web'] }, true],
    [{ principals: ['TD/ns/shop/sa/web'] }, false],
    [{ principals: ['*/sa/web'] }, true],
    [{ principals: ['*spiffe://td/ns/shop/sa/web'] }, false],
    [{ namespaces: ['shop'] }, true],
    [{ namespaces: ['sho'] }, false],
    [{ namespaces: ['s*'] }, true],
    [{ serviceAccounts: ['web'] }, true],
    [{ serviceAccounts: ['other/web'] }, false],
    [{ trustDomains: ['td'] }, true],
    [{ trustDomains: ['t'] }, false],
    [{ ipBlocks: ['10.0.0.0/24'] }, true],
    [{ ipBlocks: ['::/0'] }, false],
    [{ remoteIpBlocks: ['10.0.0.7'] }, true],
    [{ namespaces: ['shop'], notPrincipals: ['*/sa/web'] }, false],
    [{ namespaces: ['other'], principals: ['*'] }, false],
  ])('%j', (source, matches) => {
    expect(verdict(from(source))).toBe(matches ? 'ALLOW' : 'DENY');
  });

  it('negative fields: ALLOW demands a proven peer, DENY takes the unproven', () => {
    const nobody = { principal: undefined };
    for (const source of [
      { notPrincipals: ['x/y'] },
      { notNamespaces: ['x'] },
      { notTrustDomains: ['x'] },
      { notServiceAccounts: ['x'] },
    ]) {
      expect(verdict(from(source))).toBe('ALLOW');
      expect(verdict(from(source), nobody)).toBe('DENY');
      expect(decide([all, from(source, 'DENY')], nobody).verdict).toBe('DENY');
    }
    expect(verdict(from({ notIpBlocks: ['1.1.1.1'] }), nobody)).toBe('ALLOW');
  });

  it('a namespace is the segment behind the trust domain, nothing deeper', () => {
    const request = { principal: 'spiffe://td/x/ns/shop/sa/web' };
    expect(verdict(from({ namespaces: ['shop'] }), request)).toBe('DENY');
    expect(verdict(from({ serviceAccounts: ['web'] }), { principal: `${web}/more` })).toBe('DENY');
  });

  it('an IPv4-mapped address is its IPv4 address', () => {
    expect(verdict(from({ ipBlocks: ['10.0.0.0/8'] }), { sourceIp: '::ffff:10.0.0.7' })).toBe('ALLOW');
  });
});

describe('operations', () => {
  it.each<[object, Partial<Request>, boolean]>([
    [{ hosts: ['CART.shop'] }, {}, true],
    [{ hosts: ['cart.shop'] }, { host: 'cart.shop:80' }, false],
    [{ hosts: ['*.SHOP'] }, {}, true],
    [{ methods: ['get'] }, {}, false],
    [{ paths: ['/api/*'] }, { path: '/api/../admin' }, false],
    [{ paths: ['/admin'] }, { path: '/api/%2e%2e//admin?x' }, true],
    [{ paths: ['/API/*'] }, {}, false],
    [{ paths: ['*/items'] }, {}, true],
    [{ paths: ['/{*}/items'] }, {}, true],
    [{ paths: ['/{*}'] }, {}, false],
    [{ paths: ['/{**}'] }, {}, true],
    [{ paths: ['/a/{*}'] }, { path: '/a/[x]' }, false],
    [{ ports: ['80'] }, {}, true],
    [{ ports: ['80'] }, { destinationPort: undefined }, false],
    [{ notPorts: ['81'], methods: ['G*'] }, {}, true],
  ])('%j for %j', (operation, request, matches) => {
    expect(verdict(to(operation), request)).toBe(matches ? 'ALLOW' : 'DENY');
  });

  it('a DENY template is not passed by a character that Envoy has no name for', () => {
    expect(decide([all, to({ paths: ['/a/{*}'] }, 'DENY')], { path: '/a/[x]' }).verdict).toBe('DENY');
    expect(verdict(to({ notPaths: ['/a/{*}'] }), { path: '/a/[x]' })).toBe('DENY');
  });

  it('refuses a malformed path before any policy', () => {
    expect(decide([all], { path: '/a%2f..' }).reason).toMatch(/Envoy answers 400/);
    const keep = new Evaluator([policy(all)], { settings, escapedSlashes: 'keep' });
    expect(keep.decide({ ...base, path: '/a%2f..' }).verdict).toBe('ALLOW');
  });

  it('refuses a header with _ before any policy', () => {
    const refused = decide([all], { headers: { 'x-a': ['1'], x_a: ['1'] } });
    expect(refused).toMatchObject({ verdict: 'DENY', decidedBy: undefined });
    expect(refused.reason).toMatch(/^the name of header "x_a" holds a _: Envoy answers 400/);
    expect(decide([all], { headers: { x_a: [] } }).verdict).toBe('ALLOW');
  });
});

describe('conditions', () => {
  it.each<[string, object, Partial<Request>, boolean]>([
    ['request.headers[X-Team]', { values: ['a'] }, { headers: { 'x-team': ['a'] } }, true],
    ['request.headers[X-Team]', { values: ['b'] }, { headers: { 'x-team': ['a', 'b'] } }, true],
    ['request.headers[X-Team]', { values: ['a,b'] }, { headers: { 'x-team': ['a', 'b'] } }, false],
    ['request.headers[X-Team]', { notValues: ['b'] }, { headers: { 'x-team': ['a', 'b'] } }, false],
    ['request.headers[X-Team]', { values: ['*'] }, { headers: { 'x-team': ['', 'b'] } }, true],
    ['request.headers[Accept]', { values: ['a,b'] }, { headers: { accept: ['a', 'b'] } }, true],
    ['request.headers[Accept]', { values: ['b'] }, { headers: { accept: ['', 'b'] } }, true],
    ['request.headers[Accept]', { values: ['a'] }, { headers: { accept: ['a', 'b'] } }, false],
    ['request.headers[X-Team]', { values: ['*'] }, { headers: { 'x-team': [''] } }, false],
    ['request.headers[X-Team]', { notValues: ['a'] }, {}, true],
    ['request.headers[toString]', { values: ['*'] }, {}, false],
    ['request.headers[Host]', { values: ['cart.shop'] }, {}, true],
    ['request.headers[:path]', { values: ['/b?c'] }, { path: '/a/../b?c' }, true],
    ['connection.sni', { values: ['*'] }, {}, false],
    ['connection.sni', { notValues: ['a'] }, {}, true],
    ['connection.sni', { values: ['A.sni'] }, { sni: 'a.SNI' }, true],
    ['connection.sni', { notValues: ['*.SNI'] }, { sni: 'a.sni' }, false],
    ['request.headers[Referer]', { values: ['*'] }, { headers: { referer: ['"v"'] } }, false],
    ['request.headers[Referer]', { values: ['*'] }, { headers: { referer: ['https://u@a.b/'] } }, false],
    ['request.headers[Referer]', { values: ['*'] }, { headers: { referer: ['https://a.b/#c'] } }, false],
    [
      'request.headers[Referer]',
      { values: ['https://a.b/*'] },
      { headers: { referer: ['https://a.b/?c'] } },
      true,
    ],
    ['destination.ip', { values: ['10.0.0.8'] }, {}, true],
    ['destination.port', { values: ['80'], notValues: ['80'] }, {}, false],
    ['source.namespace', { notValues: ['shop'] }, {}, false],
  ])('%s %j for %j', (key, rest, request, matches) => {
    expect(verdict(when(key, rest), request)).toBe(matches ? 'ALLOW' : 'DENY');
  });
});

describe('TCP', () => {
  const tcp: Partial<Request> = { protocol: 'tcp', method: undefined, path: undefined, host: undefined };

  it('an ALLOW rule with HTTP fields never matches, a DENY rule covers more', () => {
    const mixed = {
      rules: [{ to: [{ operation: { methods: ['GET'] } }, { operation: { ports: ['80'] } }] }],
    };
    expect(decide([mixed], tcp)).toMatchObject({
      verdict: 'DENY',
      nearest: { failed: ['the rule names HTTP attributes, which a TCP connection has none of'] },
    });
    expect(decide([all, to({ methods: ['PUT'] }, 'DENY')], tcp).verdict).toBe('DENY');
    expect(decide([all, to({ methods: ['PUT'], ports: ['81'] }, 'DENY')], tcp).verdict).toBe('ALLOW');
    expect(decide([all, to({ methods: ['PUT'] }, 'AUDIT')], tcp).audited).toHaveLength(1);
  });
});

describe('explanations', () => {
  const failed = (spec: object, request: Partial<Request> = {}): readonly string[] | undefined =>
    decide([spec], request).nearest?.failed;

  it.each<[object, Partial<Request>, string]>([
    [to({ paths: ['/api/*'] }), { path: '/admin' }, 'path /admin does not start with /api/'],
    [to({ paths: ['/api/*', '/x'] }), { path: '/admin' }, 'path /admin is none of /api/* or /x'],
    [to({ methods: ['GET', 'HEAD'] }), { method: 'PUT' }, 'method PUT is not GET or HEAD'],
    [to({ notMethods: ['GET'] }), {}, 'method GET is excluded by notMethods GET'],
    [to({ hosts: ['*.b'] }), {}, 'host cart.shop does not end with .b'],
    [from({ ipBlocks: ['1.0.0.0/8'] }), {}, 'source IP 10.0.0.7 is not in 1.0.0.0/8'],
    [
      from({ namespaces: ['a'] }),
      { principal: undefined },
      'the caller is not authenticated, so it has no source namespace',
    ],
    [
      from({ notNamespaces: ['a'] }),
      { principal: undefined },
      'the caller is not authenticated, so it has no source namespace',
    ],
    [from({ principals: ['td/ns/a/sa/b'] }), {}, `source principal ${web} is not td/ns/a/sa/b`],
    [when('request.headers[X-A]', { values: ['1'] }), {}, 'header x-a is missing'],
    [to({ ports: ['1', '2', '3', '4', '5', '6', '7'] }), {}, 'port 80 is not 1, 2, 3, 4, 5 or 2 others'],
  ])('%j', (spec, request, words) => {
    expect(failed(spec, request)).toEqual([words]);
  });

  it('picks the rule, and in it the alternative, that fails least', () => {
    const decision = decide([
      {
        rules: [
          {
            from: [{ source: { namespaces: ['x'] } }],
            to: [{ operation: { methods: ['PUT'], paths: ['/p'] } }],
          },
          { to: [{ operation: { methods: ['PUT'], paths: ['/p'] } }, { operation: { paths: ['/api'] } }] },
        ],
      },
    ]);
    expect(decision.nearest).toMatchObject({ rule: { rule: 1 }, failed: ['path /api/items is not /api'] });
    expect(decision.reason).toMatch(/^no ALLOW rule matches; nearest is rule 1 of shop\/p\d+: path/);
  });
});
