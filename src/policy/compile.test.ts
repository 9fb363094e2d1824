import { describe, expect, it } from 'vitest';
import {
  compile,
  parseAuthorizationPolicy,
  renderIssues,
  type AuthorizationPolicy,
  type CompiledFilters,
  type MeshSettings,
  type Protocol,
  type RbacPolicy,
} from './index.ts';

const settings: MeshSettings = { trustDomain: 'td', rootNamespace: 'root', defaultAction: 'deny' };

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
const filters = (specs: object[], protocol: Protocol = 'http', port?: number): CompiledFilters =>
  compile(
    specs.map((spec, index) => policy(`p${index}`, spec)),
    { protocol, settings, ...(port !== undefined && { port }) },
  );
const rule = (spec: object, protocol: Protocol = 'http', port?: number): RbacPolicy | undefined => {
  const { audit, deny, allow } = filters([spec], protocol, port);
  const rules = [audit, deny, allow].map(
    ({ typed_config: config }) => config.rules?.policies['ns[shop]-policy[p0]-rule[0]'],
  );
  return rules.find((found) => found !== undefined);
};
const named = (principal_name: object): object => ({ authenticated: { principal_name } });
const any = { any: true };

describe('the three filters', () => {
  it('deny all where there is nothing, and do no more', () => {
    expect(filters([])).toEqual({
      audit: {
        name: 'countersign.authz.http.audit',
        typed_config: {
          '@type': 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC',
          rules_stat_prefix: 'countersign_audit_',
          shadow_rules_stat_prefix: 'countersign_audit_',
        },
      },
      deny: {
        name: 'countersign.authz.http.deny',
        typed_config: {
          '@type': 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC',
          rules_stat_prefix: 'countersign_deny_',
          shadow_rules_stat_prefix: 'countersign_deny_',
        },
      },
      allow: {
        name: 'countersign.authz.http.allow',
        typed_config: {
          '@type': 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC',
          rules: { action: 'ALLOW', policies: {} },
          rules_stat_prefix: 'countersign_allow_',
          shadow_rules_stat_prefix: 'countersign_allow_',
        },
      },
      notes: [],
    });
    expect(filters([], 'tcp').deny).toEqual({
      name: 'countersign.authz.tcp.deny',
      typed_config: {
        '@type': 'type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC',
        stat_prefix: 'countersign_deny_',
        shadow_rules_stat_prefix: 'countersign_deny_',
      },
    });
  });

  it('lets all pass under default action allow, until an ALLOW policy is there', () => {
    const open: MeshSettings = { ...settings, defaultAction: 'allow' };
    expect(compile([], { protocol: 'http', settings: open }).allow.typed_config.rules).toBeUndefined();
    const shadow = compile([policy('s', { mode: 'Shadow' })], { protocol: 'http', settings: open });
    expect(shadow.allow.typed_config.rules).toBeUndefined();
    expect(shadow.allow.typed_config.shadow_rules).toEqual({ action: 'ALLOW', policies: {} });
    const nothing = compile([policy('n', {})], { protocol: 'http', settings: open });
    expect(nothing.allow.typed_config.rules).toEqual({ action: 'ALLOW', policies: {} });
  });

  it('sorts actions and shadows to their places', () => {
    const { audit, deny, allow } = filters([
      { action: 'AUDIT', rules: [{}] },
      { action: 'DENY', rules: [{}] },
      { rules: [{}, {}] },
      { action: 'DENY', mode: 'Shadow', rules: [{}] },
      { mode: 'Shadow', rules: [{}] },
    ]);
    const keys = (rules: { policies: object } | undefined): string[] => Object.keys(rules?.policies ?? {});
    expect(audit.typed_config.rules?.action).toBe('LOG');
    expect(keys(audit.typed_config.rules)).toEqual(['ns[shop]-policy[p0]-rule[0]']);
    expect(keys(deny.typed_config.rules)).toEqual(['ns[shop]-policy[p1]-rule[0]']);
    expect(keys(deny.typed_config.shadow_rules)).toEqual(['ns[shop]-policy[p3]-rule[0]']);
    expect(keys(allow.typed_config.rules)).toEqual([
      'ns[shop]-policy[p2]-rule[0]',
      'ns[shop]-policy[p2]-rule[1]',
    ]);
    // The enforced ones too: a shadow denial must mean that the request would be denied.
    expect(keys(allow.typed_config.shadow_rules)).toEqual([
      'ns[shop]-policy[p2]-rule[0]',
      'ns[shop]-policy[p2]-rule[1]',
      'ns[shop]-policy[p4]-rule[0]',
    ]);
  });

  it('gives the same bytes whatever the order of the policies', () => {
    const a = policy('a', { rules: [{}] });
    const b = policy('b', { rules: [{}] });
    const text = (policies: AuthorizationPolicy[]): string =>
      JSON.stringify(compile(policies, { protocol: 'http', settings }));
    expect(text([a, b])).toBe(text([b, a]));
  });
});

