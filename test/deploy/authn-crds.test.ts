import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parsePeerAuthentication, parseRequestAuthentication, renderIssues } from '../../src/policy/index.ts';
import { at, ApiError } from '../cluster/api-client.ts';
import { TestCluster } from '../cluster/cluster.ts';
import { crdFiles } from './chart.ts';

const kinds = {
  PeerAuthentication: { plural: 'peerauthentications', read: parsePeerAuthentication },
  RequestAuthentication: { plural: 'requestauthentications', read: parseRequestAuthentication },
} as const;
type Kind = keyof typeof kinds;

/** Public, and of no issuer. */
const jwks = JSON.stringify({
  keys: [
    {
      kty: 'EC',
      crv: 'P-256',
      x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU',
      y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0',
    },
  ],
});
const keys = `jwks: '${jwks}'`;
const full = `{issuer: https://a.example, audiences: [a, b], ${keys}, fromHeaders: [{name: X-Jwt, prefix: "Jwt "}, {name: b}],
  fromParams: [token], fromCookies: [__Host-t], outputPayloadToHeader: x-payload, forwardOriginalToken: true,
  outputClaimToHeaders: [{header: x-sub, claim: sub}, {header: x-role, claim: realm.role}],
  spaceDelimitedClaims: [groups], timeout: 1.5s}`;
const list = (entry: string, count: number): string => Array.from({ length: count }, () => entry).join(', ');

const accepted: readonly (readonly [Kind, string])[] = [
  ['PeerAuthentication', '{}'],
  ['PeerAuthentication', '{mtls: {}}'],
  ['PeerAuthentication', '{mtls: {mode: UNSET}}'],
  ['PeerAuthentication', '{mtls: {mode: PERMISSIVE}}'],
  ['PeerAuthentication', '{selector: {matchLabels: {app: a}}, portLevelMtls: {}}'],
  [
    'PeerAuthentication',
    '{selector: {matchLabels: {app: a}}, portLevelMtls: {"1": {mode: DISABLE}, "65535": {}}}',
  ],
  ['RequestAuthentication', '{}'],
  ['RequestAuthentication', '{jwtRules: []}'],
  ['RequestAuthentication', `{jwtRules: [${full}]}`],
  [
    'RequestAuthentication',
    '{jwtRules: [{issuer: a, jwksUri: "https://a.example/jwks.json", timeout: 60000ms}]}',
  ],
  ['RequestAuthentication', '{jwtRules: [{issuer: a, jwks_uri: "HTTP://a.example/jwks.json"}]}'],
  ['RequestAuthentication', `{jwtRules: [${list(`{issuer: a, ${keys}}`, 64)}]}`],
];

