import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const demo = new URL('../../deploy/demo', import.meta.url).pathname;

/** Every field of the language. */
const FULL = `apiVersion: security.countersign.dev/v1
kind: AuthorizationPolicy
metadata: {name: full, namespace: shop, annotations: {istio.io/dry-run: "true"}}
spec:
  selector: {matchLabels: {app: cart}}
  action: DENY
  mode: Shadow
  reason: because
  validity: {notBefore: "2026-01-01T00:00:00Z", notAfter: "2027-01-01T00:00:00Z"}
  rules:
    - from:
        - source: {principals: [td/ns/a/sa/b, "td/*"], notNamespaces: [x], requestPrincipals: ["i/*"]}
        - source: {serviceAccounts: [a/b], ipBlocks: [10.0.0.0/8], remoteIpBlocks: ["2001:db8::/32"]}
        - source: {notPrincipals: ["*"], namespaces: ["*", "*x-y"], notIpBlocks: [1.2.3.4], trustDomains: [td, "*.org"]}
      to:
        - operation: {hosts: [a.example, "*"], notHosts: [b], ports: ["80"], notPorts: ["81"]}
        - operation: {methods: [GET, "*"], notMethods: [PUT], paths: ["/a/{*}/b/{**}", "/x*"], notPaths: ["*/y"]}
      when:
        - {key: "request.headers[x-a]", values: ["*", a], notValues: [b]}
        - {key: "request.auth.claims[a][b]", values: [c]}
        - {key: "experimental.envoy.filters.http.x[k]", values: ["[v]", "[*]"]}
        - {key: connection.sni, notValues: [sni]}
    - {}
`;

const CUSTOM = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ask, namespace: shop}
spec:
  action: CUSTOM
  provider: {name: asked}
  rules: [{to: [{operation: {paths: [/admin]}}]}]
`;

const LIST = `apiVersion: v1
kind: List
items:
  - &p
    apiVersion: security.istio.io/v1beta1
    kind: AuthorizationPolicy
    metadata: {name: listed, namespace: shop}
    spec: &s {rules: [{from: [{source: {namespaces: [a]}}]}]}
  - <<: *p
    spec: *s
  - {kind: Pod, metadata: {name: x}}
`;

/** Real documents, to be damaged. */
export const SEEDS: readonly string[] = [
  FULL,
  CUSTOM,
  LIST,
  ...globSync('**/*.yaml', { cwd: demo })
    .toSorted()
    .map((name) => readFileSync(join(demo, name), 'utf8')),
];

/** What is put where something else is expected. */
export const HOSTILE: readonly string[] = [
  '&a',
  '*a',
  '&s',
  '*s',
  '*p',
  '<<: *p',
  '<<: [*s, *s]',
  '[*a, *a, *a]',
  '!!binary aGk=',
  '!!set {a}',
  '!!js/function "x"',
  '!!int "7"',
  '{}',
  '[]',
  '[{}]',
  '{{}}',
  '[[]]',
  '[[[[[[[[[[[[',
  '{a: {a: {a: {a:',
  'null',
  '~',
  '""',
  "''",
  '0',
  '-1',
  '1e999',
  '.nan',
  '.inf',
  'true',
  '0x1f',
  '2026-01-01',
  '"*"',
  '"**"',
  '"*a*"',
  '"/{*}"',
  '"/{**}{**}"',
  '"(a+)+$"',
  '"[a-"',
  '"\\0"',
  '"\\x07\\x1b[31m"',
  '"\\ud800"',
  '"\\u202e"',
  '"\\u2028"',
  '\u0000',
  '\u0007',
  '\ufeff',
  '\u0085',
  '\t',
  '\r',
  '\r\n',
  '"' + 'x'.repeat(5_000) + '"',
  '? ',
  '? [a]\n: b',
  ': ',
  '- ',
  '- - - -',
  '|',
  '>',
  '|\n  x',
  '#',
  '%YAML 1.1\n---',
  '---\n',
  '...\n',
  '`',
  '@',
  '!',
  '&',
  '*',
  "'",
  '"',
  '\\',
  'rules:',
  'from:',
  'to:',
  'when:',
  'source:',
  'operation:',
  'spec:',
  'kind: List',
  'items:',
  '__proto__: {x: 1}',
  'constructor: 1',
  'toString: 1',
  'extra: 1',
  'namespaces: [a]',
  'key: x',
  'rules: [{}]',
  'action: ALLOW',
  'action: allow',
];
