import { JWT_METADATA } from '../envoy-token.ts';
import { ruleName } from '../rule-name.ts';
import { escapeRegex } from '../template.ts';
import type {
  JwtAuthnFilter,
  JwtProvider,
  JwtRequirement,
  JwtRequirementRule,
  TokenPlaces,
} from './envoy-jwt-types.ts';
import {
  describeLocation,
  locationsOf,
  MAX_PLACES,
  outputsOf,
  tokenHeaders,
  type Location,
} from './locations.ts';
import { splitClaims } from './token-seen.ts';
import type { JwtRule, RequestAuthentication } from './types.ts';

/** Something that the operator of a document should know about its enforcement. */
export interface RequestAuthenticationNote {
  /** `namespace/name` */
  readonly policy: string;
  readonly message: string;
}

export interface CompiledRequestAuthentication {
  /** Before all RBAC filters that look at claims. undefined: no rule, so nobody's tokens are looked at. */
  readonly filter: JwtAuthnFilter | undefined;
  readonly notes: readonly RequestAuthenticationNote[];
}

/**
 * Compiles the documents of one workload (see `policiesFor`). Equal input gives equal bytes.
 *
 * A request has no token, or one, which some rule that looks at its place takes; anything else is answered 401.
 *
 * @param jwksOf the keys behind an address, as fetched; undefined: not had yet, and its issuer's tokens fail
 */
export function compileRequestAuthentications(
  policies: readonly RequestAuthentication[],
  jwksOf: (uri: string) => string | undefined,
): CompiledRequestAuthentication {
  const notes: RequestAuthenticationNote[] = [];
  const places = new Map<string, Place>();
  const providers = new Map<string, Taker>();
  for (const { namespace, name, jwtRules } of policies) {
    for (const [index, rule] of jwtRules.entries()) {
      const keys = keysOf(rule, jwksOf);
      if (!keys.ok) notes.push({ policy: `${namespace}/${name}`, message: keys.fault });
      const taker = keys.ok
        ? takerOf(providerOf(rule, keys.jwks), ruleName({ namespace, policy: name, rule: index }), providers)
        : undefined;
      for (const location of locationsOf(rule)) {
        const place = places.get(describeLocation(location)) ?? { location, takers: new Set<string>() };
        places.set(describeLocation(location), place);
        if (taker !== undefined) place.takers.add(taker.name);
      }
    }
  }
  const tooMany = places.size > MAX_PLACES;
  if (tooMany) {
    const message = `the workload's documents look for tokens in ${places.size} places, at most ${MAX_PLACES}: all tokens there are refused`;
    notes.push(...policies.map(({ namespace, name }) => ({ policy: `${namespace}/${name}`, message })));
  }
  const outputs = new Set(policies.flatMap(({ jwtRules }) => jwtRules.flatMap(outputsOf)));
  for (const { namespace, name, jwtRules } of policies) {
    for (const header of new Set(jwtRules.flatMap(tokenHeaders).filter((each) => outputs.has(each)))) {
      const message = `another document writes to ${header}, which is removed from requests first: tokens there are not seen`;
      notes.push({ policy: `${namespace}/${name}`, message });
    }
  }
  const takers = tooMany ? [] : [...providers.values()];
  return { filter: filterOf([...places.values()], takers, [...outputs].toSorted()), notes };
}

interface Taker {
  /** In Envoy. */
  readonly name: string;
  readonly provider: JwtProvider;
}

/** The provider under the name that it has already, where another rule says the same. */
function takerOf(provider: JwtProvider, name: string, known: Map<string, Taker>): Taker {
  const text = JSON.stringify(provider);
  const taker = known.get(text) ?? { name, provider };
  known.set(text, taker);
  return taker;
}

interface Place {
  readonly location: Location;
  /** Names of the providers that take a token there. */
  readonly takers: Set<string>;
}

type Keys = { readonly ok: true; readonly jwks: string } | { readonly ok: false; readonly fault: string };

function keysOf({ keys, issuer }: JwtRule, jwksOf: (uri: string) => string | undefined): Keys {
  if (keys.kind === 'inline') return { ok: true, jwks: keys.jwks };
  const jwks = jwksOf(keys.uri);
  if (jwks !== undefined) return { ok: true, jwks };
  const who = JSON.stringify(issuer);
  return {
    ok: false,
    fault: `no keys from ${withoutQuery(keys.uri)} yet: tokens of ${who} are refused until it gives keys`,
  };
}

/** What stands behind it may be a secret. */
function withoutQuery(uri: string): string {
  return uri.replace(/\?.*$/s, '');
}

function providerOf(rule: JwtRule, jwks: string): JwtProvider {
  const { issuer, audiences, fromHeaders, fromParams, fromCookies } = rule;
  const own = fromHeaders.length + fromParams.length + fromCookies.length > 0;
  return {
    issuer,
    ...(audiences.length > 0 && { audiences }),
    local_jwks: { inline_string: jwks },
    ...(own && placesOf(locationsOf(rule))),
    ...(rule.forwardOriginalToken && { forward: true }),
    ...(rule.outputPayloadToHeader !== undefined && { forward_payload_header: rule.outputPayloadToHeader }),
    ...(rule.outputClaimToHeaders.length > 0 && {
      claim_to_headers: rule.outputClaimToHeaders.map(({ header, claim }) => ({
        header_name: header,
        claim_name: claim,
      })),
    }),
    payload_in_metadata: JWT_METADATA.payload,
    normalize_payload_in_metadata: { space_delimited_claims: splitClaims(rule) },
  };
}

