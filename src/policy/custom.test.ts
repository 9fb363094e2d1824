import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  authorizerCluster,
  compile,
  evaluate,
  idleCustomFilters,
  parseAuthorizationPolicy,
  parseCases,
  parseMeshConfig,
  renderIssues,
  type AuthorizationPolicy,
  type CompiledFilters,
  type Decision,
  type MeshSettings,
  type Parsed,
  type Protocol,
  type Request,
} from './index.ts';

const parse = (spec: object, name = 'p'): Parsed =>
  parseAuthorizationPolicy({
    apiVersion: 'security.countersign.dev/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name, namespace: 'shop' },
    spec,
  });
const policies = (specs: readonly object[]): AuthorizationPolicy[] =>
  specs.map((spec, index) => {
    const parsed = parse(spec, `p${index}`);
    if (!parsed.ok) throw new Error(renderIssues(parsed.issues));
    return parsed.policy;
  });
const custom = (provider: string, operation: object = { paths: ['/ask/*'] }): object => ({
  action: 'CUSTOM',
  provider: { name: provider },
  rules: [{ to: [{ operation }] }],
});
const all = { rules: [{}] };

const configured = (providers: unknown, more: object = {}): MeshSettings => {
  const parsed = parseMeshConfig({
    ...more,
    ...(providers !== undefined && { extensionProviders: providers }),
  });
  if (!parsed.ok) throw new Error(renderIssues(parsed.issues));
  return { trustDomain: 'td', rootNamespace: 'root', defaultAction: 'deny', ...parsed.settings };
};
const grpc = (name: string, more: object = {}): object => ({
  name,
  envoyExtAuthzGrpc: { service: 'opa.policy', port: 9191, ...more },
});
const http = (name: string, more: object = {}): object => ({
  name,
  envoyExtAuthzHttp: { service: 'auth.policy', port: 8000, ...more },
});
const filters = (
  specs: object[],
  providers: unknown = [grpc('opa')],
  protocol: Protocol = 'http',
): CompiledFilters => compile(policies(specs), { protocol, settings: configured(providers) });

const request: Request = {
  protocol: 'http',
  principal: 'spiffe://td/ns/shop/sa/web',
  sourceIp: undefined,
  remoteIp: undefined,
  destinationIp: undefined,
  destinationPort: 80,
  sni: undefined,
  method: 'GET',
  path: '/ask/x',
  host: 'cart',
  headers: {},
};
const decide = (
  specs: object[],
  changes: Partial<Request> = {},
  settings: MeshSettings = configured([grpc('opa')]),
): Decision => evaluate(policies(specs), { ...request, ...changes }, { settings });

describe('a CUSTOM policy', () => {
  it.each([
    [{ action: 'CUSTOM', rules: [{}] }, 'spec.provider: a CUSTOM policy needs provider'],
    [{ action: 'CUSTOM', provider: {}, rules: [{}] }, 'spec.provider.name: expected the name'],
    [{ action: 'CUSTOM', provider: { name: 'a b' }, rules: [{}] }, 'spec.provider.name: expected the name'],
    [{ action: 'CUSTOM', provider: { nam: 'a' }, rules: [{}] }, 'did you mean name?'],
    [
      { provider: { name: 'a' }, rules: [{}] },
      'spec.provider: belongs to action CUSTOM; the action is ALLOW',
    ],
    [{ action: 'CUSTOM', provider: { name: 'a' } }, 'spec.rules: a CUSTOM policy without rules'],
    [{ ...custom('a'), mode: 'Shadow' }, 'spec.mode: a CUSTOM policy cannot be a Shadow'],
  ])('refuses %j', (spec, message) => {
    expect(renderIssues(parse(spec).issues)).toContain(message);
    expect(parse(spec).ok).toBe(false);
  });

  it.each([
    [{ principals: ['*'] }, 'principals'],
    [{ notPrincipals: ['*'] }, 'notPrincipals'],
    [{ namespaces: ['a'] }, 'namespaces'],
    [{ serviceAccounts: ['a'] }, 'serviceAccounts'],
    [{ trustDomains: ['a'] }, 'trustDomains'],
    [{ requestPrincipals: ['*'] }, 'requestPrincipals'],
  ])('cannot look at %j', (source, field) => {
    const spec = { action: 'CUSTOM', provider: { name: 'a' }, rules: [{ from: [{ source }] }] };
    expect(renderIssues(parse(spec).issues)).toContain(
      `spec.rules[0].from[0].source.${field}: a CUSTOM rule cannot look at identities or claims`,
    );
  });

  it.each(['source.principal', 'source.namespace', 'request.auth.claims[a]', 'request.auth.principal'])(
    'cannot look at %s',
    (key) => {
      const when = [{ key, values: ['a/b'] }];
      const spec = { action: 'CUSTOM', provider: { name: 'a' }, rules: [{ when }] };
      expect(parse(spec).ok).toBe(false);
    },
  );

  it('can look at addresses and at the request', () => {
    const from = [{ source: { ipBlocks: ['10.0.0.0/8'] } }];
    const when = [{ key: 'request.headers[x]', values: ['a'] }];
    const spec = { action: 'CUSTOM', provider: { name: 'a' }, rules: [{ from, when }] };
    expect(parse(spec)).toMatchObject({ ok: true, policy: { action: 'CUSTOM', provider: 'a' } });
  });
});

