import * as fc from 'fast-check';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { inMesh } from './in-mesh.ts';
import { failures } from './explain.ts';
import { factsOf } from './facts.ts';
import {
  Evaluator,
  parseAuthorizationPolicy,
  renderIssues,
  ruleName,
  type Action,
  type AuthorizationPolicy,
  type Decision,
  type MeshSettings,
  type Request,
  type RuleRef,
} from './index.ts';
import type * as Match from './match.ts';
import { ruleTest } from './match.ts';
import { scopeRule } from './scope.ts';

const looks = vi.hoisted(() => ({ count: 0 }));

// Counts the rules that are looked at.
vi.mock('./match.ts', async (original) => {
  const match = await original<typeof Match>();
  const counted: typeof ruleTest = (rule, action) => {
    const test = match.ruleTest(rule, action);
    return (facts) => {
      looks.count += 1;
      return test(facts);
    };
  };
  return { ...match, ruleTest: counted };
});

const settings: MeshSettings = { trustDomain: 'td', rootNamespace: 'root', defaultAction: 'deny' };
const request: Request = {
  protocol: 'http',
  principal: undefined,
  sourceIp: '10.0.0.7',
  remoteIp: undefined,
  destinationIp: undefined,
  destinationPort: 80,
  sni: undefined,
  method: 'GET',
  path: '/',
  host: 'h',
  headers: {},
};

function policy(name: string, spec: object): AuthorizationPolicy {
  const parsed = parseAuthorizationPolicy({
    apiVersion: 'security.countersign.dev/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name, namespace: 'shop' },
    spec,
  });
  if (!parsed.ok) throw new Error(renderIssues(parsed.issues));
  return parsed.policy;
}

describe('rules that cannot match the caller', () => {
  beforeEach(() => {
    looks.count = 0;
  });
  const from = (source: object): object => ({ from: [{ source }] });
  /** A hundred callers for each way of naming one; and one rule for all who proved an identity. */
  const rules = Array.from({ length: 100 }, (_, at) => [
    from({ principals: [`td/ns/p/sa/a${at}`] }),
    from({ serviceAccounts: [`s/a${at}`] }),
    from({ namespaces: [`n${at}`] }),
    {
      from: [{ source: { principals: ['td/ns/w/sa/b'] } }, { source: { ipBlocks: ['10.0.0.0/8'] } }],
      when: [{ key: 'source.principal', values: [`td/ns/w/sa/a${at}`] }],
    },
  ]).flat();
  const policies = ['ALLOW', 'DENY', 'AUDIT'].map((action) =>
    policy(action.toLowerCase(), { action, rules: [...rules, from({ principals: ['other/*', '*/none'] })] }),
  );
  const evaluator = new Evaluator(policies, { settings });
  const looked = (principal: string | undefined): number => {
    looks.count = 0;
    evaluator.decide({ ...request, principal });
    return looks.count;
  };

  it.each(['td/ns/p/sa/a7', 'td/ns/s/sa/a7', 'td/ns/n7/sa/x', 'td/ns/w/sa/a7'])('%s', (caller) => {
    // The one in DENY decides: ALLOW is not asked. AUDIT is asked for every rule that may match.
    expect(looked(`spiffe://${caller}`)).toBeGreaterThan(0);
    expect(looked(`spiffe://${caller}`)).toBeLessThanOrEqual(4);
  });

  it('are not looked at: one rule of each action for a stranger, none for the unproven', () => {
    expect(looked('spiffe://td/ns/x/sa/stranger')).toBe(3);
    expect(looked(undefined)).toBe(0);
  });

  it('are not looked at for a denial either, until somebody asks for its reason', () => {
    const decision = evaluator.decide({ ...request, principal: 'spiffe://td/ns/x/sa/stranger' });
    expect(decision.verdict).toBe('DENY');
    expect(decision.nearest?.failed).toHaveLength(1);
    expect(decision.reason).toContain('nearest is rule 0 of shop/allow');
  });
});