function placesOf(locations: readonly Location[]): TokenPlaces {
  const headers = locations.filter((location) => location.kind === 'header');
  const names = (kind: 'param' | 'cookie'): string[] =>
    locations.filter((location) => location.kind === kind).map(({ name }) => name);
  const [params, cookies] = [names('param'), names('cookie')];
  return {
    ...(headers.length > 0 && {
      from_headers: headers.map(({ name, prefix }) => ({
        name,
        ...(prefix !== '' && { value_prefix: prefix }),
      })),
    }),
    ...(params.length > 0 && { from_params: params }),
    ...(cookies.length > 0 && { from_cookies: cookies }),
  };
}

/**
 * No point of the curve (RFC 8032 section 5.1.3: y = 2 has no x), so that nobody can sign for it. Envoy takes no
 * provider without a key.
 */
const NOBODYS_KEY: JwtProvider['local_jwks'] = {
  inline_string: '{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}',
};
const NOBODY = 'countersign:nobody';
const REFUSED = 'refused';

function filterOf(
  places: readonly Place[],
  takers: readonly Taker[],
  outputs: readonly string[],
): JwtAuthnFilter | undefined {
  if (places.length === 0) return undefined;
  const named = new Map(takers.map(({ name, provider }) => [name, provider]));
  for (const [index, { location }] of places.entries()) {
    const provider = { issuer: NOBODY, local_jwks: NOBODYS_KEY, ...placesOf([location]) };
    named.set(absentName(index), index === 0 ? { ...provider, ...clearing(outputs) } : provider);
  }
  // Envoy answers 403 where the last fault is an audience; behind that of this one, which takes no key, it is 401.
  const judged = [...named.values()].some(({ audiences = [] }) => audiences.length > 0);
  if (judged)
    named.set(REFUSED, { local_jwks: NOBODYS_KEY, ...placesOf(places.map(({ location }) => location)) });
  return {
    name: 'countersign.authn.http.jwt',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication',
      providers: Object.fromEntries(named),
      rules: [
        ...places.flatMap(({ location }) => repeated(location)),
        ...(places.some(({ location }) => location.kind === 'param') ? [refusing(':path', DISGUISED)] : []),
        {
          match: { prefix: '/' },
          requires: requirement(takers.length > 0 ? places : places.map(withoutTakers), judged),
        },
      ],
    },
  };
}

/**
 * Envoy removes from a request the output headers of each provider that it asks. The first absence is asked before
 * all others, so that no caller writes what a rule would write whose keys are not there, or which takes no token.
 */
function clearing(outputs: readonly string[]): Pick<JwtProvider, 'claim_to_headers'> {
  const headers = outputs.map((header) => ({ header_name: header, claim_name: NOBODY }));
  return headers.length === 0 ? {} : { claim_to_headers: headers };
}

function withoutTakers({ location }: Place): Place {
  return { location, takers: new Set() };
}

/** No token anywhere; or one in a place where a rule takes it, and none in any other. */
function requirement(places: readonly Place[], judged: boolean): JwtRequirement {
  const absent = places.map((_, index) => absence(index));
  const found = places.flatMap(({ takers }, index): JwtRequirement[] => {
    const taken = [...takers].map((name): JwtRequirement => ({ provider_name: name }));
    const others = absent.filter((_, other) => other !== index);
    if (others.length === 0 || taken.length === 0) return taken;
    return [all([...others, any(taken)])];
  });
  return any([all(absent), ...found, ...(judged ? [{ provider_name: REFUSED }] : [])]);
}

/** In one place, Envoy looks at one token, and an app perhaps at another: a place that is there twice is refused. */
function repeated(location: Location): JwtRequirementRule[] {
  const name = escapeRegex(location.name);
  if (location.kind === 'param')
    return [refusing(':path', String.raw`\C*[?&]${name}=\C*&${name}((=|&)\C*)?`)];
  if (location.kind === 'cookie')
    return [refusing('cookie', String.raw`(\C*[;,])? *${name} *=\C*[;,] *${name} *=\C*`)];
  // Envoy takes every value of a header for a token, and each has to be good.
  return [];
}

/** Envoy knows a parameter by its decoded name. Nobody writes letters and digits encoded to be understood. */
const DISGUISED = String.raw`\C*[?&][!-%'-<>-~]*%(2[DEde]|3[0-9]|[46][1-9A-Fa-f]|[57][0-9Aa]|5[Ff])\C*`;

/** 401 where a header matches. */
function refusing(header: string, regex: string): JwtRequirementRule {
  const match = { prefix: '/', headers: [{ name: header, string_match: { safe_regex: { regex } } }] };
  return { match, requires: { provider_name: absentName(0) } };
}

/** `allow_missing` beside a provider looks where that provider looks, and at no other's issuer. */
function absence(index: number): JwtRequirement {
  return { requires_any: { requirements: [{ provider_name: absentName(index) }, { allow_missing: {} }] } };
}

function absentName(index: number): string {
  return `absent[${index}]`;
}

function all(requirements: readonly JwtRequirement[]): JwtRequirement {
  const [first] = requirements;
  return first !== undefined && requirements.length === 1 ? first : { requires_all: { requirements } };
}

function any(requirements: readonly JwtRequirement[]): JwtRequirement {
  const [first] = requirements;
  return first !== undefined && requirements.length === 1 ? first : { requires_any: { requirements } };
}
