import * as fc from 'fast-check';
import type { AuthenticationDocument, Token, TokenPlace } from '../case.ts';

const ISSUERS = ['i', 'i', 'https://i.example', 'j'];
/** One header with two prefixes, and with none. */
const PLACES: readonly TokenPlace[] = [
  { kind: 'header', name: 'authorization', prefix: 'Bearer ' },
  { kind: 'param', name: 'access_token' },
  { kind: 'header', name: 'x-t', prefix: '' },
  { kind: 'header', name: 'x-t', prefix: 'T ' },
  { kind: 'cookie', name: 't' },
  { kind: 'param', name: 't' },
];

type Places = Readonly<Record<string, readonly unknown[]>>;

const OWN_PLACES: readonly Places[] = [
  {},
  {},
  { fromHeaders: [{ name: 'x-t' }] },
  { fromHeaders: [{ name: 'X-T', prefix: 'T ' }] },
  { fromHeaders: [{ name: 'x-t', prefix: 'T ' }], fromCookies: ['t'] },
  { fromParams: ['t'] },
  { fromCookies: ['t'], fromParams: ['access_token'] },
];

const jwtRule = fc.record(
  {
    issuer: fc.constantFrom(...ISSUERS),
    jwks: fc.constantFrom('$KEYS0', '$KEYS0', '$KEYS1', '$KEYS2'),
    audiences: fc.constantFrom(['v'], ['w', 'u'], ['V']),
    forwardOriginalToken: fc.boolean(),
    spaceDelimitedClaims: fc.constantFrom(['groups'], ['a', 'groups']),
    // Always: one filter verifies for all sets, and clears for all of them what any of them writes.
    outputClaimToHeaders: fc.constantFrom('sub', 'azp').map((claim) => [{ header: 'x-c', claim }]),
    places: fc.constantFrom(...OWN_PLACES),
  },
  { requiredKeys: ['issuer', 'jwks', 'outputClaimToHeaders', 'places'] },
);

/** RequestAuthentications of one workload. */
export const authentications: fc.Arbitrary<AuthenticationDocument[]> = fc.uniqueArray(
  fc.record({
    apiVersion: fc.constantFrom('security.istio.io/v1', 'security.countersign.dev/v1'),
    kind: fc.constant('RequestAuthentication' as const),
    metadata: fc.record({ name: fc.constantFrom('r', 'r-1'), namespace: fc.constantFrom('a', 'root') }),
    spec: fc.record({
      jwtRules: fc
        .array(jwtRule, { minLength: 1, maxLength: 2 })
        .map((rules) => rules.map(({ places, ...rule }) => ({ ...rule, ...places }))),
    }),
  }),
  { minLength: 1, maxLength: 2, selector: ({ metadata }) => `${metadata.namespace}/${metadata.name}` },
);

/**
 * None, one that some rule may take, one that none does, or two.
 * @param claims of tokens, as rules look for them
 */
export function tokens(
  documents: readonly AuthenticationDocument[],
  claims: fc.Arbitrary<Readonly<Record<string, unknown>> | undefined>,
): fc.Arbitrary<Token[]> {
  if (documents.length === 0) return fc.constant([]);
  const rules = documents.flatMap(({ spec }) => spec.jwtRules ?? []);
  const looked = PLACES.filter((place) => rules.some((rule) => looks(rule, place)));
  const token = fc.record({
    place: fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom(...(looked.length > 0 ? looked : PLACES)) },
      { weight: 1, arbitrary: fc.constantFrom(...PLACES) },
    ),
    key: fc.constantFrom(0, 0, 0, 1),
    time: fc.constantFrom<Token['time']>('good', 'good', 'good', 'good', 'good', 'good', 'over', 'early'),
    claims: fc
      .tuple(claims, fc.constantFrom(...rules.map(aim)), fc.integer({ min: 0, max: 9 }))
      .map(([some, aimed, dice]) => ({ ...some, ...(dice > 1 && aimed) })),
  });
  return fc.uniqueArray(token, {
    maxLength: 2,
    // A place that is there twice is tried elsewhere.
    selector: ({ place }) => `${place.kind} ${place.name}`,
  });
}

function looks(rule: Readonly<Record<string, unknown>>, place: TokenPlace): boolean {
  const text = JSON.stringify([rule['fromHeaders'], rule['fromParams'], rule['fromCookies']]);
  if (text === '[null,null,null]') return ['authorization', 'access_token'].includes(place.name);
  return text.toLowerCase().includes(`"${place.name}"`);
}

function aim({ issuer, audiences }: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return { iss: issuer, ...(audiences !== undefined && { aud: audiences }) };
}