describe('rules that cannot match the request', () => {
  const every = (one: (at: number) => object): object[] => Array.from({ length: 80 }, (_, at) => one(at));
  const rules = [
    ...every((at) => ({ to: [{ operation: { paths: [`/a/p${at}`, `/a/p${at}/*`] } }] })),
    ...every((at) => ({ to: [{ operation: { paths: [`/t${at}/{*}`] } }] })),
    ...every((at) => ({ to: [{ operation: { hosts: [`H${at}`] } }] })),
    ...every((at) => ({ to: [{ operation: { ports: [String(1_000 + at)] } }] })),
    ...every((at) => ({ from: [{ source: { ipBlocks: [`10.1.${at}.0/24`] } }] })),
    ...every((at) => ({ when: [{ key: 'remote.ip', values: [`2001:db8:${at}::/48`] }] })),
  ];
  const evaluator = new Evaluator([policy('audit', { action: 'AUDIT', rules })], { settings });

  it.each<[string, Partial<Request>]>([
    ['path', { path: '/a/p7' }],
    ['path below', { path: '/a/p7/x/y?z' }],
    ['template', { path: '/t7/x' }],
    ['host', { host: 'h7' }],
    ['port', { destinationPort: 1_007 }],
    ['block', { sourceIp: '10.1.7.3', remoteIp: '10.9.9.9' }],
    ['block of IPv6', { remoteIp: '2001:db8:7::1' }],
  ])('are not looked at: %s', (_name, asked) => {
    looks.count = 0;
    expect(evaluator.decide({ ...request, ...asked }).audited).toHaveLength(1);
    expect(looks.count).toBe(1);
  });

  it('are not looked at: none of them matches', () => {
    looks.count = 0;
    evaluator.decide({ ...request, path: '/b' });
    expect(looks.count).toBe(0);
  });
});

const NAMES = ['td/ns/a/sa/x', 'td/ns/a/sa/y', 'old/ns/a/sa/x', 'td/ns/b/sa/x', 'td', 'td/other'];
const few = <T>(...of: T[]): fc.Arbitrary<T[]> =>
  fc.uniqueArray(fc.constantFrom(...of), { minLength: 1, maxLength: 2 });
const source = fc.oneof(
  fc.record(
    {
      principals: few(...NAMES.filter((name) => name.includes('/')), 'td/*', '*/sa/x', '*'),
      notPrincipals: few('td/ns/a/sa/x', '*/sa/y'),
      trustDomains: few('td', 'old', 'o*', '*'),
      ipBlocks: few('10.0.0.0/8', '11.0.0.0/8', '10.0.0.7', '10.0.0.0/9', '2001:db8::/32', '::/0'),
      remoteIpBlocks: few(
        '10.0.0.0/15',
        '10.0.0.7',
        '2001:db8:1::/48',
        '2001:db8:1::1',
        '::ffff:10.0.0.7',
        '::/0',
      ),
      notNamespaces: few('a', 'b*'),
    },
    { requiredKeys: [] },
  ),
  fc.record({ namespaces: few('a', 'b', 'a*', '*b', '*') }),
  fc.record({ serviceAccounts: few('a/x', 'b/x', 'shop/x') }),
  fc.record({ notServiceAccounts: few('a/x', 'b/x') }),
);
const condition = fc.oneof(
  fc.record({ key: fc.constant('source.principal'), values: few('td/ns/a/sa/x', 'td/*', '*') }),
  fc.record({ key: fc.constant('source.namespace'), values: few('a', 'b') }),
  fc.record({ key: fc.constant('source.namespace'), notValues: few('a', 'b') }),
  fc.record({ key: fc.constant('request.headers[x]'), values: few('1') }),
  fc.record({ key: fc.constant('destination.port'), values: few('80', '81') }),
  fc.record({ key: fc.constant('destination.ip'), values: few('10.0.0.8', '10.1.0.0/16') }),
  fc.record({ key: fc.constant('remote.ip'), notValues: few('10.0.0.7') }),
);
const operation = fc.record(
  {
    methods: fc.constantFrom(['GET'], ['PUT']),
    ports: few('80', '81'),
    hosts: few('h', 'H', 'i', '*h', 'h*'),
    paths: few(
      ...['/', '/a', '/a/', '/a/b', '/a/b/', '/a/b/c', '/a*', '/a/*', '/a/b*', '/a/b/c*', '*/c', '/*', '*'],
      ...['/{*}', '/a/{*}', '/{*}/b', '/a/b/{**}', '/a/{*}/c'],
    ),
    notPaths: few('/a', '/a/*'),
  },
  { requiredKeys: [] },
);
const rule = fc.record(
  {
    from: fc.array(
      source.filter((fields) => Object.keys(fields).length > 0).map((fields) => ({ source: fields })),
      { minLength: 1, maxLength: 3 },
    ),
    to: fc.array(
      operation.filter((fields) => Object.keys(fields).length > 0).map((fields) => ({ operation: fields })),
      { minLength: 1, maxLength: 2 },
    ),
    when: fc.array(condition, { minLength: 1, maxLength: 2 }),
  },
  { requiredKeys: [] },
);
const spec = fc.record(
  {
    action: fc.constantFrom<Action>('ALLOW', 'DENY', 'AUDIT'),
    mode: fc.constantFrom('Enforce', 'Shadow'),
    rules: fc.array(rule, { minLength: 1, maxLength: 5 }),
  },
  { requiredKeys: ['action', 'rules'] },
);
const caller = fc.record({
  principal: fc.constantFrom(undefined, ...NAMES.map((name) => `spiffe://${name}`)),
  protocol: fc.constantFrom<Request['protocol']>('http', 'tcp'),
  headers: fc.constantFrom<Request['headers']>({}, { x: ['1'] }),
  path: fc.constantFrom(
    '/',
    '/a',
    '/a/',
    '/ab',
    '/a/b',
    '/a/b/',
    '/a/b/c',
    '/a/b?/c',
    '/A',
    '/[/b',
    '/a/[/c',
  ),
  host: fc.constantFrom('h', 'H', 'i', ''),
  destinationIp: fc.constantFrom(undefined, '10.0.0.8', '10.1.0.8'),
  remoteIp: fc.constantFrom(undefined, '10.0.0.7', '::ffff:10.0.0.7', '2001:db8:1::1', '2001:db8:2::1'),
});

