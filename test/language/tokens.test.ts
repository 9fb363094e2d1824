import { generateKeyPair, exportJWK, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  compile,
  Evaluator,
  JWT_METADATA,
  parseAuthorizationPolicy,
  renderIssues,
  type AuthorizationPolicy,
  type CompiledFilters,
} from '../../src/policy/index.ts';
import { call } from '../harness/http.ts';
import { freePort, loopbackSubnet } from '../harness/ports.ts';
import { StaticEnvoy } from './static-envoy.ts';

const settings = { trustDomain: 'td', rootNamespace: 'root', defaultAction: 'deny' } as const;
const issuer = 'https://issuer.example/realm';
const types = 'type.googleapis.com/envoy.extensions.filters.http';

/** By name; undefined: no token. */
const tokens: Readonly<Record<string, Readonly<Record<string, unknown>> | undefined>> = {
  none: undefined,
  alice: {
    iss: issuer,
    sub: 'alice',
    aud: ['cart', 'web'],
    azp: 'app',
    groups: ['dev', 'ops', 7],
    realm_access: { roles: ['admin'], 'a.b': 'c', deep: { er: 'x' } },
    admin: true,
    level: 3,
  },
  bob: { iss: issuer, sub: 'bob/alice', aud: 'web', groups: 'dev', realm_access: 'admin' },
  short: { iss: issuer, sub: 'al', groups: [], aud: [], empty: '' },
  nobody: { iss: issuer, groups: [['dev']], realm_access: [{ roles: 'admin' }] },
  odd: { iss: issuer, sub: ' ', groups: ['', 'deV', 'dev\n', 'de'], aud: 'Web', lines: '\n' },
  number: { iss: issuer, sub: 'x'.repeat(300), groups: { dev: 'dev' }, nothing: null },
};

const metadata = {
  'envoy.filters.http.x': { tier: 'gold', tags: ['a1', 'b2', 3], n: 1, empty: '', deep: { a: 'gold' } },
};

const values = {
  principal: [
    `${issuer}/alice`,
    `${issuer}/al*`,
    `${issuer}/*`,
    'https://issuer.example/*',
    'https:*',
    '*/alice',
    '*realm/alice',
    '*alice',
    '*',
    `${issuer}/bob/alice`,
  ],
  text: ['dev', 'de*', '*ev', '*', 'admin', '3', 'true', 'web', 'c', 'x', '7'],
  metadata: ['gold', 'g*', '*', '[b2]', '[b*]', '[*1]', '[*]', '1', '[3]'],
};
const keys = {
  principal: ['request.auth.principal'],
  text: [
    'request.auth.audiences',
    'request.auth.presenter',
    ...[
      'groups',
      'realm_access][roles',
      'realm_access][a.b',
      'realm_access][deep][er',
      'realm_access',
      'admin',
    ].map((path) => `request.auth.claims[${path}]`),
    ...['level', 'empty', 'lines', 'nothing', 'groups][dev', 'sub'].map(
      (path) => `request.auth.claims[${path}]`,
    ),
  ],
  metadata: ['tier', 'tags', 'n', 'empty', 'deep', 'none'].map(
    (key) => `experimental.envoy.filters.http.x[${key}]`,
  ),
};

const specs: object[] = (['principal', 'text', 'metadata'] as const).flatMap((kind) =>
  keys[kind].flatMap((key) =>
    values[kind].flatMap((value) =>
      ['ALLOW', 'DENY'].flatMap((action) =>
        ['values', 'notValues'].map((field) => ({ action, rules: [{ when: [{ key, [field]: [value] }] }] })),
      ),
    ),
  ),
);
for (const value of values.principal) {
  specs.push({
    rules: [{ from: [{ source: { requestPrincipals: ['i/s', value], ipBlocks: ['127.0.0.0/8'] } }] }],
  });
  specs.push({ rules: [{ from: [{ source: { notRequestPrincipals: [value] } }] }] });
}
const limits = ['2020-01-01T00:00:00Z', '2999-01-01T00:00:00.5+01:00'];
for (const action of ['ALLOW', 'DENY']) {
  for (const limit of limits) {
    specs.push({ action, rules: [{}], validity: { notBefore: limit } });
    specs.push({ action, rules: [{}], validity: { notAfter: limit } });
  }
  specs.push({ action, rules: [{}], validity: { notBefore: limits[0], notAfter: limits[1] } });
}