const refused: readonly (readonly [Kind, spec: string, message: string])[] = [
  ['PeerAuthentication', '{mtls: {mode: strict}}', 'spec.mtls.mode: Unsupported value: "strict"'],
  ['PeerAuthentication', '{portLevelMtls: {"80": {mode: STRICT}}}', 'portLevelMtls needs a selector'],
  [
    'PeerAuthentication',
    '{selector: {matchLabels: {}}, portLevelMtls: {"80": {mode: STRICT}}}',
    'portLevelMtls needs a selector',
  ],
  ...['0', '65536', '08', 'http', '99999999999999999999'].map(
    (port) =>
      [
        'PeerAuthentication',
        `{selector: {matchLabels: {app: a}}, portLevelMtls: {"${port}": {mode: STRICT}}}`,
        'portLevelMtls names ports of the workload, from 1 to 65535',
      ] as const,
  ),
  ['PeerAuthentication', '{selector: {matchLabels: {app: "a*"}}}', 'spec.selector.matchLabels.app'],
  ['RequestAuthentication', `{jwtRules: [{${keys}}]}`, 'spec.jwtRules[0].issuer: Required value'],
  ['RequestAuthentication', '{jwtRules: [{issuer: a}]}', 'a JWT rule needs either jwks or jwksUri'],
  [
    'RequestAuthentication',
    `{jwtRules: [{issuer: a, ${keys}, jwksUri: "https://a.example"}]}`,
    'a JWT rule needs either jwks or jwksUri',
  ],
  [
    'RequestAuthentication',
    '{jwtRules: [{issuer: a, jwksUri: "file:///etc/passwd"}]}',
    'spec.jwtRules[0].jwksUri',
  ],
  ['RequestAuthentication', `{jwtRules: [{issuer: "", ${keys}}]}`, 'spec.jwtRules[0].issuer'],
  [
    'RequestAuthentication',
    `{jwtRules: [{issuer: a, ${keys}, audiences: []}]}`,
    'spec.jwtRules[0].audiences',
  ],
  [
    'RequestAuthentication',
    `{jwtRules: [{issuer: a, ${keys}, audiences: [${list('b', 33)}]}]}`,
    'spec.jwtRules[0].audiences: Too many: 33',
  ],
  [
    'RequestAuthentication',
    `{jwtRules: [{issuer: a, ${keys}, fromHeaders: [{prefix: a}]}]}`,
    'name: Required value',
  ],
  [
    'RequestAuthentication',
    `{jwtRules: [{issuer: a, ${keys}, fromHeaders: [{name: "a b"}]}]}`,
    'fromHeaders[0].name',
  ],
  ['RequestAuthentication', `{jwtRules: [{issuer: a, ${keys}, fromCookies: ["a=b"]}]}`, 'fromCookies[0]'],
  [
    'RequestAuthentication',
    `{jwtRules: [{issuer: a, ${keys}, outputPayloadToHeader: ""}]}`,
    'outputPayloadToHeader',
  ],
  [
    'RequestAuthentication',
    `{jwtRules: [{issuer: a, ${keys}, outputClaimToHeaders: [{header: x-a}]}]}`,
    'claim: Required value',
  ],
  [
    'RequestAuthentication',
    `{jwtRules: [{issuer: a, ${keys}, forwardOriginalToken: "yes"}]}`,
    'forwardOriginalToken',
  ],
  ['RequestAuthentication', `{jwtRules: [{issuer: a, ${keys}, timeout: 5}]}`, 'timeout'],
  ['RequestAuthentication', `{jwtRules: [{issuer: a, ${keys}, timeout: 1h}]}`, 'timeout'],
  [
    'RequestAuthentication',
    `{jwtRules: [${list(`{issuer: a, ${keys}}`, 65)}]}`,
    'spec.jwtRules: Too many: 65',
  ],
];

describe('the CRDs of PeerAuthentication and RequestAuthentication, in a real API server', () => {
  let cluster: TestCluster;
  beforeAll(async () => {
    cluster = await TestCluster.start();
    for (const file of crdFiles()) {
      const crd = readFileSync(file, 'utf8');
      const ran = await cluster.kubectl(['apply', '--server-side', '--filename', '-'], crd);
      expect(ran).toMatchObject({ code: 0, stderr: '' });
    }
    await cluster.kubectl(['wait', '--for=condition=Established', 'crd', '--all', '--timeout=30s']);
    await cluster.make.namespace('shop');
  }, 600_000);

  afterAll(async () => {
    await cluster.dispose();
  });

  function documentOf(kind: Kind, spec: string): object {
    const apiVersion = 'security.countersign.dev/v1';
    return { apiVersion, kind, metadata: { name: 'p', namespace: 'shop' }, spec: parse(spec) as object };
  }

  /** What the API server says against it, as if it were created; undefined: it takes it. */
  async function refusal(kind: Kind, document: object): Promise<string | undefined> {
    const path = at(`security.countersign.dev/v1/${kinds[kind].plural}`, 'shop');
    try {
      await cluster.operator.create(`${path}?dryRun=All`, document);
      return undefined;
    } catch (error) {
      if (error instanceof ApiError && error.status === 422) return error.message;
      throw error;
    }
  }

  it.each(accepted)('take %s %s, as the parser does', async (kind, spec) => {
    const document = documentOf(kind, spec);
    const { issues } = kinds[kind].read(document);
    expect(renderIssues(issues.filter(({ severity }) => severity === 'error'))).toBe('');
    expect(await refusal(kind, document)).toBeUndefined();
  });

  it.each(refused)('refuse %s %s, as the parser does', async (kind, spec, message) => {
    const document = documentOf(kind, spec);
    expect(kinds[kind].read(document).ok).toBe(false);
    expect(await refusal(kind, document)).toContain(message);
  });
});
