import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { missingServiceAccounts, parseAuthorizationPolicy, renderIssues, type Parsed } from './index.ts';

const document = (spec: unknown, extra: object = {}): Record<string, unknown> => ({
  apiVersion: 'security.countersign.dev/v1',
  kind: 'AuthorizationPolicy',
  metadata: { name: 'p', namespace: 'shop' },
  spec,
  ...extra,
});
const source = (fields: object): object => ({ rules: [{ from: [{ source: fields }] }] });
const operation = (fields: object): object => ({ rules: [{ to: [{ operation: fields }] }] });
const condition = (fields: object): object => ({ rules: [{ when: [fields] }] });
const parse = (spec: unknown): Parsed => parseAuthorizationPolicy(document(spec));
const rendered = (spec: unknown): string => renderIssues(parse(spec).issues);
const policyOf = (spec: unknown): Extract<Parsed, { ok: true }>['policy'] => {
  const parsed = parse(spec);
  if (!parsed.ok) throw new Error(renderIssues(parsed.issues));
  return parsed.policy;
};
const onlyTerm = (spec: unknown): object => {
  const { from, to, when } = policyOf(spec).rules[0]!;
  return [...from.flat(), ...to.flat(), ...when][0]!;
};

describe('the envelope', () => {
  it('reads both groups and fills in the defaults', () => {
    expect(policyOf({})).toMatchObject({
      apiGroup: 'security.countersign.dev',
      namespace: 'shop',
      name: 'p',
      action: 'ALLOW',
      mode: 'Enforce',
      selector: {},
      rules: [],
    });
    const bare = { ...document({}), apiVersion: 'security.istio.io/v1beta1', metadata: { name: 'q' } };
    expect(parseAuthorizationPolicy(bare)).toMatchObject({
      ok: true,
      policy: { apiGroup: 'security.istio.io', namespace: 'default' },
    });
  });

  it.each([
    [
      { ...document({}), apiVersion: 'security.istio.io/v2' },
      /apiVersion: .* did you mean security.istio.io\/v1\?/,
    ],
    [{ ...document({}), kind: 'Policy' }, /kind: expected AuthorizationPolicy, found "Policy"/],
    [{ ...document({}), metadata: { name: 'Upper' } }, /metadata.name: "Upper" is no name/],
    [{ ...document({}), metadata: { name: 'x]-rule[0' } }, /metadata.name/],
    [{ ...document({}), metadata: { name: 'p', namespace: 7 } }, /metadata.namespace: the number 7/],
    [{ ...document({}), specs: {} }, /specs: unknown field "specs"; did you mean spec\?/],
    [null, /expected a mapping, found nothing/],
    ['text', /expected a mapping, found "text"/],
  ])('refuses %j', (value, message) => {
    const parsed = parseAuthorizationPolicy(value);
    expect(parsed.ok).toBe(false);
    expect(renderIssues(parsed.issues)).toMatch(message);
  });

  it('takes Shadow from the field or from the dry-run annotation, and refuses a contradiction', () => {
    const annotated = (value: unknown, spec: object = {}): Parsed =>
      parseAuthorizationPolicy(
        document(spec, { metadata: { name: 'p', annotations: { 'istio.io/dry-run': value } } }),
      );
    expect(policyOf({ mode: 'Shadow' }).mode).toBe('Shadow');
    expect(annotated('true')).toMatchObject({ policy: { mode: 'Shadow' } });
    expect(annotated('false')).toMatchObject({ policy: { mode: 'Enforce' } });
    expect(annotated(true).ok).toBe(false);
    expect(renderIssues(annotated('true', { mode: 'Enforce' }).issues)).toMatch(/contradicts the annotation/);
  });

  it('keeps its own additions out of Istio documents', () => {
    const istio = { ...document({ mode: 'Shadow' }), apiVersion: 'security.istio.io/v1' };
    expect(parseAuthorizationPolicy(istio).ok).toBe(false);
  });
});

describe('what is not there yet is refused, never ignored', () => {
  it.each([[{ targetRefs: [] }, 'spec.targetRefs']])('%j', (spec, field) => {
    expect(rendered(spec)).toMatch(/not supported yet/);
    expect(rendered(spec)).toContain(field);
    expect(parse(spec).ok).toBe(false);
  });
});

