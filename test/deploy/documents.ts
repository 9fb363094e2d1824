import * as fc from 'fast-check';
import { parse } from 'yaml';

const full = `apiVersion: security.countersign.dev/v1
kind: AuthorizationPolicy
metadata: {name: full, namespace: shop}
spec:
  selector: {matchLabels: {app: cart, example.com/tier: ""}}
  action: DENY
  mode: Shadow
  reason: because
  validity: {notBefore: "2026-01-01t00:00:00.5z", notAfter: "2027-01-01T00:00:00+01:00"}
  rules:
    - from:
        - source: {principals: [td/ns/a/sa/b, "spiffe://td/*", "*"], notNamespaces: [x], requestPrincipals: ["i/*", "*/s"]}
        - source: {serviceAccounts: [web, a/b.c], ipBlocks: [10.0.0.0/8, "::1"], remoteIpBlocks: ["2001:db8::/32"]}
        - source: {notPrincipals: ["*"], namespaces: ["*"], notIpBlocks: [1.2.3.4], trustDomains: ["td*"]}
        - source: {notServiceAccounts: [a/b], notTrustDomains: ["*x"], notRequestPrincipals: ["*"], notRemoteIpBlocks: [1.1.1.1]}
      to:
        - operation: {hosts: [a.example, "*.example:8080"], notHosts: [b], ports: ["80", "65535"], notPorts: ["1"]}
        - operation: {methods: [GET, "*"], notMethods: [PUT], paths: ["/a/{*}/b/{**}", "/x*"], notPaths: ["*/y", "/{**}/z"]}
      when:
        - {key: "request.headers[x-a]", values: ["*", a b], notValues: [b]}
        - {key: "request.headers[:Authority]", values: [a]}
        - {key: "request.auth.claims[a][b]", values: [c]}
        - {key: "experimental.envoy.filters.http.x[k]", values: ["[*v]", "[*]"]}
        - {key: connection.sni, notValues: [sni]}
    - {}
`;

const custom = `apiVersion: security.countersign.dev/v1
kind: AuthorizationPolicy
metadata: {name: ask, namespace: shop}
spec:
  action: CUSTOM
  provider: {name: opa.v2}
  rules: [{from: [{source: {ipBlocks: [10.0.0.0/8]}}], to: [{operation: {paths: [/admin]}}]}]
`;

const nothing = `apiVersion: security.countersign.dev/v1
kind: AuthorizationPolicy
metadata: {name: deny-all, namespace: shop}
`;

/** A list with so many entries. */
function repeated(entry: string, count: number): string {
  return Array.from({ length: count }, () => entry).join(', ');
}

const many = `apiVersion: security.countersign.dev/v1
kind: AuthorizationPolicy
metadata: {name: many, namespace: shop}
spec:
  rules:
    - from: [{source: {principals: [${repeated('"td/*"', 30_000)}]}}]
    - from: [${repeated('{source: {namespaces: [a]}}', 512)}]
    ${repeated('\n    - {}', 510).replaceAll(',', '')}
`;

