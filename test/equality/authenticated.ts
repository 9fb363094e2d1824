import {
  tokenSeen,
  type JwtRule,
  type RequestAuthentication,
  type TakenToken,
} from '../../src/policy/index.ts';
import type { Asked, Token, TokenPlace } from './case.ts';
import { keyMark, tokenText } from './envoy/tokens.ts';

/** What a request carries besides what it was asked for: its tokens. */
export function withTokens({ headers, path, tokens = [] }: Asked): Pick<Asked, 'headers' | 'path'> {
  const cookies = tokens.filter(({ place }) => place.kind === 'cookie');
  const inHeaders = tokens.filter(({ place }) => place.kind === 'header');
  const query = tokens
    .filter(({ place }) => place.kind === 'param')
    .map((token) => `${token.place.name}=${tokenText(token)}`);
  return {
    headers: [
      ...headers,
      ...cookies.map((token): [string, string] => ['cookie', `${token.place.name}=${tokenText(token)}`]),
      ...inHeaders.map((token): [string, string] => [token.place.name, textAt(token)]),
    ],
    path: query.length === 0 ? path : `${path}?${query.join('&')}`,
  };
}

/**
 * What RequestAuthentications mean, once more and without Envoy in mind: a request has no token where the rules look,
 * or one, which a rule that looks there takes.
 */
export function authenticate(
  { tokens = [] }: Asked,
  policies: readonly RequestAuthentication[],
): TakenToken | 'none' | 'refused' {
  const rules = policies.flatMap(({ jwtRules }) => jwtRules);
  const places = uniquePlaces(rules.flatMap(placesOf));
  const found = places.flatMap((place) =>
    tokens.filter((token) => liesAt(token, place)).map((token) => ({ place, token })),
  );
  const [first, ...others] = found;
  if (first === undefined) return 'none';
  if (others.length > 0) return 'refused';
  const { place, token } = first;
  const taker = rules.find((rule) => placesOf(rule).some((each) => same(each, place)) && takes(rule, token));
  const wrapped = place.kind === 'header' && place.prefix !== prefixOf(token.place);
  if (taker === undefined || wrapped || token.time !== 'good') return 'refused';
  const seen = tokenSeen(token.claims, [{ ...NOWHERE, jwtRules: [taker] }]);
  return seen.seen ? seen : 'refused';
}

const NOWHERE = {
  apiGroup: 'security.istio.io',
  namespace: 'a',
  name: 'p',
  selector: {},
  digest: '',
} as const;

function takes(rule: JwtRule, { claims, key }: Token): boolean {
  if (rule.keys.kind !== 'inline' || !rule.keys.jwks.includes(keyMark(key))) return false;
  return tokenSeen(claims, [{ ...NOWHERE, jwtRules: [rule] }]).seen;
}

function prefixOf(place: TokenPlace): string {
  return place.kind === 'header' ? place.prefix : '';
}

function textAt(token: Token): string {
  return prefixOf(token.place) + tokenText(token);
}

/** A place behind a prefix is empty where another prefix stands; one without takes whatever stands there. */
function liesAt({ place }: Token, rule: TokenPlace): boolean {
  if (place.kind !== rule.kind || place.name !== rule.name) return false;
  const prefix = prefixOf(rule);
  return prefix === '' || prefix === prefixOf(place);
}

const DEFAULT: readonly TokenPlace[] = [
  { kind: 'header', name: 'authorization', prefix: 'Bearer ' },
  { kind: 'param', name: 'access_token' },
];

function placesOf({ fromHeaders, fromParams, fromCookies }: JwtRule): readonly TokenPlace[] {
  const own: TokenPlace[] = [
    ...fromHeaders.map(({ name, prefix }): TokenPlace => ({ kind: 'header', name, prefix })),
    ...fromParams.map((name): TokenPlace => ({ kind: 'param', name })),
    ...fromCookies.map((name): TokenPlace => ({ kind: 'cookie', name })),
  ];
  return own.length === 0 ? DEFAULT : own;
}

function uniquePlaces(places: readonly TokenPlace[]): readonly TokenPlace[] {
  return [...new Map(places.map((place) => [JSON.stringify(place), place])).values()];
}

function same(a: TokenPlace, b: TokenPlace): boolean {
  return a.kind === b.kind && a.name === b.name && prefixOf(a) === prefixOf(b);
}