describe('rules', () => {
  it('keeps their index, and a rule without parts matches all', () => {
    expect(policyOf({ rules: [{}, {}] }).rules).toEqual([
      { index: 0, from: [], to: [], when: [] },
      { index: 1, from: [], to: [], when: [] },
    ]);
  });

  it.each([
    [{ action: 'DENY' }, /spec.rules: a DENY policy without rules/],
    [{ action: 'DENY', rules: [] }, /a DENY policy without rules/],
    [{ action: 'deny', rules: [{}] }, /spec.action: expected ALLOW, DENY, AUDIT or CUSTOM, found "deny"/],
    [{ rules: [null] }, /spec.rules\[0\]: found nothing; write \{\}/],
    [{ rules: Array.from({ length: 513 }, () => ({})) }, /at most 512 rules, found 513/],
    [{ rules: [{ from: [] }] }, /spec.rules\[0\].from: an empty list; leave from out/],
    [{ rules: [{ when: [] }] }, /spec.rules\[0\].when: an empty list/],
    [{ rules: [{ from: [{}] }] }, /from\[0\].source: expected a mapping, found nothing/],
    [source({}), /from\[0\].source: an empty source would match any/],
    [source({ principals: [] }), /principals: an empty list/],
    [source({ principals: null }), /principals: expected a list, found nothing/],
    [source({ principal: ['x'] }), /source.principal: unknown field "principal"; did you mean principals\?/],
    [operation({ path: ['/x'] }), /operation.path: unknown field "path"; did you mean paths\?/],
    [operation({ ports: [80] }), /ports\[0\]: expected a string, found the number 80; put it in quotes/],
    [condition({ key: 'source.ip' }), /when\[0\]: a condition needs values or notValues/],
    [condition({ key: 'source.namspace', values: ['a'] }), /did you mean source.namespace\?/],
    [condition({ key: 'request.headers[a b]', values: ['a'] }), /"a b" is no header name/],
    [
      source({ serviceAccounts: ['a'], namespaces: ['b'] }),
      /serviceAccounts: cannot stand beside namespaces/,
    ],
    [{ selector: { matchLabels: { app: 'a*' } } }, /a label is matched whole, without \*/],
    [{ selector: { matchLabels: { app: 1 } } }, /matchLabels.app: expected a string, found the number 1/],
    [{ selector: { matchLabel: {} } }, /did you mean matchLabels\?/],
  ])('refuses %j', (spec, message) => {
    expect(parse(spec).ok).toBe(false);
    expect(rendered(spec)).toMatch(message);
  });

  it('gives equal digests to equal meanings only', () => {
    const one = policyOf({
      ...source({ namespaces: ['a'] }),
      reason: 'x',
      selector: { matchLabels: { a: '1', b: '2' } },
    });
    const same = policyOf({
      selector: { matchLabels: { b: '2', a: '1' } },
      ...source({ namespaces: ['a'] }),
    });
    expect(one.digest).toBe(same.digest);
    expect(one.digest).toMatch(/^[0-9a-f]{64}$/);
    expect(policyOf(source({ notNamespaces: ['a'] })).digest).not.toBe(
      policyOf(source({ namespaces: ['a'] })).digest,
    );
    expect(policyOf({ action: 'AUDIT' }).digest).not.toBe(policyOf({}).digest);
    expect(policyOf({ mode: 'Shadow' }).digest).not.toBe(policyOf({}).digest);
  });
});

