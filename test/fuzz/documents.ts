import { generateKeyPairSync } from 'node:crypto';
import * as fc from 'fast-check';
import { list, mapping } from './reading.ts';
import { HOSTILE } from './seeds.ts';
import { damaged } from './texts.ts';

/** What a document may be, beside an AuthorizationPolicy. */
export type Kind = 'RequestAuthentication' | 'PeerAuthentication' | 'mesh' | 'cases' | 'keys';

export interface Written {
  readonly kind: Kind;
  readonly value: unknown;
}

/** Stands in each secret that is planted, and nowhere else. */
export const SECRET = 's3cr3t-73519428';

const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const key = publicKey.export({ format: 'jwk' });
const JWKS = JSON.stringify({ keys: [key] });

const tokens = {
  apiVersion: 'security.istio.io/v1',
  kind: 'RequestAuthentication',
  metadata: { name: 'tokens', namespace: 'shop' },
};
const peers = { ...tokens, kind: 'PeerAuthentication', metadata: { name: 'peers', namespace: 'shop' } };
const selector = { matchLabels: { app: 'cart' } };

const REQUEST_AUTHENTICATIONS = [
  {
    ...tokens,
    spec: {
      selector,
      jwtRules: [
        {
          issuer: 'https://a.example',
          audiences: ['shop', 'api'],
          jwks: JWKS,
          fromHeaders: [{ name: 'X-Token', prefix: 'Bearer ' }, { name: 'x-other' }],
          fromParams: ['token'],
          fromCookies: ['session'],
          outputPayloadToHeader: 'x-payload',
          outputClaimToHeaders: [{ header: 'x-sub', claim: 'sub' }],
          forwardOriginalToken: true,
          spaceDelimitedClaims: ['roles'],
          timeout: '2s',
        },
        { issuer: 'https://b.example', jwksUri: 'https://b.example/keys#x' },
        { issuer: 'https://c.example', jwks_uri: 'https://c.example/keys', audiences: ['shop'] },
      ],
    },
  },
  { ...tokens, metadata: { name: 'all', namespace: 'root' }, spec: { jwtRules: [] } },
];

const PEER_AUTHENTICATIONS = [
  {
    ...peers,
    spec: {
      selector,
      mtls: { mode: 'STRICT' },
      portLevelMtls: { 80: { mode: 'PERMISSIVE' }, 443: { mode: 'UNSET' }, 8080: { mode: 'DISABLE' } },
    },
  },
  {
    ...peers,
    spec: { selector, mtls: { mode: 'PERMISSIVE' }, portLevelMtls: { 9000: { mode: 'STRICT' }, 9001: null } },
  },
  { ...peers, metadata: { ...peers.metadata, creationTimestamp: null }, spec: { mtls: { mode: 'DISABLE' } } },
  { ...peers, metadata: { name: 'mesh', namespace: 'root' }, spec: { mtls: { mode: 'PERMISSIVE' } } },
  { ...peers, metadata: { name: 'lost', namespace: 'root' }, spec: { selector, mtls: { mode: 'DISABLE' } } },
  { ...peers, spec: {} },
];

const MESHES = [
  {
    trustDomain: 'cluster.local',
    trustDomainAliases: ['old.local'],
    rootNamespace: 'root',
    defaultAction: 'deny',
    extensionProviders: [
      {
        name: 'opa',
        envoyExtAuthzGrpc: {
          service: 'opa/opa.example',
          port: 9000,
          timeout: '500ms',
          includeRequestBodyInCheck: { maxRequestBytes: 1000, allowPartialMessage: true },
        },
      },
      {
        name: 'legacy',
        envoyExtAuthzHttp: {
          service: 'legacy.example',
          port: 8000,
          pathPrefix: '/check',
          statusOnError: '503',
          failOpen: true,
          includeRequestHeadersInCheck: ['cookie', 'x-*'],
          includeAdditionalHeadersInCheck: { authorization: SECRET },
          headersToUpstreamOnAllow: ['x-user'],
          headersToDownstreamOnDeny: ['set-cookie'],
        },
      },
    ],
  },
  { defaultAction: 'allow' },
];

const CASES = [
  {
    cases: [
      {
        name: 'web',
        from: ['shop/web', 'spiffe://td/ns/a/sa/b', 'nobody'],
        to: ['shop/cart-0', 'shop/cart-1'],
        labels: { app: 'cart' },
        method: ['GET', 'POST'],
        path: ['/a', '/b'],
        headers: { authorization: `Bearer ${SECRET}`, 'X-Many': ['a', 'b'] },
        expect: 'allow',
        by: 'shop/web',
      },
      { to: 'shop/db', protocol: 'tcp', port: 5432, sourceIp: '10.0.0.1', expect: 'deny' },
      {
        to: 'shop/db',
        claims: { sub: SECRET },
        filterMetadata: { 'envoy.x': { k: 'v' } },
        authorizerSays: 'deny',
        at: '2026-01-01T00:00:00Z',
        host: 'a.example',
        expect: 'deny',
      },
    ],
  },
];