/** AuthorizationPolicies that both the CRD and the parser have to take, by name, and those that both have to refuse. */
export const policies: {
  readonly accepted: readonly (readonly [name: string, text: string])[];
  /** Specs, and what the API server says. */
  readonly refused: readonly (readonly [name: string, spec: string, message: string])[];
} = {
  accepted: [
    ['every field', full],
    ['an external authorizer', custom],
    ['a policy without a spec', nothing],
    ['an empty spec', `${nothing}spec: {}`],
    ['as many rules, sources and values as there may be', many],
  ],
  refused: [
    ['CUSTOM that asks nobody', '{action: CUSTOM, rules: [{}]}', 'a CUSTOM policy needs provider'],
    ['a provider of no CUSTOM', '{provider: {name: opa}}', 'provider belongs to action CUSTOM'],
    ['DENY without rules', '{action: DENY}', 'a DENY policy without rules denies nothing'],
    ['DENY with no rule', '{action: DENY, rules: []}', 'a DENY policy without rules denies nothing'],
    [
      'CUSTOM without rules',
      '{action: CUSTOM, provider: {name: a}}',
      'a CUSTOM policy without rules asks for nothing',
    ],
    [
      'CUSTOM as Shadow',
      '{action: CUSTOM, provider: {name: a}, mode: Shadow, rules: [{}]}',
      'cannot be a Shadow',
    ],
    [
      'CUSTOM that looks at identities',
      '{action: CUSTOM, provider: {name: a}, rules: [{from: [{source: {notNamespaces: [a]}}]}]}',
      'a CUSTOM rule cannot look at identities or claims',
    ],
    ['another action', '{action: allow}', 'Unsupported value: "allow"'],
    ['another mode', '{mode: Audit}', 'Unsupported value: "Audit"'],
    ['validity without an end', '{validity: {}}', 'names neither notBefore nor notAfter'],
    [
      'validity that ends before it begins',
      '{validity: {notBefore: "2027-01-01T00:00:00Z", notAfter: "2027-01-01T00:00:00+01:00"}}',
      'ends before it begins',
    ],
    [
      'a day that is none',
      '{validity: {notBefore: "2027-02-30T00:00:00Z", notAfter: "2028-01-01T00:00:00Z"}}',
      'validity',
    ],
    ['a time without a zone', '{validity: {notAfter: "2027-01-01T00:00:00"}}', 'spec.validity.notAfter'],
    [
      'service accounts beside namespaces',
      '{rules: [{from: [{source: {serviceAccounts: [a], notNamespaces: [b]}}]}]}',
      'cannot stand beside principals',
    ],
    [
      'an inner *',
      '{rules: [{to: [{operation: {paths: ["/a*b"]}}]}]}',
      'spec.rules[0].to[0].operation.paths[0]',
    ],
    [
      'two *',
      '{rules: [{from: [{source: {principals: ["*a*"]}}]}]}',
      'spec.rules[0].from[0].source.principals[0]',
    ],
    [
      'a * in a service account',
      '{rules: [{from: [{source: {serviceAccounts: ["a/*"]}}]}]}',
      'serviceAccounts[0]',
    ],
    ['a / in a namespace', '{rules: [{from: [{source: {namespaces: ["a/b"]}}]}]}', 'namespaces[0]'],
    ['blanks around a value', '{rules: [{to: [{operation: {methods: ["GET "]}}]}]}', 'methods[0]'],
    ['an empty value', '{rules: [{to: [{operation: {hosts: [""]}}]}]}', 'hosts[0]'],
    ['a port beyond the last', '{rules: [{to: [{operation: {ports: ["65536"]}}]}]}', 'ports[0]'],
    ['a port that is a number', '{rules: [{to: [{operation: {ports: [80]}}]}]}', 'ports[0]'],
    ['no address', '{rules: [{from: [{source: {ipBlocks: [localhost]}}]}]}', 'ipBlocks[0]'],
    ['half an operator', '{rules: [{to: [{operation: {paths: ["/a/{*}b"]}}]}]}', 'paths[0]'],
    ['an operator after the last', '{rules: [{to: [{operation: {paths: ["/{**}/{*}"]}}]}]}', 'paths[0]'],
    ['an empty source', '{rules: [{from: [{source: {}}]}]}', 'spec.rules[0].from[0].source'],
    ['a caller without a source', '{rules: [{from: [{}]}]}', 'spec.rules[0].from[0].source: Required value'],
    ['an empty list', '{rules: [{from: []}]}', 'spec.rules[0].from'],
    ['a rule of nothing', '{rules: [null]}', 'spec.rules[0]'],
    ['an unknown key', '{rules: [{when: [{key: source.port, values: ["1"]}]}]}', 'spec.rules[0].when[0].key'],
    [
      'a condition without values',
      '{rules: [{when: [{key: source.ip}]}]}',
      'a condition needs values or notValues',
    ],
    ['a label that is none', '{selector: {matchLabels: {app: "a*"}}}', 'spec.selector.matchLabels.app'],
    ['a reason too long', `{reason: ${'x'.repeat(1_025)}}`, 'spec.reason'],
    ['too many rules', `{rules: [${repeated('{}', 513)}]}`, 'spec.rules: Too many: 513'],
  ],
};

const odd: readonly unknown[] = [
  ...[
    '',
    '*',
    'a*',
    '*a',
    'a*b',
    '**',
    ' a',
    'a/b',
    '/a',
    '/{*}',
    '/{**}/{*}',
    '{*}',
    '[x]',
    '[*',
    '0',
    '80',
    '65536',
  ],
  ...[
    '10.0.0.1',
    '10.0.0.0/33',
    '::/0',
    'spiffe://td/x',
    'request.headers[x]',
    'source.ip',
    'ALLOW',
    'CUSTOM',
    'ü\n',
  ],
  ...[
    '2026-01-01T00:00:00Z',
    '2026-02-30T00:00:00Z',
    'Shadow',
    true,
    7,
    [],
    {},
    ['a'],
    [''],
    { name: 'a' },
    [{}],
  ],
];

/** Specs of which one or two places were put out of order: replaced, removed, or taken from another. */
export function damaged(): fc.Arbitrary<object> {
  const seeds = [full, custom].map((text) => (parse(text) as { spec: object }).spec);
  const wound = fc.record({
    place: fc.nat(),
    value: fc.constantFrom(...odd),
    remove: fc.integer({ min: 0, max: 3 }),
  });
  return fc
    .tuple(fc.constantFrom(...seeds), fc.array(wound, { minLength: 1, maxLength: 2 }))
    .map(([seed, wounds]) => {
      const spec = structuredClone(seed);
      for (const { place, value, remove } of wounds) damage(spec, place, remove === 0 ? undefined : value);
      return spec;
    });
}

function damage(spec: object, place: number, value: unknown): void {
  const places = placesIn(spec);
  const [holder, key] = places[place % places.length] ?? [];
  if (holder === undefined || key === undefined) return;
  if (value !== undefined) (holder as Record<string, unknown>)[key] = structuredClone(value);
  else if (Array.isArray(holder)) holder.splice(Number(key), 1);
  else Reflect.deleteProperty(holder, key);
}

function placesIn(holder: object): (readonly [object, string])[] {
  return Object.entries(holder).flatMap(([key, value]) => [
    [holder, key] as const,
    ...(typeof value === 'object' && value !== null ? placesIn(value as object) : []),
  ]);
}