describe('values', () => {
  it.each([
    [source({ principals: ['td/ns/a/sa/b'] }), { kind: 'exact', value: 'td/ns/a/sa/b' }],
    [source({ principals: ['spiffe://td/ns/a/sa/b'] }), { kind: 'exact', value: 'td/ns/a/sa/b' }],
    [source({ principals: ['spiffe://td/*'] }), { kind: 'prefix', value: 'td/' }],
    [source({ principals: ['*/sa/b'] }), { kind: 'suffix', value: '/sa/b' }],
    [source({ principals: ['*'] }), { kind: 'present' }],
    [source({ serviceAccounts: ['web'] }), { kind: 'serviceAccount', namespace: 'shop', name: 'web' }],
    [source({ serviceAccounts: ['b/web'] }), { kind: 'serviceAccount', namespace: 'b', name: 'web' }],
    [source({ ipBlocks: ['10.0.0.1'] }), { kind: 'cidr', address: '10.0.0.1', prefixLength: 32 }],
    [source({ ipBlocks: ['2001:DB8:0::/32'] }), { kind: 'cidr', address: '2001:db8::', prefixLength: 32 }],
    [source({ ipBlocks: ['::1'] }), { kind: 'cidr', address: '::1', prefixLength: 128 }],
    [source({ ipBlocks: ['::ffff:10.0.0.0/104'] }), { kind: 'cidr', address: '10.0.0.0', prefixLength: 8 }],
    [source({ ipBlocks: ['0.0.0.0/0'] }), { kind: 'cidr', address: '0.0.0.0', prefixLength: 0 }],
    [operation({ ports: ['443'] }), { kind: 'port', value: 443 }],
    [operation({ paths: ['/a/{*}/b/{**}'] }), { kind: 'template', value: '/a/{*}/b/{**}' }],
    [operation({ paths: ['/a*'] }), { kind: 'prefix', value: '/a' }],
    [condition({ key: 'request.headers[X-Team]', values: ['a'] }), { kind: 'exact', value: 'a' }],
  ])('%j', (spec, matcher) => {
    expect(onlyTerm(spec)).toMatchObject({ values: [matcher] });
  });

  it.each([
    [operation({ paths: ['/a*b'] }), /paths\[0\]: "\/a\*b": at most one \*/],
    [operation({ hosts: ['*.a/b*'] }), /at most one \*/],
    [operation({ methods: ['**'] }), /at most one \*/],
    [operation({ paths: ['/a/{**}/{*}'] }), /\{\*\*\} must be the last operator/],
    [operation({ paths: ['/a/{*}b'] }), /whole segments/],
    [operation({ paths: ['/a/{id}'] }), /whole segments/],
    [operation({ paths: ['/a/{*}/*'] }), /not a bare \*/],
    [operation({ paths: ['/a//{*}'] }), /no empty segment/],
    [operation({ paths: ['/a b/{*}'] }), /Envoy takes no " "/],
    [operation({ paths: [`/${'x'.repeat(92)}/{*}`] }), /at most 96 characters/],
    [source({ namespaces: ['x'.repeat(64)] }), /a namespace has at most 63 characters/],
    [source({ trustDomains: [`*${'x'.repeat(71)}`] }), /a trust domain after \* has at most 70 characters/],
    [operation({ paths: [''] }), /an empty string matches nothing/],
    [operation({ paths: [' /a'] }), /blanks around it/],
    [operation({ ports: ['0'] }), /no port/],
    [operation({ ports: ['65536'] }), /no port/],
    [operation({ ports: ['80*'] }), /no port/],
    [source({ ipBlocks: ['10.0.0.0/33'] }), /no IP address or block/],
    [source({ ipBlocks: ['010.0.0.1'] }), /no IP address or block/],
    [source({ ipBlocks: ['10.1'] }), /no IP address or block/],
    [source({ ipBlocks: ['fe80::1%eth0'] }), /no IP address or block/],
    [source({ ipBlocks: ['10.0.0.0/8/8'] }), /no IP address or block/],
    [source({ namespaces: ['a/sa/b'] }), /holds a \//],
    [source({ trustDomains: ['td/ns'] }), /holds a \//],
    [source({ namespaces: ['Shop'] }), /no namespace has and could never match; write a-z, 0-9 and -/],
    [source({ notNamespaces: [`*${'\u{1f511}'.repeat(31)}`] }), /characters that no namespace has/],
    [source({ trustDomains: ['*\u00e9'] }), /no trust domain has .* write a-z, 0-9, \., - and _/],
    [source({ serviceAccounts: ['\u{1f511}'] }), /no service account/],
    [
      condition({ key: 'request.headers[Upgrade]', values: ['*'] }),
      /when\[0\]\.key: no rule can judge by upgrade/,
    ],
    [condition({ key: 'request.headers[te]', notValues: ['*'] }), /no rule can judge by te/],
    [source({ serviceAccounts: ['a/*'] }), /no service account/],
    [source({ serviceAccounts: ['a/b/c'] }), /no service account/],
  ])('refuses %j', (spec, message) => {
    expect(parse(spec).ok).toBe(false);
    expect(rendered(spec)).toMatch(message);
  });
});

describe('warnings leave the policy in force', () => {
  it.each([
    [source({ ipBlocks: ['10.1.2.3/8'] }), /means 10.0.0.0\/8/],
    [
      condition({ key: 'request.headers[X_Team]', values: ['a'] }),
      /key: can never match: Envoy refuses a request with "x_team", .* named "x-team" is another one/,
    ],
    [source({ principals: ['web'] }), /no SPIFFE ID of a workload/],
    [operation({ methods: ['get'] }), /methods are case-sensitive/],
    [operation({ paths: ['api'] }), /a path begins with \//],
    [operation({ paths: ['/a/../b'] }), /write "\/b"/],
    [operation({ paths: ['/a|b'] }), /write "\/a%7Cb"/],
    [operation({ paths: ['/a?b=*'] }), /without their query/],
    [operation({ paths: ['/a%2fb'] }), /Envoy refuses such a path/],
    [{ action: 'DENY', ...operation({ hosts: ['a.example'] }) }, /add "a.example:\*"/],
    [operation({ notHosts: ['a.example'] }), /notHosts\[0\]: a caller evades this/],
    [operation({ methods: ['GET'], notMethods: ['GET'] }), /spec.rules\[0\].to\[0\]: can never match/],
    [
      {
        rules: [
          {
            to: [{ operation: { methods: ['GET'] } }],
            when: [{ key: 'request.headers[:method]', values: ['POST'] }],
          },
        ],
      },
      /spec.rules\[0\].to\[0\]: can never match/,
    ],
    [source({ principals: ['td/ns/a/sa/b'], namespaces: ['c'] }), /from\[0\]: can never match/],
    [source({ principals: ['td/ns/a/sa/b'], trustDomains: ['x*'] }), /from\[0\]: can never match/],
    [
      { rules: [{ when: [{ key: 'source.namespace', values: ['a'], notValues: ['a*'] }] }] },
      /rules\[0\].when: can never/,
    ],
  ])('%j', (spec, message) => {
    expect(parse(spec).ok).toBe(true);
    expect(rendered(spec)).toMatch(message);
  });

  it.each([
    [source({ principals: ['td/ns/a/sa/b'], namespaces: ['a'] })],
    [source({ namespaces: ['a', 'b'], notNamespaces: ['a'] })],
    [source({ trustDomains: ['td'], namespaces: ['a'] })],
    [source({ serviceAccounts: ['a/b'], trustDomains: ['td*'] })],
    [operation({ methods: ['GET', 'POST'], notMethods: ['POST'] })],
    [operation({ paths: ['/a/..*', '/b/*'], notPaths: ['/b/c'] })],
    [{ action: 'DENY', ...operation({ hosts: ['a.example', 'a.example:*'] }) }],
    [operation({ hosts: ['a.example'] })],
  ])('none for %j', (spec) => {
    expect(parse(spec).issues).toEqual([]);
  });

  it('says what a bare service account means in the root namespace', () => {
    const parsed = parseAuthorizationPolicy(document(source({ serviceAccounts: ['web'] })), {
      rootNamespace: 'shop',
    });
    expect(renderIssues(parsed.issues)).toMatch(/means shop\/web/);
  });

  it('names service accounts that do not exist', () => {
    const policy = policyOf(source({ serviceAccounts: ['web', 'b/pay'] }));
    expect(
      missingServiceAccounts(policy, (namespace, name) => `${namespace}/${name}` === 'shop/web'),
    ).toEqual([
      {
        severity: 'warning',
        code: 'unknown-source',
        path: 'spec.rules[0].from[0].source.serviceAccounts[1]',
        message: 'service account b/pay does not exist: nobody can match',
      },
    ]);
  });
});

it('never throws, whatever the document', () => {
  const text = fc.oneof(
    fc.string(),
    fc.constantFrom('*', '/a/{*}', '10.0.0.0/8', '__proto__', 'source.ip', 'ALLOW'),
  );
  const keys = fc.constantFrom(
    'rules',
    'from',
    'to',
    'when',
    'source',
    'operation',
    'principals',
    'paths',
    'ports',
    'key',
    'values',
    'selector',
    'matchLabels',
    'x',
  );
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 8 },
      text,
      fc.constantFrom(null, 0, true, undefined),
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(keys, tie('value'), { maxKeys: 4 }),
    ),
  }));
  fc.assert(
    fc.property(value, (spec) => {
      const parsed = parse(spec);
      expect(parsed.ok).toBe(!parsed.issues.some(({ severity }) => severity === 'error'));
    }),
    { numRuns: 400 },
  );
});