describe('one changed policy', () => {
  const spec = {
    rules: [
      {
        from: [{ source: { principals: ['td/ns/a/sa/b'] } }],
        to: [{ operation: { ports: ['80'] } }, { operation: { methods: ['GET'] } }],
      },
    ],
  };
  const [stays, before, after] = [policy('a', spec), policy('b', spec), policy('b', { rules: [{}] })];
  const allowed = (
    policies: AuthorizationPolicy[],
    rest: { protocol?: Protocol; settings?: MeshSettings; port?: number } = {},
  ): Record<string, unknown> =>
    compile(policies, { protocol: 'http', settings, ...rest }).allow.typed_config.rules?.policies ?? {};
  const [a, b] = ['ns[shop]-policy[a]-rule[0]', 'ns[shop]-policy[b]-rule[0]'];

  it('leaves the rules of the others the objects that they were', () => {
    const [old, changed] = [allowed([stays, before]), allowed([stays, after])];
    expect(changed[a]).toBe(old[a]);
    expect(changed[b]).toEqual({ permissions: [any], principals: [any] });
  });

  it('whose rules are remembered for one place and one mesh only', () => {
    const plain = allowed([stays]);
    expect(allowed([stays], { protocol: 'tcp' })).toEqual({});
    expect(allowed([stays], { port: 80 })).not.toEqual(plain);
    expect(allowed([stays], { port: 81 })).not.toEqual(allowed([stays], { port: 80 }));
    const renamed = allowed([stays], { settings: { ...settings, trustDomainAliases: ['old'] } });
    expect(JSON.stringify(renamed)).toContain('spiffe://old/ns/a/sa/b');
    expect(allowed([stays])).toEqual(plain);
    const tcp = { protocol: 'tcp', settings } as const;
    expect(compile([stays], tcp).notes).toHaveLength(1);
    expect(compile([stays], tcp).notes, 'notes are told each time').toHaveLength(1);
  });
});

const allOf = (...ids: readonly unknown[]): unknown => ({ and_ids: { ids } });
const not = (id: unknown): unknown => ({ not_id: id });

const own = named({ prefix: 'spiffe://td/' });
const anywhere = allOf(
  named({ safe_regex: { regex: 'spiffe://[^/]+/ns/[^/]+/sa/[^/]+' } }),
  named({ suffix: '/ns/shop/sa/b.c' }),
);

