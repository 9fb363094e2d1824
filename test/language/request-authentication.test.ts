import { createServer, request, type Server } from 'node:http';
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  compile,
  compileRequestAuthentications,
  Evaluator,
  parseAuthorizationPolicy,
  parseRequestAuthentication,
  renderIssues,
  tokenSeen,
  type AuthorizationPolicy,
  type Request,
  type RequestAuthentication,
} from '../../src/policy/index.ts';
import type { JsonObject } from '../../src/proxy/index.ts';
import { freePort, loopbackSubnet } from '../harness/ports.ts';
import { clusterAt, inFile, StaticEnvoy } from './static-envoy.ts';

const settings = { trustDomain: 'td', rootNamespace: 'root', defaultAction: 'deny' } as const;
const subnet = loopbackSubnet();
const host = `${subnet}.1`;
const v3 = 'type.googleapis.com/envoy.extensions.filters';
const [a, b, c] = ['https://a.example', 'https://b.example/realm', 'https://c.example'];

const keys: Record<string, { readonly key: CryptoKey; readonly jwks: string }> = {};
for (const alg of ['ES256', 'RS256', 'EdDSA', 'ES384', 'PS512']) {
  const { publicKey, privateKey } = await generateKeyPair(alg);
  keys[alg] = {
    key: privateKey,
    jwks: JSON.stringify({
      keys: [{ ...(await exportJWK(publicKey)), kid: alg, use: 'sig', x5t: 'left out' }],
    }),
  };
}
const jwksOf = (alg: string): string => keys[alg]!.jwks;

async function sign(claims: object, alg = 'ES256', expires = '1h'): Promise<string> {
  const token = new SignJWT({ ...claims }).setProtectedHeader({ alg, kid: alg }).setExpirationTime(expires);
  return await token.sign(keys[alg]!.key);
}

const good = {
  iss: a,
  sub: 'alice',
  aud: ['web', 'https://api.example/'],
  scope: 'read write',
  roles: 'x y',
  deep: { er: 'v' },
};
/** By name. Of these, `a` and `b` are good ones. */
const tokens: Record<string, string> = {
  a: await sign(good),
  b: await sign({ iss: b, sub: 'bob', aud: 'web' }, 'RS256'),
  other: await sign({ iss: a, sub: 'alice', aud: 'other' }),
  unknown: await sign({ iss: c, sub: 'carol' }),
  nobody: await sign({ iss: 'countersign:nobody', sub: 'x' }),
  expired: await sign(good, 'ES256', '-1h'),
  forged: await sign({ iss: b, sub: 'bob', aud: 'web' }, 'ES256'),
  cut: (await sign(good)).slice(0, -4),
  garbage: 'garbage',
  unsigned: `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from(JSON.stringify(good)).toString('base64url')}.`,
};

interface Place {
  readonly kind: 'header' | 'param' | 'cookie';
  readonly name: string;
  readonly prefix?: string;
}
const bearer: Place = { kind: 'header', name: 'authorization', prefix: 'Bearer ' };
const param: Place = { kind: 'param', name: 'access_token' };
const header = (name: string): Place => ({ kind: 'header', name });
const cookie = (name: string): Place => ({ kind: 'cookie', name });

