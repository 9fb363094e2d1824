import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import protobuf from 'protobufjs';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  compileRequestAuthentications,
  parsePeerAuthentication,
  parseRequestAuthentication,
  policiesFor,
  renderIssues,
  tokenSeen,
  type ParsedRequestAuthentication,
} from '../index.ts';
import { requestAuthentication, someJwks } from './testing.ts';

const jwks = someJwks();
const rule = { issuer: 'https://a.example', jwks };
const parse = (spec: unknown): ParsedRequestAuthentication =>
  parseRequestAuthentication({
    apiVersion: 'security.countersign.dev/v1',
    kind: 'RequestAuthentication',
    metadata: { name: 'r', namespace: 'shop' },
    spec,
  });
const rendered = (...jwtRules: unknown[]): string => renderIssues(parse({ jwtRules }).issues);
const jwk = (key: KeyObject): object => key.export({ format: 'jwk' });

describe('RequestAuthentication', () => {
  it('is read whole, with the defaults', () => {
    const full = {
      issuer: 'https://a.example',
      audiences: ['x', 'x', 'y'],
      jwks_uri: 'https://a.example/keys#x',
      fromHeaders: [{ name: 'X-Token', prefix: 'JWT ' }],
      fromParams: ['t'],
      fromCookies: ['c'],
      outputPayloadToHeader: 'X-Payload',
      outputClaimToHeaders: [{ header: 'X-Sub', claim: 'sub' }],
      forwardOriginalToken: true,
      spaceDelimitedClaims: ['roles'],
      timeout: '1.5s',
    };
    const { jwks_uri: _, timeout, ...same } = full;
    expect(timeout).toBe('1.5s');
    expect(requestAuthentication([full, rule]).jwtRules).toEqual([
      {
        ...same,
        audiences: ['x', 'y'],
        keys: { kind: 'uri', uri: 'https://a.example/keys' },
        fromHeaders: [{ name: 'x-token', prefix: 'JWT ' }],
        outputPayloadToHeader: 'x-payload',
        outputClaimToHeaders: [{ header: 'x-sub', claim: 'sub' }],
        timeoutMs: 1_500,
      },
      {
        issuer: 'https://a.example',
        audiences: [],
        keys: { kind: 'inline', jwks: expect.stringMatching(/^\{"keys":\[\{"kty":"EC",/) as string },
        fromHeaders: [],
        fromParams: [],
        fromCookies: [],
        outputPayloadToHeader: undefined,
        outputClaimToHeaders: [],
        forwardOriginalToken: false,
        spaceDelimitedClaims: [],
        timeoutMs: 5_000,
      },
    ]);
  });

  it.each<[unknown, RegExp]>([
    [
      { ...rule, isuer: 'x' },
      /^error spec\.jwtRules\[0\]\.isuer: unknown field "isuer"; did you mean issuer\?$/,
    ],
    [{ jwks }, /^error spec\.jwtRules\[0\]\.issuer: expected the iss of its tokens/],
    [
      { issuer: 'https://a.example/' },
      /^error spec\.jwtRules\[0\]: needs jwksUri, which the issuer names under "https:\/\/a\.example\/\.well-known\/openid-configuration" as jwks_uri, or jwks/,
    ],
    [{ issuer: 'me' }, /^error spec\.jwtRules\[0\]: needs jwksUri, or jwks/],
    [{ ...rule, jwksUri: 'https://a.example' }, /jwksUri: cannot stand beside jwks/],
    [{ issuer: 'x', jwksUri: 'ftp://a.example' }, /jwksUri: expected an address .*, found another text/],
    [{ issuer: 'x', jwksUri: '/keys' }, /jwksUri: expected an address .*, found another text/],
    [{ issuer: 'x', jwks: { keys: [] } }, /jwks: expected a JWKS as text, found a mapping/],
    [{ issuer: 'x', jwks: '{"keys":[]}' }, /jwks: has no usable key: it is empty/],
    [{ ...rule, fromHeaders: [] }, /fromHeaders: an empty list; leave the field out/],
    [{ ...rule, fromHeaders: [{ name: 'a b' }] }, /fromHeaders\[0\]\.name: expected a header name/],
    [{ ...rule, fromParams: ['a&b'] }, /fromParams\[0\]: "a&b" is no name/],
    [{ ...rule, fromCookies: ['x'.repeat(40)] }, /fromCookies\[0\]: .* at most 32 characters/],
    [{ ...rule, outputPayloadToHeader: 'Host' }, /outputPayloadToHeader: host leads the request itself/],
    [
      { ...rule, outputPayloadToHeader: 'x', outputClaimToHeaders: [{ header: 'X', claim: 'c' }] },
      /outputClaimToHeaders\[0\]\.header: "x" is written twice/,
    ],
    [{ ...rule, forwardOriginalToken: 'yes' }, /forwardOriginalToken: expected true or false, found "yes"/],
    [{ ...rule, timeout: 5 }, /timeout: expected a time from 1ms to 60s/],
    [{ ...rule, audiences: 'x' }, /audiences: expected a list, found "x"/],
  ])('is refused whole: %j', (each, message) => {
    expect(parse({ jwtRules: [rule, each] }).ok).toBe(false);
    expect(rendered(each)).toMatch(message);
  });

  it.each([
    [{ targetRef: {} }, /spec\.targetRef: targetRef is not supported yet/],
    [{ targetRefs: [] }, /spec\.targetRefs: targetRefs is not supported yet/],
    [{ jwtRules: {} }, /spec\.jwtRules: expected a list, found a mapping/],
  ])('is refused: %j', (spec, message) => {
    expect(renderIssues(parse(spec).issues)).toMatch(message);
  });

  it.each<[readonly object[], RegExp]>([
    [[], /^warning spec\.jwtRules: has no rules: the document verifies nothing$/],
    [
      [rule, { ...rule, audiences: ['x'] }],
      /^warning spec\.jwtRules\[1\]\.issuer: the same issuer in the same place \(header authorization behind "Bearer "\) as spec\.jwtRules\[0\]/,
    ],
    [[{ issuer: 'x', jwksUri: 'http://a.example' }], /^warning .*jwksUri: is fetched in the clear/],
    [
      [{ ...rule, fromHeaders: [{ name: 'Authorization' }] }],
      /^warning .*fromHeaders\[0\]: takes the whole header/,
    ],
    [[{ ...rule, fromCookies: ['c'] }], /^warning .*fromCookies: the app gets the token all the same/],
    [[{ ...rule, issuer: 'x ' }], /^warning .*issuer: "x " begins or ends with white space/],
  ])('is warned about: %j', (jwtRules, message) => {
    expect(parse({ jwtRules }).ok).toBe(true);
    expect(rendered(...jwtRules)).toMatch(message);
  });

  it('writes nothing where tokens are looked for', () => {
    const output = { ...rule, outputPayloadToHeader: 'X-Token', fromParams: ['t'] };
    const reading = { ...rule, issuer: 'b', fromHeaders: [{ name: 'x-token' }] };
    expect(rendered(output, reading)).toMatch(
      /^error spec\.jwtRules\[0\]: writes to x-token, where tokens are looked for/,
    );
    const documents = [requestAuthentication([output]), requestAuthentication([reading])];
    expect(compileRequestAuthentications(documents, () => undefined).notes).toMatchObject([
      { message: expect.stringMatching(/^another document writes to x-token/) as string },
    ]);
  });

  it('bounds the text of all rules together', () => {
    const audiences = (length: number): string[] =>
      [0, 1, 2, 3].map((index) => `${index}${'x'.repeat(length)}`);
    const rules = (length: number): object[] =>
      Array.from({ length: 64 }, (_, index) => ({
        ...rule,
        issuer: `i${index}`,
        audiences: audiences(length),
      }));
    expect(parse({ jwtRules: rules(1_700) }).ok).toBe(true);
    expect(rendered(...rules(2_000))).toMatch(
      /^error spec\.jwtRules: at most 524288 bytes of rules and their keys, found 5\d{5}; split the document/,
    );
  });

  it('never repeats a password or a key', () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const { d: secret } = jwk(privateKey) as { readonly d: string };
    const texts = [
      rendered({ issuer: 'x', jwksUri: 'https://me:hunter2@a.example/keys' }),
      rendered({ issuer: 'x', jwks: JSON.stringify({ keys: [jwk(privateKey)] }) }),
      rendered({ issuer: 'x', jwks: `{"keys": [${JSON.stringify(jwk(privateKey))}` }),
      rendered({ issuer: 'x', jwks: jwk(privateKey) }),
      rendered({ issuer: 'x', jwks: '{"keys":[{"kty":"oct","k":"hunter2"}]}' }),
      rendered({ issuer: 'x', jwksUri: 'https//me:hunter2@a.example/keys' }),
      rendered({ issuer: 'x', jwksUri: 'hunter2:me@a.example/keys' }),
      rendered({ issuer: 'x', jwksUri: 'a.example/keys?key=hunter2' }),
    ];
    for (const text of texts) {
      expect(text).toMatch(/^error /);
      expect(text).not.toContain('hunter2');
      expect(text).not.toContain(secret);
    }
    const secretUri = { issuer: 'x', jwksUri: 'https://a.example/keys?key=hunter2' };
    const { notes } = compileRequestAuthentications([requestAuthentication([secretUri])], () => undefined);
    expect(notes).toMatchObject([
      { message: expect.stringMatching(/^no keys from https:\/\/a\.example\/keys yet/) as string },
    ]);
    expect(texts[1]).toMatch(/holds a private or symmetric key \(keys\[0\]\)/);
    expect(texts[4]).toMatch(/keys\[0\]: a symmetric key is no public key/);
  });
});

const schema = protobuf.Root.fromJSON(
  JSON.parse(
    readFileSync(new URL('../../../proto/gen/envoy.json', import.meta.url), 'utf8'),
  ) as protobuf.INamespace,
);

describe('the jwt_authn filter', () => {
  const uri = { issuer: 'https://b.example', jwksUri: 'https://b.example/keys' };
  const compiled = (
    rules: readonly object[],
    jwksOf: (address: string) => string | undefined = () => undefined,
  ) => compileRequestAuthentications([requestAuthentication(rules)], jwksOf);

  it('is not there where nothing is verified', () => {
    expect(compileRequestAuthentications([], () => undefined)).toEqual({ filter: undefined, notes: [] });
    expect(compiled([]).filter).toBeUndefined();
  });

  it('takes keys as they were fetched; without, no provider takes a token, and it is said', () => {
    const asked: string[] = [];
    const { filter, notes } = compiled([rule, uri], (address) => {
      asked.push(address);
      return jwks;
    });
    expect([asked, notes]).toEqual([['https://b.example/keys'], []]);
    expect(Object.keys(filter?.typed_config.providers ?? {})).toEqual([
      'ns[shop]-policy[tokens]-rule[0]',
      'ns[shop]-policy[tokens]-rule[1]',
      'absent[0]',
      'absent[1]',
    ]);
    const without = compiled([uri]);
    expect(Object.keys(without.filter?.typed_config.providers ?? {})).toEqual(['absent[0]', 'absent[1]']);
    expect(without.notes).toEqual([
      {
        policy: 'shop/tokens',
        message:
          'no keys from https://b.example/keys yet: tokens of "https://b.example" are refused until it gives keys',
      },
    ]);
  });

  it('has equal bytes for equal input, and no provider twice', () => {
    const both = [requestAuthentication([rule]), requestAuthentication([rule], { name: 'again' })];
    const [one, other] = [0, 1].map(() =>
      JSON.stringify(compileRequestAuthentications(both, () => undefined)),
    );
    expect(one).toBe(other);
    const { filter } = compileRequestAuthentications(both, () => undefined);
    expect(filter).toEqual(compileRequestAuthentications(both.slice(0, 1), () => undefined).filter);
  });

  it('refuses all tokens where there are more places than Envoy can be told of', () => {
    const names = (from: number): string[] => Array.from({ length: 10 }, (_, i) => `p${from + i}`);
    const documents = [0, 10].map((from) =>
      requestAuthentication([{ ...rule, fromParams: names(from) }], { name: `r${from}` }),
    );
    const { filter, notes } = compileRequestAuthentications(documents, () => undefined);
    expect(JSON.stringify(filter)).not.toContain('rule[');
    expect(Object.keys(filter!.typed_config.providers)).toHaveLength(20);
    expect(notes.map(({ policy }) => policy)).toEqual(['shop/r0', 'shop/r10']);
    expect(notes[0]?.message).toMatch(/in 20 places, at most 16: all tokens there are refused/);
    expect(rendered({ ...rule, fromParams: [...names(0), ...names(10)] })).toMatch(
      /looks for tokens in 20 places/,
    );
  });

  it('has no field that the schema does not know', () => {
    const rich = {
      ...rule,
      audiences: ['x'],
      fromHeaders: [{ name: 'x-a', prefix: 'p ' }],
      fromParams: ['t'],
      fromCookies: ['c'],
      outputPayloadToHeader: 'x-p',
      outputClaimToHeaders: [{ header: 'x-c', claim: 'a.b' }],
      forwardOriginalToken: true,
      spaceDelimitedClaims: ['roles'],
    };
    const { filter } = compiled([rich, uri], () => jwks);
    const { '@type': url, ...config } = filter!.typed_config;
    const type = schema.lookupType(url.slice(url.indexOf('/') + 1));
    const back = type.toObject(type.decode(type.encode(type.fromObject(config)).finish()), { json: true });
    expect(back).toEqual(JSON.parse(JSON.stringify(config)));
  });
});

describe('tokenSeen', () => {
  const documents = [requestAuthentication([{ ...rule, audiences: ['web', 'https://api.example/'] }])];
  it.each([
    [{ iss: 'https://a.example', aud: ['x', 'web'] }, true, /^$/],
    [{ iss: 'https://a.example', aud: 'http://api.example' }, true, /^$/],
    [{ iss: 'https://a.example', aud: 'x' }, false, /is for x, and .* ask for web, https:\/\/api/],
    [{ iss: 'https://a.example' }, false, /is for no audience/],
    [
      { iss: 'https://a.example/', aud: 'web' },
      false,
      /no rule of the workload verifies tokens of https:\/\/a\.example\/ /,
    ],
    [{ sub: 'x' }, false, /has no issuer/],
  ])('says of %j: %s', (claims, seen, why) => {
    const said = tokenSeen(claims, documents);
    expect(said.seen).toBe(seen);
    expect(said.seen ? '' : said.why).toMatch(why);
  });

  it('says that nothing is verified at all', () => {
    expect(tokenSeen({ iss: 'x' }, [])).toMatchObject({ seen: false, refused: false });
    const elsewhere = policiesFor(documents, { namespace: 'other', labels: {} }, { rootNamespace: 'root' });
    expect(elsewhere).toEqual([]);
  });
});

it('never throws, whatever the document', () => {
  const keys = fc.constantFrom(
    ...['jwtRules', 'issuer', 'jwks', 'jwksUri', 'fromHeaders', 'fromParams', 'name', 'prefix', 'timeout'],
    ...[
      'audiences',
      'outputClaimToHeaders',
      'header',
      'claim',
      'mtls',
      'mode',
      'portLevelMtls',
      '80',
      'selector',
    ],
    'matchLabels',
  );
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 7 },
      fc.string(),
      fc.constantFrom('STRICT', 'https://a.example', '{"keys":[]}', jwks, '__proto__'),
      fc.constantFrom(null, 0, true, undefined),
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(keys, tie('value'), { maxKeys: 4 }),
    ),
  }));
  const kinds = {
    RequestAuthentication: parseRequestAuthentication,
    PeerAuthentication: parsePeerAuthentication,
  };
  fc.assert(
    fc.property(value, fc.constantFrom('RequestAuthentication', 'PeerAuthentication'), (spec, kind) => {
      const metadata = { name: 'p', namespace: 'shop', creationTimestamp: null };
      const parsed = kinds[kind]({ apiVersion: 'security.istio.io/v1', kind, metadata, spec });
      expect(parsed.ok).toBe(!parsed.issues.some(({ severity }) => severity === 'error'));
    }),
    { seed: 4, numRuns: 1_000 },
  );
});