describe('in Envoy', () => {
  it('RBAC writes down which rule asks, and ext_authz asks where one does', () => {
    const { custom: pair, deny, notes } = filters([custom('opa'), all]);
    expect(pair?.select).toMatchObject({
      name: 'countersign.authz.http.custom',
      typed_config: {
        shadow_rules: { action: 'DENY', policies: { 'ns[shop]-policy[p0]-rule[0]': {} } },
        shadow_rules_stat_prefix: 'countersign_custom_',
      },
    });
    expect(pair?.select.typed_config.rules).toBeUndefined();
    expect(pair?.ask).toEqual({
      name: 'countersign.authz.http.ext_authz',
      typed_config: {
        '@type': 'type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz',
        transport_api_version: 'V3',
        stat_prefix: 'countersign_custom_',
        grpc_service: {
          envoy_grpc: {
            cluster_name: 'countersign.authorizer.opa|opa.policy|9191',
            authority: 'opa.policy:9191',
          },
          timeout: '0.6s',
        },
        filter_enabled_metadata: {
          filter: 'envoy.filters.http.rbac',
          path: [{ key: 'countersign_custom_shadow_effective_policy_id' }],
          value: { string_match: { safe_regex: { regex: String.raw`\C+` } } },
        },
        status_on_error: { code: 403 },
      },
    });
    expect(notes).toEqual([]);
    expect(filters([all]).custom).toBeUndefined();
    // Where the pair does not run, nobody asks: the DENY filter refuses what the rule selects.
    expect(deny.typed_config.rules).toMatchObject({
      action: 'DENY',
      policies: {
        'ns[shop]-policy[p0]-rule[0]': {
          principals: [
            {
              not_id: {
                sourced_metadata: {
                  metadata_matcher: { path: [{ key: 'countersign_custom_shadow_engine_result' }] },
                },
              },
            },
          ],
        },
      },
    });
  });

  it.each(['http', 'tcp'] as const)(
    'with nobody to ask, what is selected all the same is refused: %s',
    (protocol) => {
      const { select, ask } = idleCustomFilters(protocol);
      expect(select.typed_config).not.toHaveProperty('rules');
      expect(select.typed_config).not.toHaveProperty('shadow_rules');
      expect(ask.typed_config.rules?.action).toBe('DENY');
      expect(JSON.stringify(ask)).toContain('countersign_custom_shadow_effective_policy_id');
    },
  );

  it('on TCP the rule loses its HTTP fields, and only gRPC can be asked', () => {
    const { custom: pair } = filters([custom('opa')], [grpc('opa')], 'tcp');
    expect(pair?.ask.typed_config).toMatchObject({
      '@type': 'type.googleapis.com/envoy.extensions.filters.network.ext_authz.v3.ExtAuthz',
      filter_enabled_metadata: { filter: 'envoy.filters.network.rbac' },
    });
    const { custom: none, deny, notes } = filters([custom('web')], [http('web')], 'tcp');
    expect(none).toBeUndefined();
    expect(deny.typed_config.rules?.policies).toEqual({
      'ns[shop]-policy[p0]-rule[0]': { permissions: [{ any: true }], principals: [{ any: true }] },
    });
    expect(notes.map(({ message }) => message)).toContain(
      'provider web speaks HTTP, and a TCP connection can ask by gRPC only: what the rule selects is denied',
    );
  });

  it.each([
    ['op', [grpc('opa')], "provider op is not declared in the mesh's configuration (declared: opa)"],
    ['opa-2', [grpc('opa')], 'provider opa-2 is not declared'],
    ['opa', undefined, "provider opa is not declared in the mesh's configuration (none is)"],
  ])('an unknown provider denies what the policy selects, and says so: %s', (name, providers, message) => {
    const { custom: pair, deny, notes } = filters([custom(name), all], providers ?? []);
    expect(pair).toBeUndefined();
    expect(Object.keys(deny.typed_config.rules?.policies ?? {})).toEqual(['ns[shop]-policy[p0]-rule[0]']);
    expect(notes).toMatchObject([{ rule: { policy: 'p0', rule: 0 } }]);
    expect(notes[0]?.message).toContain(message);
  });

  it('several providers for one workload deny, for one filter can ask one', () => {
    const {
      custom: pair,
      deny,
      notes,
    } = filters([custom('opa'), custom('web', { paths: ['/web'] })], [grpc('opa'), http('web')]);
    expect(pair).toBeUndefined();
    expect(Object.keys(deny.typed_config.rules?.policies ?? {})).toHaveLength(2);
    expect(notes[1]?.message).toContain('name several providers (opa, web)');
  });

  it('an HTTP authorizer with all that can be said of it', () => {
    const { custom: pair } = filters(
      [custom('web')],
      [
        http('web', {
          service: 'shop/auth.policy',
          timeout: '1.5s',
          failOpen: true,
          statusOnError: '503',
          pathPrefix: '/check',
          includeRequestHeadersInCheck: ['Cookie', 'x-*'],
          includeAdditionalHeadersInCheck: { 'x-from': 'mesh' },
          headersToUpstreamOnAllow: ['x-user'],
          headersToDownstreamOnDeny: ['set-cookie'],
          headersToDownstreamOnAllow: ['*-id'],
          includeRequestBodyInCheck: { maxRequestBytes: 1024, allowPartialMessage: true },
        }),
      ],
    );
    const exact = (text: string): object => ({ patterns: [{ exact: text, ignore_case: true }] });
    expect(pair?.ask.typed_config).toMatchObject({
      failure_mode_allow: true,
      status_on_error: { code: 503 },
      with_request_body: { max_request_bytes: 1024, allow_partial_message: true, pack_as_bytes: false },
      allowed_headers: {
        patterns: [
          { exact: 'cookie', ignore_case: true },
          { prefix: 'x-', ignore_case: true },
        ],
      },
      http_service: {
        server_uri: {
          uri: 'http://auth.policy:8000',
          cluster: authorizerCluster({ name: 'web', host: 'auth.policy', port: 8_000 }),
          timeout: '1.5s',
        },
        path_prefix: '/check',
        authorization_request: { headers_to_add: [{ key: 'x-from', value: 'mesh' }] },
        authorization_response: {
          allowed_upstream_headers: exact('x-user'),
          allowed_client_headers: exact('set-cookie'),
          allowed_client_headers_on_success: { patterns: [{ suffix: '-id', ignore_case: true }] },
        },
      },
    });
  });
});