interface World {
  readonly documents: readonly (readonly object[])[];
  /** By place, which of the tokens is taken there. */
  readonly takes: readonly (readonly [Place, readonly string[]])[];
}
const [ruleA, ruleB] = [
  { issuer: a, jwks: jwksOf('ES256') },
  { issuer: b, jwks: jwksOf('RS256') },
];
const longest = '.'.repeat(32);
const worlds: Readonly<Record<string, World>> = {
  'one issuer': {
    documents: [[ruleA]],
    takes: [
      [bearer, ['a', 'other']],
      [param, ['a', 'other']],
    ],
  },
  'two issuers in the same places': {
    documents: [[ruleA, ruleB]],
    takes: [
      [bearer, ['a', 'b', 'other']],
      [param, ['a', 'b', 'other']],
    ],
  },
  'two documents, each with a place of its own': {
    documents: [
      [{ ...ruleA, fromHeaders: [{ name: 'x-a' }], outputPayloadToHeader: 'x-payload' }],
      [{ ...ruleB, fromCookies: ['b'], outputClaimToHeaders: [{ header: 'x-sub', claim: 'sub' }] }],
    ],
    takes: [
      [header('x-a'), ['a', 'other']],
      [cookie('b'), ['b']],
    ],
  },
  'overlapping places': {
    documents: [
      [
        { ...ruleA, fromHeaders: [{ name: 'x-a' }, { name: 'authorization', prefix: 'Bearer ' }] },
        { ...ruleB, fromHeaders: [{ name: 'authorization', prefix: 'Bearer ' }], fromParams: ['t'] },
      ],
    ],
    takes: [
      [header('x-a'), ['a', 'other']],
      [bearer, ['a', 'b', 'other']],
      [{ kind: 'param', name: 't' }, ['b']],
    ],
  },
  'audiences by place': {
    documents: [
      [
        { ...ruleA, audiences: ['web', 'x'], fromHeaders: [{ name: 'x-a' }] },
        { ...ruleA, audiences: ['other'], fromHeaders: [{ name: 'x-other' }] },
      ],
    ],
    takes: [
      [header('x-a'), ['a']],
      [header('x-other'), ['other']],
    ],
  },
  'one issuer twice in a place': {
    documents: [[{ ...ruleA, audiences: ['web'] }], [{ ...ruleA, audiences: ['other'] }]],
    takes: [
      [bearer, ['a', 'other']],
      [param, ['a', 'other']],
    ],
  },
  'names as long as they may be': {
    documents: [[{ ...ruleA, fromParams: [longest], fromCookies: [longest] }]],
    takes: [
      [{ kind: 'param', name: longest }, ['a', 'other']],
      [cookie(longest), ['a', 'other']],
    ],
  },
  'more places than there may be': {
    documents: [0, 10].map((from) => [
      { ...ruleA, fromHeaders: Array.from({ length: 10 }, (_, index) => ({ name: `x-${from + index}` })) },
    ]),
    takes: [
      [header('x-0'), []],
      [header('x-19'), []],
    ],
  },
  'keys that were not fetched yet': {
    documents: [[{ issuer: a, jwksUri: 'https://a.example/jwks' }], [ruleB]],
    takes: [
      [bearer, ['b']],
      [param, ['b']],
    ],
  },
  'no keys at all': {
    documents: [[{ issuer: a, jwksUri: 'https://a.example/jwks' }]],
    takes: [
      [bearer, []],
      [param, []],
    ],
  },
};

/** Worlds of which other questions are asked. */
const further: Readonly<Record<string, Pick<World, 'documents'>>> = {
  'outputs of rules that take no token yet': {
    documents: [
      [
        {
          ...{ issuer: c, jwksUri: 'https://c.example/jwks' },
          ...{
            outputPayloadToHeader: 'x-payload',
            outputClaimToHeaders: [{ header: 'x-user', claim: 'sub' }],
          },
        },
        { ...ruleA, outputClaimToHeaders: [{ header: 'x-sub', claim: 'sub' }] },
      ],
    ],
  },
  'outputs without any keys': {
    documents: [
      [
        { issuer: c, jwksUri: 'https://c.example/jwks', outputPayloadToHeader: 'x-payload' },
        {
          ...{ issuer: b, jwksUri: 'https://b.example/jwks', fromHeaders: [{ name: 'x-b' }] },
          outputClaimToHeaders: ['x-user', 'x-sub'].map((name) => ({ header: name, claim: 'sub' })),
        },
      ],
    ],
  },
  'outputs where there are too many places': {
    documents: [0, 10].map((from) => [
      {
        ...ruleA,
        outputPayloadToHeader: 'x-payload',
        fromHeaders: Array.from({ length: 10 }, (_, index) => ({ name: `x-${from + index}` })),
        outputClaimToHeaders: ['x-user', 'x-sub'].map((name) => ({ header: name, claim: 'sub' })),
      },
    ]),
  },
  'a token that is forwarded': { documents: [[{ ...ruleA, forwardOriginalToken: true }]] },
  'keys of every kind': {
    documents: [Object.keys(keys).map((alg) => ({ issuer: `https://${alg}.example`, jwks: jwksOf(alg) }))],
  },
};
const claimRules = {
  ...ruleA,
  audiences: ['web', 'https://api.example', 'other'],
  fromHeaders: [{ name: 'x-a' }],
  spaceDelimitedClaims: ['roles'],
};
const judging: AuthorizationPolicy[] = [
  ['request.auth.claims[scope]', 'read'],
  ['request.auth.claims[scope]', 'read write'],
  ['request.auth.claims[scope]', '*'],
  ['request.auth.claims[permission]', 'p'],
  ['request.auth.claims[roles]', 'y'],
  ['request.auth.claims[deep][er]', 'v'],
  ['request.auth.claims[deep][scope]', 'read'],
  ['request.auth.audiences', 'web'],
  ['request.auth.audiences', 'https://api.example/'],
  ['request.auth.principal', `${a}/alice`],
].map(([key, value], index) => {
  const parsed = parseAuthorizationPolicy({
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: `p${index}`, namespace: 'shop' },
    spec: { rules: [{ when: [{ key, values: [value] }] }] },
  });
  if (!parsed.ok) throw new Error(renderIssues(parsed.issues));
  return parsed.policy;
});