interface Set {
  readonly spec: object;
  readonly evaluator: Evaluator;
  readonly filters: CompiledFilters;
}

function setOf(spec: object): Set {
  const documents = [spec, ...('action' in spec && spec.action === 'DENY' ? [{ rules: [{}] }] : [])];
  const policies = documents.map((each, index): AuthorizationPolicy => {
    const parsed = parseAuthorizationPolicy({
      apiVersion: 'security.countersign.dev/v1',
      kind: 'AuthorizationPolicy',
      metadata: { name: `p${index}`, namespace: 'shop' },
      spec: each,
    });
    if (!parsed.ok) throw new Error(renderIssues(parsed.issues));
    return parsed.policy;
  });
  return {
    spec,
    evaluator: new Evaluator(policies, { settings, nowMs: Date.now }),
    filters: compile(policies, { protocol: 'http', settings }),
  };
}

const sets = specs.map(setOf);
const host = `${loopbackSubnet()}.1`;
const signed: Record<string, string> = {};
let port = 0;
let envoy: StaticEnvoy;

beforeAll(async () => {
  const { publicKey, privateKey } = await generateKeyPair('ES256');
  for (const [name, claims] of Object.entries(tokens)) {
    if (claims === undefined) continue;
    const token = new SignJWT(claims).setProtectedHeader({ alg: 'ES256', kid: 'k' }).setExpirationTime('1h');
    signed[name] = await token.sign(privateKey);
  }
  const jwks = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'k', alg: 'ES256' }] });
  const provider = { issuer, local_jwks: { inline_string: jwks }, payload_in_metadata: JWT_METADATA.payload };
  port = await freePort(host);
  envoy = new StaticEnvoy({
    host,
    port,
    adminPort: await freePort(),
    before: [
      {
        name: 'jwt',
        typed_config: {
          '@type': `${types}.jwt_authn.v3.JwtAuthentication`,
          providers: { p: provider },
          rules: [
            {
              match: { prefix: '/' },
              requires: { requires_any: { requirements: [{ provider_name: 'p' }, { allow_missing: {} }] } },
            },
          ],
        },
      },
      {
        name: 'metadata',
        typed_config: {
          '@type': `${types}.set_metadata.v3.Config`,
          metadata: Object.entries(metadata).map(([name, value]) => ({ metadata_namespace: name, value })),
        },
      },
    ],
    sets: new Map(sets.map(({ filters }, index) => [String(index), filters])),
  });
  await envoy.ready();
}, 60_000);
afterAll(async () => {
  await envoy.stop();
});

describe('Envoy decides as the evaluator says', () => {
  it.each(Object.keys(tokens))(
    'on token %s',
    async (name) => {
      const token = signed[name];
      const differences: object[] = [];
      for (const [index, { spec, evaluator }] of sets.entries()) {
        const headers = { 'x-set': String(index), ...(token && { authorization: `Bearer ${token}` }) };
        const { status } = await call({ host, port, headers });
        const claims = tokens[name];
        const said = evaluator.decide({
          protocol: 'http',
          principal: undefined,
          sourceIp: '127.0.0.1',
          remoteIp: undefined,
          destinationIp: host,
          destinationPort: port,
          sni: undefined,
          method: 'GET',
          path: '/',
          host,
          headers: {},
          filterMetadata: metadata,
          ...(claims && { claims }),
        });
        if ((status === 200 ? 'ALLOW' : 'DENY') !== said.verdict || ![200, 403].includes(status))
          differences.push({ spec, status, said: said.reason });
      }
      expect(differences).toEqual([]);
    },
    60_000,
  );

  it('and takes the filters without a word', () => {
    expect(envoy.log).not.toMatch(/deprecated/iu);
  });
});