describe('the decision', () => {
  it('names whom it depends on, and goes on as if they allowed', () => {
    const decision = decide([custom('opa'), all]);
    expect(decision).toMatchObject({
      verdict: 'ALLOW',
      asks: { provider: 'opa', rule: { policy: 'p0', rule: 0 } },
    });
    expect(decide([custom('opa'), all], { path: '/' }).asks).toBeUndefined();
    expect(decide([custom('opa')]).verdict).toBe('DENY');
  });

  it('the refusal of the authorizer ends it; its word is not enough to be let in', () => {
    const audit = { action: 'AUDIT', rules: [{}] };
    const refused = decide([custom('opa'), all, audit], { authorizerSays: 'DENY' });
    expect(refused).toMatchObject({
      verdict: 'DENY',
      decidedBy: { policy: 'p0' },
      reason: 'denied by rule 0 of CUSTOM policy shop/p0: opa refused it',
      audited: [],
    });
    expect(decide([custom('opa'), all], { authorizerSays: 'DENY', path: '/' }).verdict).toBe('ALLOW');
    expect(decide([custom('opa')], { authorizerSays: 'ALLOW' }).verdict).toBe('DENY');
    expect(
      decide([custom('opa'), all, { action: 'DENY', rules: [{}] }], { authorizerSays: 'ALLOW' }).verdict,
    ).toBe('DENY');
  });

  it('an unknown provider denies just what the policy selects, and says why', () => {
    const decision = decide([custom('op'), all]);
    expect(decision.verdict).toBe('DENY');
    expect(decision.reason).toBe(
      "denied by rule 0 of CUSTOM policy shop/p0: provider op is not declared in the mesh's configuration (declared: opa)",
    );
    expect(decide([custom('op'), all], { path: '/' }).verdict).toBe('ALLOW');
  });
});

