import * as fc from 'fast-check';
import { METADATA, PORT, SVIDS } from '../world.ts';

/** Values as documents write them: whole, cut to a prefix or a suffix, `*`, and slips of each. */
function wild(bases: readonly string[]): fc.Arbitrary<string> {
  const base = fc.constantFrom(...bases);
  const cut = fc.tuple(fc.constantFrom(...bases.filter((text) => !text.includes(PORT))), fc.nat({ max: 40 }));
  return fc
    .oneof(
      { weight: 6, arbitrary: base },
      { weight: 2, arbitrary: cut.map(([text, at]) => `${text.slice(0, 1 + (at % text.length))}*`) },
      { weight: 2, arbitrary: cut.map(([text, at]) => `*${text.slice(at % text.length)}`) },
      { weight: 1, arbitrary: fc.constant('*') },
      { weight: 1, arbitrary: base.map((text) => `${text}x`) },
      { weight: 1, arbitrary: base.map((text) => swapCase(text)) },
    )
    .filter((text) => text === text.trim());
}

/** The parser takes no other names of namespaces and trust domains. */
function lower(names: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return names.filter((name) => !/[A-Z]/u.test(name));
}

/** `$PORT` stays: it is replaced before anybody reads it. */
export function swapCase(text: string): string {
  return text
    .split(PORT)
    .map((part) =>
      part.replaceAll(/[a-z]/giu, (letter) =>
        letter === letter.toUpperCase() ? letter.toLowerCase() : letter.toUpperCase(),
      ),
    )
    .join(PORT);
}

const plainIds = SVIDS.map((id) => id.slice('spiffe://'.length));

const addresses: readonly string[] = [
  ...['127.77.1.1', '127.77.1.2', '127.77.1.2/31', '127.77.1.0/30', '127.77.1.0/24', '127.77.0.0/23'],
  ...['127.77.2.0/23', '127.0.0.0/8', '0.0.0.0/0', '10.0.0.0/8', '10.1.2.3', '10.1.2.2/31'],
  ...[
    '::1',
    '::/0',
    '::/127',
    '::2/127',
    '2001:db8::/32',
    '2001:db8::1',
    '::ffff:127.77.1.1',
    '::ffff:127.77.1.0/120',
  ],
  ...['127.77.0.1', '127.77.0.2/31', '127.77.0.4'],
];

export const PATHS: readonly string[] = [
  ...['/', '/a', '/a/b', '/a/b/c', '/A', '/a.b', '/a/b/', '/a/b;x', '/a%20b', '/a%2Fb', '/a/../b', '/a//b'],
  ...[
    '/a/(b)',
    '/a+b',
    '/a/[b]',
    '/a%7Cb',
    '/~u',
    '/a$b',
    '/t/x/end',
    '/%C3%A9',
    '/a,b=c',
    "/a'b!",
    '/a@b:c',
  ],
];

export const TEMPLATES: readonly string[] = [
  ...[
    '/{*}',
    '/{**}',
    '/a/{*}',
    '/a/{**}',
    '/a/{*}/c',
    '/{*}/b',
    '/{*}/{*}',
    '/{*}/b/{**}',
    '/t/{*}/x/{**}/end',
  ],
  ...['/t/{**}/end', '/a.b/{*}', '/a+b/{*}', '/{*}/(b)', '/a/{*}/', '/A/{*}'],
];