describe('sources', () => {
  const principals = (fields: object, action = 'ALLOW'): unknown =>
    rule({ action, rules: [{ from: [{ source: fields }] }] })?.principals[0];

  it.each([
    [{ principals: ['td/ns/a/sa/b'] }, named({ exact: 'spiffe://td/ns/a/sa/b' })],
    [{ principals: ['td/*'] }, named({ prefix: 'spiffe://td/' })],
    [
      { principals: ['*/b.c'] },
      allOf(named({ prefix: 'spiffe://' }), named({ suffix: '/b.c' }), not(named({ exact: 'spiffe://b.c' }))),
    ],
    [{ principals: ['*b.c'] }, allOf(named({ prefix: 'spiffe://' }), named({ suffix: 'b.c' }))],
    [{ principals: ['*'] }, named({ prefix: 'spiffe://' })],
    [{ namespaces: ['a'] }, named({ prefix: 'spiffe://td/ns/a/' })],
    [{ namespaces: ['a*'] }, allOf(own, named({ safe_regex: { regex: 'spiffe://[^/]+/ns/a[^/]*/.*' } }))],
    [{ namespaces: ['*a'] }, allOf(own, named({ safe_regex: { regex: 'spiffe://[^/]+/ns/[^/]*a/.*' } }))],
    [{ namespaces: ['*'] }, allOf(own, named({ safe_regex: { regex: 'spiffe://[^/]+/ns/[^/]+/.*' } }))],
    [{ notNamespaces: ['a'] }, allOf(own, not(named({ safe_regex: { regex: 'spiffe://[^/]+/ns/a/.*' } })))],
    [{ serviceAccounts: ['b.c'] }, named({ exact: 'spiffe://td/ns/shop/sa/b.c' })],
    [{ notServiceAccounts: ['b.c'] }, allOf(own, not(anywhere))],
    [
      { trustDomains: ['td'] },
      { or_ids: { ids: [named({ exact: 'spiffe://td' }), named({ prefix: 'spiffe://td/' })] } },
    ],
    [{ trustDomains: ['*.org'] }, named({ safe_regex: { regex: String.raw`spiffe://[^/]*\.org(/.*)?` } })],
    [{ ipBlocks: ['10.0.0.0/8'] }, { direct_remote_ip: { address_prefix: '10.0.0.0', prefix_len: 8 } }],
    [{ remoteIpBlocks: ['::1'] }, { remote_ip: { address_prefix: '::1', prefix_len: 128 } }],
  ])('%j', (fields, principal) => {
    expect(principals(fields)).toEqual(principal);
  });

  it('namespaces and service accounts: in doubt a DENY means those of any trust domain, "not" its own', () => {
    const regex = { regex: 'spiffe://[^/]+/ns/a/.*' };
    expect(principals({ namespaces: ['a'] }, 'DENY')).toEqual(named({ safe_regex: regex }));
    expect(principals({ notNamespaces: ['a'] }, 'DENY')).toEqual(not(named({ prefix: 'spiffe://td/ns/a/' })));
    expect(principals({ serviceAccounts: ['b.c'] }, 'DENY')).toEqual(anywhere);
    expect(principals({ notServiceAccounts: ['b.c'] }, 'DENY')).toEqual(
      not(named({ exact: 'spiffe://td/ns/shop/sa/b.c' })),
    );
  });

  it('of a trust domain that ended nobody is let in, before any policy', () => {
    const { deny } = compile([], {
      protocol: 'tcp',
      settings: { ...settings, endedTrustDomains: ['other'] },
    });
    expect(deny.typed_config.rules).toEqual({
      action: 'DENY',
      policies: {
        'countersign-federation[other]': {
          permissions: [any],
          principals: [named({ prefix: 'spiffe://other/' })],
        },
      },
    });
  });

  it('an alias of the trust domain is one more place where they may be', () => {
    const aliased = { ...settings, trustDomainAliases: ['old'] };
    const compiled = compile([policy('p', { rules: [{ from: [{ source: { namespaces: ['a'] } }] }] })], {
      protocol: 'http',
      settings: aliased,
    });
    const prefixes = ['spiffe://td/ns/a/', 'spiffe://old/ns/a/'].map((prefix) => named({ prefix }));
    expect(Object.values(compiled.allow.typed_config.rules?.policies ?? {})[0]?.principals).toEqual([
      { or_ids: { ids: prefixes } },
    ]);
  });

  it('in ALLOW, "not x" asks for a proven identity first; in DENY it takes the unproven too', () => {
    const other = not(named({ exact: 'spiffe://td/ns/a/sa/b' }));
    const fields = { notPrincipals: ['td/ns/a/sa/b'] };
    expect(principals(fields)).toEqual(allOf(named({ prefix: 'spiffe://' }), other));
    expect(principals(fields, 'DENY')).toEqual(other);
    expect(principals({ notIpBlocks: ['10.0.0.0/8'] })).toEqual({
      not_id: { direct_remote_ip: { address_prefix: '10.0.0.0', prefix_len: 8 } },
    });
  });
});