describe("the mesh's configuration", () => {
  it.each([
    [{ extensionProvider: [] }, 'did you mean extensionProviders?'],
    [{ extensionProviders: [{ name: 'a' }] }, 'extensionProviders[0]: expected either'],
    [{ extensionProviders: [grpc('a'), http('a')] }, 'extensionProviders[1].name: "a" is declared twice'],
    [{ extensionProviders: [grpc('a', { port: '80' })] }, 'envoyExtAuthzGrpc.port: expected a whole number'],
    [{ extensionProviders: [grpc('a', { pathPrefix: '/' })] }, 'unknown field "pathPrefix"'],
    [{ extensionProviders: [grpc('a', { timeout: '1h' })] }, 'envoyExtAuthzGrpc.timeout: expected a time'],
    [{ extensionProviders: [grpc('a', { service: '' })] }, 'envoyExtAuthzGrpc.service: expected a host'],
    [
      { extensionProviders: [http('a', { statusOnError: 200 })] },
      'statusOnError: expected a known HTTP status',
    ],
    [
      { extensionProviders: [http('a', { statusOnError: 420 })] },
      'statusOnError: expected a known HTTP status',
    ],
    [
      { extensionProviders: [http('a', { includeAdditionalHeadersInCheck: { 'x y': 'a' } })] },
      'name 1 of 1, in the order of the alphabet, is no header name',
    ],
    [
      { extensionProviders: [http('a', { includeAdditionalHeadersInCheck: { x: 'a\nb' } })] },
      'is no header value',
    ],
    [{ extensionProviders: [http('a', { headersToUpstreamOnAllow: ['a*b'] })] }, 'expected a header name'],
    [{ trustDomain: 'TD' }, 'trustDomain: expected a trust domain'],
    [{ trustDomainAliases: ['a/b'] }, 'trustDomainAliases[0]: expected a trust domain'],
    [{ defaultAction: 'open' }, 'defaultAction: expected deny or allow, found "open"'],
    [[], 'expected a mapping'],
  ])('refuses %j', (document, message) => {
    const parsed = parseMeshConfig(document);
    expect(renderIssues(parsed.issues)).toContain(message);
    expect(parsed.ok).toBe(false);
  });

  it('never repeats what may be a credential', () => {
    const added = (headers: unknown): object => http('a', { includeAdditionalHeadersInCheck: headers });
    for (const provider of [
      added({ authorization: 'Bearer hunter2\u00e9' }),
      added({ 'authorization: Bearer hunter2': '' }),
      added({ 'x-a': 'b', 'x-b': { hunter2: 1 } }),
      added({ pin: 70_777 }),
      added('authorization: Bearer hunter2'),
      added(['hunter2']),
      http('a', { service: 'http://me:hunter2@opa.example' }),
      http('a', { pathPrefix: 'check?key=hunter2' }),
    ]) {
      const text = renderIssues(parseMeshConfig({ extensionProviders: [provider] }).issues);
      expect(text).toMatch(/^error /);
      expect(text).not.toMatch(/hunter2|70777/);
    }
  });

  it('never throws, whatever the document', () => {
    const text = fc.constantFrom('a', '1s', '/', 'x-*', '__proto__', '', 'deny');
    const keys = fc.constantFrom(
      ...[
        'extensionProviders',
        'name',
        'envoyExtAuthzGrpc',
        'envoyExtAuthzHttp',
        'service',
        'port',
        'timeout',
      ],
      ...[
        'includeRequestBodyInCheck',
        'headersToUpstreamOnAllow',
        'trustDomainAliases',
        'cases',
        'from',
        'to',
      ],
      ...['headers', 'claims', 'expect', 'at'],
    );
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 6 },
        text,
        fc.constantFrom(null, 0, 80, true, undefined),
        fc.array(tie('value'), { maxLength: 3 }),
        fc.dictionary(keys, tie('value'), { maxKeys: 4 }),
      ),
    }));
    fc.assert(
      fc.property(value, (document) => {
        for (const parsed of [parseMeshConfig(document), parseCases(document, { trustDomain: 'td' })])
          expect(parsed.ok).toBe(!parsed.issues.some(({ severity }) => severity === 'error'));
      }),
      { numRuns: 600 },
    );
  });

  it('warns of what lets people in', () => {
    const { issues } = parseMeshConfig({
      defaultAction: 'allow',
      extensionProviders: [grpc('a', { failOpen: true })],
    });
    expect(issues.map(({ severity, path }) => [severity, path])).toEqual([
      ['warning', 'defaultAction'],
      ['warning', 'extensionProviders[0].envoyExtAuthzGrpc.failOpen'],
    ]);
  });
});