function requestWith(claims: unknown): Request {
  const unknown = undefined;
  return {
    ...{ protocol: 'http', principal: unknown, sourceIp: host, remoteIp: unknown, destinationIp: unknown },
    ...{
      destinationPort: unknown,
      sni: unknown,
      method: 'GET',
      path: '/',
      host: 'x.example',
      headers: {},
      claims,
    },
  };
}

function documentsOf({ documents }: Pick<World, 'documents'>): RequestAuthentication[] {
  return documents.map((jwtRules, index) => {
    const parsed = parseRequestAuthentication({
      apiVersion: 'security.istio.io/v1',
      kind: 'RequestAuthentication',
      metadata: { name: `d${index}`, namespace: 'shop' },
      spec: { jwtRules },
    });
    if (!parsed.ok) throw new Error(renderIssues(parsed.issues));
    return parsed.policy;
  });
}

let app: Server;
let envoy: StaticEnvoy;
/** Each world has a listener on an address of its own. */
const listening = new Map<string, { readonly host: string; readonly port: number }>();

interface Answer {
  readonly status: number;
  /** As they reached the app. */
  readonly headers: Readonly<Record<string, string>>;
}

async function ask(
  world: string,
  placed: readonly (readonly [Place, string])[],
  more: readonly string[] = [],
  target = '/',
): Promise<Answer> {
  const headers = ['host', 'x.example', ...more];
  const query = placed.flatMap(([{ kind, name }, token]) => (kind === 'param' ? [`${name}=${token}`] : []));
  const cookies = placed.flatMap(([{ kind, name }, token]) =>
    kind === 'cookie' ? [`${name}=${token}`] : [],
  );
  if (cookies.length > 0) headers.push('cookie', `session=1; ${cookies.join('; ')}`);
  for (const [{ kind, name, prefix = '' }, token] of placed)
    if (kind === 'header') headers.push(name, `${prefix}${token}`);
  const path = query.length > 0 ? `${target}?${query.join('&')}` : target;
  return await new Promise((resolve, reject) => {
    const sent = request(
      {
        ...listening.get(world),
        path,
        headers,
        method: target === '*' ? 'OPTIONS' : 'GET',
        agent: false,
      },
      (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (text: string) => (body += text));
        response.once('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.statusCode === 200 ? (JSON.parse(body) as Record<string, string>) : {},
          }),
        );
      },
    );
    sent.once('error', reject);
    sent.end();
  });
}

