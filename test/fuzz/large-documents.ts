import type { Written } from './documents.ts';

const MANY = 100_000;
const LONG = 'x'.repeat(1_000_000);

/** Documents beside policies whose size alone is the attack, by name. */
export function largeDocuments(): [string, () => Written][] {
  const tokens = (jwtRules: unknown): Written => object('RequestAuthentication', { jwtRules });
  const rule = { issuer: 'i', jwksUri: 'https://i.example/keys' };
  const list: Readonly<Record<string, () => Written>> = {
    'token rules': () => tokens(many(() => rule)),
    'places of tokens': () => tokens([{ ...rule, fromParams: many((i) => `p${i}`) }]),
    'one issuer': () => tokens([{ ...rule, issuer: LONG }]),
    'blanks in an issuer': () => tokens([{ ...rule, issuer: `a${' '.repeat(1_000_000)}a` }]),
    'one address': () => tokens([{ ...rule, jwksUri: `https://i.example/${LONG}` }]),
    'unknown fields of a rule': () => tokens([Object.fromEntries(many((i) => [`f${i}`, i]))]),
    'one inline set': () => tokens([{ issuer: 'i', jwks: `{"keys":[${LONG}` }]),
    ports: () =>
      object('PeerAuthentication', {
        selector: { matchLabels: { app: 'a' } },
        portLevelMtls: Object.fromEntries(many((i) => [String(i), { mode: 'DISABLE' }])),
      }),
    aliases: () => ({ kind: 'mesh', value: { trustDomainAliases: many((i) => `td${i}`) } }),
    authorizers: () => ({
      kind: 'mesh',
      value: {
        extensionProviders: many((i) => ({
          name: `a${i}`,
          envoyExtAuthzGrpc: { service: 'a.example', port: 1 },
        })),
      },
    }),
    'added headers': () => ({
      kind: 'mesh',
      value: {
        extensionProviders: [
          {
            name: 'a',
            envoyExtAuthzHttp: {
              service: 'a.example',
              port: 1,
              includeAdditionalHeadersInCheck: Object.fromEntries(many((i) => [`h${i}`, 'v'])),
            },
          },
        ],
      },
    }),
    cases: () => ({ kind: 'cases', value: { cases: many(() => ({ to: 'a/b', expect: 'deny' })) } }),
    'cases that combine': () => {
      const paths = Array.from({ length: 1_000 }, (_, i) => `/${i}`);
      return { kind: 'cases', value: { cases: many(() => ({ to: 'a/b', path: paths, expect: 'deny' })) } };
    },
    'one caller': () => ({
      kind: 'cases',
      value: { cases: [{ from: `spiffe://td${'/a'.repeat(500_000)}!`, to: 'a/b', expect: 'deny' }] },
    }),
    keys: () => ({ kind: 'keys', value: JSON.stringify({ keys: many(() => ({ kty: 'RSA' })) }) }),
    'depth of keys': () => ({ kind: 'keys', value: '['.repeat(MANY) }),
    'one modulus': () => ({
      kind: 'keys',
      value: JSON.stringify({ keys: [{ kty: 'RSA', e: 'AQAB', n: LONG }] }),
    }),
  };
  return Object.entries(list);
}

function object(kind: 'RequestAuthentication' | 'PeerAuthentication', spec: object): Written {
  const metadata = { name: 'a', namespace: 'shop' };
  return { kind, value: { apiVersion: 'security.istio.io/v1', kind, metadata, spec } };
}

function many<T>(each: (index: number) => T): T[] {
  return Array.from({ length: MANY }, (_, index) => each(index));
}