/** Sets of keys, private ones among them. */
const KEY_SETS = [
  { keys: [key, { ...key, kid: 'b', alg: 'ES256', use: 'sig' }] },
  { keys: [{ ...key, d: SECRET }, key] },
  { keys: [{ kty: 'oct', k: SECRET, kid: 'o' }] },
  { keys: [{ kty: 'RSA', n: SECRET, e: 'AQAB', d: SECRET, p: SECRET }] },
];

export const DOCUMENTS: Readonly<Record<Kind, readonly unknown[]>> = {
  RequestAuthentication: REQUEST_AUTHENTICATIONS,
  PeerAuthentication: PEER_AUTHENTICATIONS,
  mesh: MESHES,
  cases: CASES,
  keys: KEY_SETS,
};

/** Documents of each kind as nobody should write them: changed in places, with secrets where they do not belong, or no document at all. */
export function documents(): fc.Arbitrary<Written> {
  const written = (kind: Kind): fc.Arbitrary<Written> => {
    const value = fc.oneof(
      { weight: 1, arbitrary: damaged(DOCUMENTS[kind], { least: 0 }) },
      { weight: 6, arbitrary: damaged(DOCUMENTS[kind], { least: 1 }) },
      { weight: 3, arbitrary: planted(kind, damaged(DOCUMENTS[kind], { least: 0 })) },
      { weight: 1, arbitrary: fc.anything() },
    );
    return (kind === 'keys' ? asKeySet(value) : value).map((each) => ({ kind, value: each }));
  };
  return fc.oneof(...(Object.keys(DOCUMENTS) as Kind[]).map(written));
}

/** A set is read as text, which may be damaged itself. */
function asKeySet(value: fc.Arbitrary<unknown>): fc.Arbitrary<string> {
  const text = value.map((each) => JSON.stringify(each, (_, inner: unknown) => plain(inner)) ?? '');
  return fc.oneof(
    { weight: 3, arbitrary: text },
    {
      weight: 1,
      arbitrary: fc
        .tuple(text, fc.nat({ max: 300 }), fc.constantFrom(...HOSTILE))
        .map(([whole, at, by]) => whole.slice(0, at) + by + whole.slice(at)),
    },
  );
}

function plain(value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}

/** A field that may hold a secret, or get one by mistake. */
type Plant = (value: unknown, secret: unknown) => void;

const set =
  (field: string, at: (value: unknown) => unknown): Plant =>
  (value, secret) => {
    const holder = at(value);
    if (typeof holder === 'object' && holder !== null) Reflect.set(holder, field, secret);
  };
const firstRule = (value: unknown): unknown => list(mapping(mapping(value)['spec'])['jwtRules'])[1];
const firstCase = (value: unknown): unknown => list(mapping(value)['cases'])[2];
const httpProvider = (value: unknown): unknown =>
  mapping(list(mapping(value)['extensionProviders'])[1])['envoyExtAuthzHttp'];

const PLANTS: Readonly<Record<Kind, readonly Plant[]>> = {
  RequestAuthentication: [
    (value, secret) => {
      const rule = firstRule(value);
      if (typeof rule !== 'object' || rule === null) return;
      Reflect.deleteProperty(rule, 'jwksUri');
      Reflect.set(rule, 'jwks', secret);
    },
    (value) => {
      set('jwksUri', firstRule)(value, `https://user:${SECRET}@b.example/keys`);
    },
    (value) => {
      set('jwksUri', firstRule)(value, `ftp://user:${SECRET}@b.example/keys`);
    },
  ],
  PeerAuthentication: [],
  mesh: [
    set('includeAdditionalHeadersInCheck', httpProvider),
    (value, secret) => {
      set('includeAdditionalHeadersInCheck', httpProvider)(value, { authorization: secret });
    },
  ],
  cases: [
    set('claims', firstCase),
    set('filterMetadata', firstCase),
    set('headers', firstCase),
    (value, secret) => {
      set('headers', firstCase)(value, { authorization: secret });
    },
  ],
  keys: [],
};

/** A secret, as it is pasted: bare, with what surrounds it, as another type. */
const secrets = fc.constantFrom<unknown>(
  SECRET,
  `${SECRET}\n`,
  `\u0000${SECRET}\u2028`,
  [SECRET],
  [[SECRET]],
  { x: SECRET },
  { x: [SECRET] },
  Number(SECRET.slice(-8)),
  JSON.stringify({ keys: [{ kty: 'oct', k: SECRET }] }),
  JSON.stringify({ keys: [{ ...key, d: SECRET }] }),
  { keys: [{ ...key, d: SECRET }] },
  `-----BEGIN PRIVATE KEY-----\n${SECRET}\n-----END PRIVATE KEY-----\n`,
);

function planted(kind: Kind, value: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  const plants = PLANTS[kind];
  if (plants.length === 0) return value;
  return fc.tuple(value, fc.constantFrom(...plants), secrets).map(([each, plant, secret]) => {
    plant(each, structuredClone(secret));
    return each;
  });
}