function listener(
  name: string,
  at: { readonly host: string; readonly port: number },
  filters: readonly JsonObject[],
): JsonObject {
  const manager = {
    '@type': `${v3}.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: 'authn',
    route_config: {
      virtual_hosts: [
        { name: 'all', domains: ['*'], routes: [{ match: { prefix: '' }, route: { cluster: 'app' } }] },
      ],
    },
    http_filters: [...filters, { name: 'router', typed_config: { '@type': `${v3}.http.router.v3.Router` } }],
  };
  return {
    name,
    address: { socket_address: { address: at.host, port_value: at.port } },
    filter_chains: [{ filters: [{ name: 'http', typed_config: manager }] }],
  };
}

beforeAll(async () => {
  app = createServer((received, response) =>
    response.end(JSON.stringify({ ...received.headers, ':path': received.url })),
  );
  const appPort = await freePort();
  await new Promise<void>((resolve) => void app.listen(appPort, '127.0.0.1', resolve));
  const listeners: JsonObject[] = [];
  const add = async (
    name: string,
    world: Pick<World, 'documents'>,
    rbac: readonly JsonObject[],
  ): Promise<void> => {
    const { filter } = compileRequestAuthentications(documentsOf(world), () => undefined);
    const address = `${subnet}.${listening.size + 2}`;
    const at = { host: address, port: await freePort(address) };
    listening.set(name, at);
    listeners.push(listener(name, at, [inFile(filter!), ...rbac]));
  };
  for (const [name, world] of Object.entries({ ...worlds, ...further })) await add(name, world, []);
  for (const [index, policy] of judging.entries()) {
    const { allow } = compile([policy], { protocol: 'http', settings });
    await add(`rules on claims ${index}`, { documents: [[claimRules]] }, [inFile(allow)]);
  }
  envoy = new StaticEnvoy({
    ...{ host, port: await freePort(host), adminPort: await freePort(), before: [], sets: new Map() },
    clusters: [clusterAt('app', appPort, false)],
    listeners,
  });
  await envoy.ready();
}, 60_000);
afterAll(async () => {
  await envoy.stop();
  app.close();
});

describe.each(Object.entries(worlds))('with %s', (name, { takes }) => {
  it('no token passes', async () => {
    expect((await ask(name, [])).status).toBe(200);
  });

  it('one token passes where a rule takes it, and nowhere else', async () => {
    const differences: object[] = [];
    for (const [place, taken] of takes) {
      for (const [token, text] of Object.entries(tokens)) {
        const { status } = await ask(name, [[place, text]]);
        if (status !== (taken.includes(token) ? 200 : 401)) differences.push({ place, token, status });
      }
    }
    expect(differences).toEqual([]);
  });

  it('two tokens never pass, whatever they are', async () => {
    const differences: object[] = [];
    for (const [index, [first]] of takes.entries()) {
      for (const [second] of takes.slice(index + 1)) {
        for (const one of Object.keys(tokens)) {
          for (const other of Object.keys(tokens)) {
            const { status } = await ask(name, [
              [first, tokens[one]!],
              [second, tokens[other]!],
            ]);
            if (status !== 401) differences.push({ first, one, second, other, status });
          }
        }
      }
    }
    expect(differences).toEqual([]);
  });
});

describe('a place that is there twice', () => {
  const twice = 'two documents, each with a place of its own';
  const query = 'two issuers in the same places';
  const cookies = (...values: string[]): string[] => [
    'cookie',
    values.map((value) => `b=${value}`).join('; '),
  ];
  it.each([
    ['headers', query, ['authorization', `Bearer ${tokens['a']}`, 'authorization', 'Bearer garbage'], '/'],
    ["headers of one's own", twice, ['x-a', tokens['a']!, 'x-a', 'garbage'], '/'],
    [
      "headers of one's own, the other way round",
      twice,
      ['x-a', tokens['expired']!, 'x-a', tokens['a']!],
      '/',
    ],
    ['a header and its list', query, ['authorization', `Bearer ${tokens['a']},Bearer garbage`], '/'],
    ['parameters', query, [], `/?access_token=${tokens['a']}&access_token=garbage`],
    ['parameters, one of them empty', query, [], `/?x=1&access_token=${tokens['a']}&y&access_token`],
    ['parameters, one of them encoded', query, [], `/?access_token=${tokens['a']}&access%5ftoken=garbage`],
    [
      'parameters, the first of them encoded',
      query,
      [],
      `/?%61ccess_token=garbage&access_token=${tokens['a']}`,
    ],
    ['parameters, both encoded', query, [], `/?%61ccess_token=${tokens['a']}&a%63cess_token=garbage`],
    ['cookies', twice, cookies(tokens['b']!, 'garbage'), '/'],
    ['cookies in two headers', twice, [...cookies('garbage'), ...cookies(tokens['b']!)], '/'],
    ['cookies with spaces', twice, ['cookie', `b =${tokens['b']} ;x=1;  b= garbage`], '/'],
  ])('never passes: %s', async (_, world, more, target) => {
    expect((await ask(world, [], more, target)).status).toBe(401);
  });

  // Envoy 1.40 takes each value of a header that it does not know itself for a token of its own.
  it('may be a header of its own name, with good tokens alone: rules see the first', async () => {
    const both = [tokens['a']!, tokens['other']!];
    const headers = (values: readonly string[]): string[] => values.flatMap((value) => ['x-a', value]);
    expect((await ask('rules on claims 7', [], headers(both))).status).toBe(200);
    expect((await ask('rules on claims 7', [], headers(both.toReversed()))).status).toBe(403);
  });

  it('is not mistaken for another of a longer name', async () => {
    const longer = ['cookie', `ab=1; b=${tokens['b']}; bb=2; c=b`];
    expect((await ask(twice, [], longer)).status).toBe(200);
    const path = `/a?my_access_token=1&access_token=${tokens['a']}&access_tokens=2&x=access_token&filter%5Ba%5D=%61`;
    expect((await ask(query, [], [], path)).status).toBe(200);
  });
});

describe('what the app gets', () => {
  const world = 'two documents, each with a place of its own';
  const forged = ['x-sub', 'mallory', 'x-payload', 'forged'];

  it('is nothing that a caller wrote in the place of a verified claim', async () => {
    const none = await ask(world, [], forged);
    expect(none.status).toBe(200);
    expect(none.headers).not.toHaveProperty('x-sub');
    expect(none.headers).not.toHaveProperty('x-payload');
    const ofA = await ask(world, [[header('x-a'), tokens['a']!]], forged);
    expect(JSON.parse(Buffer.from(ofA.headers['x-payload']!, 'base64url').toString())).toMatchObject(good);
    expect(ofA.headers).not.toHaveProperty('x-sub');
    const ofB = await ask(world, [[cookie('b'), tokens['b']!]], forged);
    expect(ofB.headers).toMatchObject({ 'x-sub': 'bob' });
    expect(ofB.headers).not.toHaveProperty('x-payload');
  });

  it.each([
    'outputs of rules that take no token yet',
    'outputs without any keys',
    'outputs where there are too many places',
  ])('is no forged claim, though nobody can verify any: %s', async (outputs) => {
    const all = ['x-user', 'admin', 'X-Sub', 'admin', 'x-payload', 'admin'];
    for (const target of ['/', '/?a=1']) {
      const { status, headers } = await ask(outputs, [], all, target);
      expect(status).toBe(200);
      expect(headers).not.toHaveProperty('x-user');
      expect(headers).not.toHaveProperty('x-sub');
      expect(headers).not.toHaveProperty('x-payload');
    }
  });

  it('is the claims of those tokens that are taken, beside rules that take none yet', async () => {
    const { headers } = await ask(
      'outputs of rules that take no token yet',
      [[bearer, tokens['a']!]],
      ['x-user', 'admin', 'x-sub', 'admin'],
    );
    expect(headers).toMatchObject({ 'x-sub': 'alice' });
    expect(headers).not.toHaveProperty('x-user');
  });

  it('is the token only where it is to be forwarded, and in a cookie', async () => {
    const [plain, forwarding] = ['one issuer', 'a token that is forwarded'];
    expect((await ask(plain, [[bearer, tokens['a']!]])).headers).not.toHaveProperty('authorization');
    expect((await ask(plain, [[param, tokens['a']!]])).headers[':path']).toBe('/');
    expect((await ask(forwarding, [[bearer, tokens['a']!]])).headers).toHaveProperty('authorization');
    expect((await ask(world, [[cookie('b'), tokens['b']!]])).headers['cookie']).toContain(tokens['b']);
  });
});

describe('keys of every kind', () => {
  it.each(Object.keys(keys))('verify a token: %s', async (alg) => {
    const token = await sign({ iss: `https://${alg}.example`, sub: 'x' }, alg);
    expect((await ask('keys of every kind', [[bearer, token]])).status).toBe(200);
  });
});