describe('trust domain aliases', () => {
  const settings = configured(undefined, { trustDomain: 'new', trustDomainAliases: ['old', 'older'] });
  const source = (fields: object, action = 'ALLOW'): object => ({
    action,
    rules: [{ from: [{ source: fields }] }],
  });
  const allowed = (fields: object, principal: string): boolean =>
    decide([source(fields)], { principal: `spiffe://${principal}` }, settings).verdict === 'ALLOW';

  it.each([
    [{ principals: ['old/ns/a/sa/b'] }, 'new/ns/a/sa/b', true],
    [{ principals: ['new/ns/a/sa/b'] }, 'older/ns/a/sa/b', true],
    [{ principals: ['old/ns/a/*'] }, 'new/ns/a/sa/b', true],
    [{ principals: ['old/ns/a/sa/b'] }, 'other/ns/a/sa/b', false],
    [{ principals: ['other/ns/a/sa/b'] }, 'new/ns/a/sa/b', false],
    [{ principals: ['ol*'] }, 'new/ns/a/sa/b', false],
    [{ trustDomains: ['old'] }, 'new/ns/a/sa/b', true],
    [{ trustDomains: ['other'] }, 'new/ns/a/sa/b', false],
    [{ notPrincipals: ['old/ns/a/sa/b'] }, 'new/ns/a/sa/b', false],
    [{ notTrustDomains: ['old'] }, 'older/ns/a/sa/b', false],
  ])('%j takes %s: %s', (fields, principal, expected) => {
    expect(allowed(fields, principal)).toBe(expected);
  });

  it('reach Envoy and the explanation', () => {
    const compiled = compile(policies([source({ principals: ['old/ns/a/sa/b'] })]), {
      protocol: 'http',
      settings,
    });
    const [principal] =
      compiled.allow.typed_config.rules?.policies['ns[shop]-policy[p0]-rule[0]']?.principals ?? [];
    expect(principal).toEqual({
      or_ids: {
        ids: ['new', 'old', 'older'].map((name) => ({
          authenticated: { principal_name: { exact: `spiffe://${name}/ns/a/sa/b` } },
        })),
      },
    });
    const decision = decide(
      [source({ principals: ['old/ns/a/sa/b'] })],
      { principal: 'spiffe://x/y' },
      settings,
    );
    expect(decision.nearest?.failed).toEqual([
      'source principal spiffe://x/y is not new/ns/a/sa/b, old/ns/a/sa/b or older/ns/a/sa/b',
    ]);
  });
});