describe('operations', () => {
  const permission = (fields: object, action = 'ALLOW'): unknown =>
    rule({ action, rules: [{ to: [{ operation: fields }] }] })?.permissions[0];
  const header = (name: string, string_match: object): object => ({ header: { name, string_match } });

  it.each([
    [{ methods: ['GET'] }, header(':method', { exact: 'GET' })],
    [{ hosts: ['A.example'] }, header(':authority', { exact: 'A.example', ignore_case: true })],
    [{ hosts: ['*.example'] }, header(':authority', { suffix: '.example', ignore_case: true })],
    [{ paths: ['/a'] }, { url_path: { path: { exact: '/a' } } }],
    [{ paths: ['/a/*'] }, { url_path: { path: { prefix: '/a/' } } }],
    [{ ports: ['80'] }, { destination_port: 80 }],
    [{ notPorts: ['80'] }, { not_rule: { destination_port: 80 } }],
    [
      { notMethods: ['GET', 'HEAD'] },
      {
        not_rule: {
          or_rules: { rules: [header(':method', { exact: 'GET' }), header(':method', { exact: 'HEAD' })] },
        },
      },
    ],
  ])('%j', (fields, expected) => {
    expect(permission(fields)).toEqual(expected);
  });

  it('"*" means present and not empty, in any bytes', () => {
    expect(rule({ rules: [{ when: [{ key: 'request.headers[X-A]', values: ['*'] }] }] })?.principals).toEqual(
      [
        {
          header: {
            name: 'x-a',
            string_match: { safe_regex: { regex: String.raw`\C+` } },
          },
        },
      ],
    );
  });

  it('a template is the URI template matcher, and nothing slips by it where it denies', () => {
    const template = {
      uri_template: {
        name: 'uri_template',
        typed_config: {
          '@type': 'type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig',
          path_template: '/a.b/*/**',
        },
      },
    };
    const regex = { url_path: { path: { safe_regex: { regex: String.raw`/a\.b/[^/]+/.*` } } } };
    expect(permission({ paths: ['/a.b/{*}/{**}'] })).toEqual(template);
    expect(permission({ paths: ['/a.b/{*}/{**}'] }, 'DENY')).toEqual({
      or_rules: { rules: [template, regex] },
    });
    expect(permission({ notPaths: ['/a.b/{*}/{**}'] })).toEqual({
      not_rule: { or_rules: { rules: [template, regex] } },
    });
  });

  it('escapes what a regular expression would read', () => {
    expect(JSON.stringify(permission({ paths: ['/a.b+c(d)$e/{*}'] }, 'DENY'))).toContain(
      JSON.stringify({ regex: String.raw`/a\.b\+c\(d\)\$e/[^/]+` }),
    );
  });

  it('a condition holds for every alternative of its rule', () => {
    const compiled = rule({
      rules: [
        {
          from: [{ source: { ipBlocks: ['10.0.0.1'] } }, { source: { ipBlocks: ['10.0.0.2'] } }],
          to: [{ operation: { ports: ['80'] } }, { operation: { ports: ['81'] } }],
          when: [
            { key: 'connection.sni', values: ['a'] },
            { key: 'request.headers[b]', values: ['c'] },
          ],
        },
      ],
    });
    const sni = { requested_server_name: { exact: 'a', ignore_case: true } };
    const b = { header: { name: 'b', string_match: { exact: 'c' } } };
    const ip = (address_prefix: string): object => ({ direct_remote_ip: { address_prefix, prefix_len: 32 } });
    const anyPort = { or_rules: { rules: [{ destination_port: 80 }, { destination_port: 81 }] } };
    expect(compiled).toEqual({
      permissions: [{ and_rules: { rules: [anyPort, sni] } }],
      principals: [allOf({ or_ids: { ids: [ip('10.0.0.1'), ip('10.0.0.2')] } }, b)],
    });
  });

  it('a condition stands beside one alternative as it is, and alone beside one that is always true', () => {
    const when = [{ key: 'request.headers[b]', values: ['c'] }];
    const b = { header: { name: 'b', string_match: { exact: 'c' } } };
    const from = [
      { source: { ipBlocks: ['10.0.0.1'] } },
      { source: { requestPrincipals: ['i/s'], namespaces: ['a'] } },
    ];
    const ip = { direct_remote_ip: { address_prefix: '10.0.0.1', prefix_len: 32 } };
    expect(rule({ rules: [{ from: from.slice(0, 1), when }] })?.principals).toEqual([allOf(ip, b)]);
    const tcp = { key: 'source.namespace', values: ['n'] };
    const open = [from[0], { source: { requestPrincipals: ['i/s'] } }];
    expect(rule({ action: 'DENY', rules: [{ from: open, when: [tcp] }] }, 'tcp')?.principals).toEqual([
      named({ safe_regex: { regex: 'spiffe://[^/]+/ns/n/.*' } }),
    ]);
  });

  it('does not grow with alternatives times conditions', () => {
    const from = Array.from({ length: 30 }, (_, index) => ({ source: { namespaces: [`n${index}`] } }));
    const values = Array.from({ length: 100 }, (_, index) => `${index}${'v'.repeat(2_000)}`);
    const compiled = rule({ rules: [{ from, when: [{ key: 'request.headers[x]', values }] }] });
    expect(JSON.stringify(compiled).length).toBeLessThan(300_000);
  });
});