describe('the payload', () => {
  const audiences = ['web', 'http://api.example', 'api.example/', 'https://api.example', 'other', ''];
  const payloads: object[] = [
    good,
    { ...good, scope: ' read  write ', permission: 'p', roles: ['x', 'y'] },
    { ...good, scope: '', roles: 7 },
    { iss: a, sub: 's', aud: 'http://api.example/', deep: { scope: 'read write' } },
    { iss: a, aud: ['other', 'web'] },
    ...audiences.map((aud) => ({ iss: a, sub: 's', aud })),
    { iss: a, sub: 's' },
    { iss: c, sub: 's', aud: 'web' },
  ];

  it('is what tokenSeen says, to RBAC', async () => {
    const differences: object[] = [];
    for (const [index, policy] of judging.entries()) {
      for (const payload of payloads) {
        const seen = tokenSeen(payload, documentsOf({ documents: [[claimRules]] }));
        const token = await sign(payload);
        const { status } = await ask(`rules on claims ${index}`, [[header('x-a'), token]]);
        const said = seen.seen
          ? new Evaluator([policy], { settings }).decide(requestWith(seen.claims)).verdict
          : 'REFUSED';
        const came = { 200: 'ALLOW', 403: 'DENY', 401: 'REFUSED' }[status];
        if (came !== said) differences.push({ rule: policy.rules, payload, status, said });
      }
    }
    expect(differences).toEqual([]);
  });
});