/** Values of each field of `source` and `operation`, and of the keys of `when`. */
export const FIELD_VALUES: Readonly<Record<string, fc.Arbitrary<string>>> = {
  principals: fc.oneof(
    { weight: 5, arbitrary: wild(plainIds) },
    { weight: 1, arbitrary: wild(SVIDS).filter((value) => !value.startsWith('spiffe://*')) },
  ),
  namespaces: lower(wild(['a', 'ab', 'b', 'a-b', 'special'])),
  serviceAccounts: fc.constantFrom('x', 'xy', 'y', 'x.y', 'a/x', 'ab/x', 'b/x', 'a/xy', 'a-b/x.y', 'a/y'),
  trustDomains: lower(wild(['td1', 'td2', 'td1.x', 'td'])),
  ipBlocks: fc.constantFrom(...addresses),
  remoteIpBlocks: fc.constantFrom(...addresses),
  requestPrincipals: fc.constantFrom(
    'i/u',
    'https://i.example/u',
    '*',
    'i/*',
    '*/u',
    'https://i.example/*',
    'i/U',
    'i/v*',
  ),
  hosts: wild([
    'a.example',
    'b.a.example',
    'a.example:8080',
    'A.Example',
    `a.example:${PORT}`,
    '[::1]:80',
    '127.0.0.1',
  ]),
  methods: wild(['GET', 'POST', 'PUT', 'DELETE', 'HEAD', 'PATCH', 'OPTIONS', 'FOO']),
  paths: fc.oneof(
    { weight: 3, arbitrary: wild(PATHS) },
    { weight: 2, arbitrary: fc.constantFrom(...TEMPLATES) },
  ),
  ports: fc.oneof(
    { weight: 3, arbitrary: fc.constant(PORT) },
    { weight: 2, arbitrary: fc.constantFrom('80', '8080', '1', '65535') },
  ),
};

export const HEADER_VALUES: readonly string[] = ['v', 'w', 'vw', 'wv', 'v,w', 'V', 'v w', 'é', ',', '"v"'];

const texts = wild(HEADER_VALUES);
/** Envoy drops those that it takes for no URL. */
export const REFERERS: readonly string[] = [
  ...[
    'https://a.example/x',
    'https://u@a.example/x',
    'https://a.example/#f',
    '/x',
    'a:b',
    '/a:b',
    'v',
    '"v"',
    '/a#f',
  ],
];

export const CLAIM_VALUES: readonly string[] = ['v', 'w', 'vw', 'u', 'V', 'é', '1', 'true'];

/** Values of the metadata that other filters write down, as documents name them: `[x]` is for lists. */
const metadataTexts = fc.constantFrom(
  'v',
  'w',
  'v*',
  '*v',
  '*',
  '[v]',
  '[w]',
  '[v*]',
  '[*w]',
  '[*]',
  'V',
  '1',
  '[é]',
);

export const metadataKey = (name: string, key: string): string => `experimental.${name}[${key}]`;

export const CONDITION_VALUES: Readonly<Record<string, fc.Arbitrary<string>>> = {
  ...Object.fromEntries(
    ['x-a', 'X-A', 'x-b', 'accept', 'Authorization', 'user-agent', 'cookie', 'via', 'x-c'].map(
      (name): [string, fc.Arbitrary<string>] => [`request.headers[${name}]`, texts],
    ),
  ),
  'request.headers[referer]': wild(REFERERS),
  'request.headers[host]': wild(['a.example', 'A.Example', 'a.example:8080']),
  'request.headers[:authority]': wild(['a.example', 'b.a.example']),
  'request.headers[:method]': wild(['GET', 'POST']),
  'request.headers[:path]': wild(['/a', '/a/b', '/a?q=1', '/a/b?']),
  'source.ip': fc.constantFrom(...addresses),
  'remote.ip': fc.constantFrom(...addresses),
  'destination.ip': fc.constantFrom(...addresses),
  'destination.port': fc.constantFrom(PORT, PORT, '80'),
  'connection.sni': wild(['a.sni', 'b.sni', 'b.a.sni', 'A.sni']),
  'source.namespace': lower(wild(['a', 'ab', 'a-b'])),
  'source.serviceAccount': fc.constantFrom('x', 'a/x', 'b/x', 'y'),
  'source.trustDomain': lower(wild(['td1', 'td1.x', 'td2'])),
  'source.principal': wild(plainIds),
  ...Object.fromEntries(
    METADATA.map(({ name, key }): [string, fc.Arbitrary<string>] => [metadataKey(name, key), metadataTexts]),
  ),
  'request.auth.principal': fc.constantFrom('i/u', 'https://i.example/u', '*', 'i/*', '*/u'),
  ...Object.fromEntries(
    [
      ...['request.auth.audiences', 'request.auth.presenter', 'request.auth.claims[sub]'],
      ...['request.auth.claims[groups]', 'request.auth.claims[a][b]', 'request.auth.claims[a][c]'],
      ...['request.auth.claims[a]', 'request.auth.claims[no]', 'request.auth.claims[a.b]'],
    ].map((key): [string, fc.Arbitrary<string>] => [key, wild(CLAIM_VALUES)]),
  ),
};