describe('the indexed evaluator', () => {
  it('decides and explains as a look at every rule does', () => {
    const aliases = fc.constantFrom(undefined, ['old']);
    fc.assert(
      fc.property(fc.array(spec, { maxLength: 4 }), caller, aliases, (specs, asked, names) => {
        const mesh = { ...settings, ...(names && { trustDomainAliases: names }) };
        const policies = specs.map((each, at) => policy(`p${at}`, each));
        const decided = new Evaluator(policies, { settings: mesh }).decide({ ...request, ...asked });
        const { verdict, decidedBy, audited, nearest, shadow } = decided;
        expect({ verdict, decidedBy, audited, nearest, shadow }).toEqual(
          scan(policies, { ...request, ...asked }, mesh),
        );
      }),
      { numRuns: 500 },
    );
  });
});

/** Every rule is asked, in the order of the rules' names. */
function scan(
  policies: readonly AuthorizationPolicy[],
  asked: Request,
  mesh: MeshSettings,
): Omit<Decision, 'reason'> {
  const facts = factsOf(asked, 'reject');
  if (typeof facts === 'string') throw new Error(facts);
  const rules = policies
    .flatMap(({ namespace, name, action, mode, rules: written }) =>
      written.map((each) => {
        const ref: RuleRef = { namespace, policy: name, rule: each.index };
        const whole = inMesh(each, mesh);
        const { rule: scoped } = scopeRule(whole, action, { protocol: asked.protocol, port: undefined });
        const matches = scoped !== undefined && ruleTest(scoped, action)(facts);
        const failed = scoped === undefined ? undefined : failures(whole, action, facts);
        return { ref, action, mode, matches, failed };
      }),
    )
    .toSorted((a, b) => (ruleName(a.ref) < ruleName(b.ref) ? -1 : 1));
  const enforced = rules.filter(({ mode }) => mode === 'Enforce');
  const judge = (of: typeof rules): Pick<Decision, 'verdict' | 'decidedBy'> => {
    const first = (action: Action): RuleRef | undefined =>
      of.find((each) => each.action === action && each.matches)?.ref;
    const denied = first('DENY');
    if (denied !== undefined) return { verdict: 'DENY', decidedBy: denied };
    const allowed = first('ALLOW');
    return { verdict: allowed === undefined ? 'DENY' : 'ALLOW', decidedBy: allowed };
  };
  const outcome = judge(enforced);
  const far = ['the rule names HTTP attributes, which a TCP connection has none of'];
  const [nearest] = enforced
    .filter(({ action }) => action === 'ALLOW')
    .map(({ ref, failed = far }) => ({ rule: ref, failed }))
    .toSorted((a, b) => a.failed.length - b.failed.length);
  const tried = policies.some(({ mode, action }) => mode === 'Shadow' && action !== 'AUDIT');
  return {
    ...outcome,
    audited: enforced.filter(({ action, matches }) => action === 'AUDIT' && matches).map(({ ref }) => ref),
    shadow: tried ? judge(rules) : undefined,
    nearest: outcome.verdict === 'DENY' && outcome.decidedBy === undefined ? nearest : undefined,
  };
}