describe('HTTP fields on a TCP port', () => {
  const mixed = [{ operation: { methods: ['GET'], ports: ['80'] } }, { operation: { ports: ['81'] } }];

  it('leave an ALLOW rule out, and deny all where none is left', () => {
    const { allow, notes } = filters([{ rules: [{ to: mixed }] }], 'tcp');
    expect(allow.typed_config.rules).toEqual({ action: 'ALLOW', policies: {} });
    expect(notes).toMatchObject([{ rule: { namespace: 'shop', policy: 'p0', rule: 0 }, port: undefined }]);
    expect(notes[0]?.message).toMatch(/can never match there and is left out/);
  });

  it('fall out of a DENY rule, which covers more', () => {
    const denied = rule({ action: 'DENY', rules: [{ to: mixed }] }, 'tcp');
    expect(denied?.permissions).toEqual([{ destination_port: 80 }, { destination_port: 81 }]);
    const all = rule(
      { action: 'DENY', rules: [{ when: [{ key: 'request.headers[a]', notValues: ['b'] }] }] },
      'tcp',
    );
    expect(all).toEqual({ permissions: [any], principals: [any] });
    expect(filters([{ action: 'DENY', rules: [{ to: mixed }] }], 'tcp', 80).notes).toMatchObject([
      { port: 80 },
    ]);
  });
});

describe('a known port', () => {
  it('decides terms on the port at once', () => {
    const spec = {
      rules: [{ to: [{ operation: { ports: ['80'], methods: ['GET'] } }, { operation: { ports: ['81'] } }] }],
    };
    expect(rule(spec, 'http', 80)?.permissions).toEqual([
      { header: { name: ':method', string_match: { exact: 'GET' } } },
    ]);
    expect(rule(spec, 'http', 81)?.permissions).toEqual([any]);
    expect(rule(spec, 'http', 82)).toBeUndefined();
    expect(filters([spec], 'http', 82).allow.typed_config.rules).toEqual({ action: 'ALLOW', policies: {} });
    expect(rule({ rules: [{ to: [{ operation: { notPorts: ['80'] } }] }] }, 'http', 80)).toBeUndefined();
  });

  it('that no DENY rule speaks of leaves the deny filter without rules', () => {
    const spec = { action: 'DENY', rules: [{ when: [{ key: 'destination.port', values: ['80'] }] }] };
    expect(filters([spec], 'http', 81).deny.typed_config.rules).toBeUndefined();
  });
});
