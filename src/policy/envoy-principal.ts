import { proofFor, withinOf } from './attributes.ts';
import { cidrRange, headerMatcher } from './envoy-matchers.ts';
import { ANY_TOKEN, claimPrincipal, requestPrincipal } from './envoy-token.ts';
import type { Principal, StringMatcher } from './envoy-types.ts';
import { mappedBlock } from './ip.ts';
import { escapeRegex } from './template.ts';
import type { Matcher, Term } from './types.ts';

const SCHEME = 'spiffe://';

/** Every peer that proved a SPIFFE ID. */
export const AUTHENTICATED: Principal = named({ prefix: SCHEME });

/** What an ALLOW asks for first where it says "not x". */
export function proven(attribute: Term['attribute']): readonly Principal[] {
  const proof = proofFor(attribute);
  if (proof === undefined) return [];
  if (proof === 'token') return [ANY_TOKEN];
  const names = withinOf(attribute);
  return [names === undefined ? AUTHENTICATED : below(names, '/')];
}

/**
 * The principal that one value of a term on the source stands for; undefined: the term is no matter of principals.
 * @param wide in doubt it matches: namespaces and service accounts of any trust domain
 */
export function principalFor(
  attribute: Term['attribute'],
  matcher: Matcher,
  wide: boolean,
): Principal | undefined {
  const names = wide ? undefined : withinOf(attribute);
  switch (attribute.kind) {
    case 'source.principal':
      return principalName(matcher);
    case 'source.namespace':
      return names === undefined ? inNamespace(matcher) : namespaceWithin(names, matcher);
    case 'source.serviceAccount':
      return matcher.kind === 'serviceAccount' ? serviceAccount(matcher, names) : undefined;
    case 'source.trustDomain':
      return trustDomain(matcher);
    case 'source.ip':
      return matcher.kind === 'cidr' ? { direct_remote_ip: cidrRange(matcher) } : undefined;
    case 'remote.ip':
      return matcher.kind === 'cidr' ? remoteIp(matcher) : undefined;
    case 'request.header':
      return { header: headerMatcher(attribute.name, matcher, false) };
    case 'request.auth.principal':
      return matcher.kind === 'requestPrincipal' ? requestPrincipal(matcher) : undefined;
    case 'request.auth.claim':
      return claimPrincipal(attribute.path, matcher);
    default:
      return undefined;
  }
}

function not(principal: Principal): Principal {
  return { not_id: principal };
}

/** Whoever speaks for a client may name an IPv4 address in its IPv6 form, and a block must not miss that. */
function remoteIp(matcher: Extract<Matcher, { kind: 'cidr' }>): Principal {
  const four: Principal = { remote_ip: cidrRange(matcher) };
  const mapped = mappedBlock(matcher);
  return mapped === undefined
    ? four
    : { or_ids: { ids: [four, { remote_ip: cidrRange({ kind: 'cidr', ...mapped }) }] } };
}

function named(name: StringMatcher): Principal {
  return { authenticated: { principal_name: name } };
}

function principalName(matcher: Matcher): Principal {
  switch (matcher.kind) {
    case 'exact':
      return named({ exact: `${SCHEME}${matcher.value}` });
    case 'prefix':
      return named({ prefix: `${SCHEME}${matcher.value}` });
    case 'suffix':
      return principalSuffix(matcher.value);
    default:
      return AUTHENTICATED;
  }
}

/**
 * Not Envoy's suffix alone: that would also take a name that is no SPIFFE ID, or one whose scheme is part of the
 * suffix. And no regular expression: Envoy takes none as long as a suffix may be.
 */
function principalSuffix(suffix: string): Principal {
  const withScheme = Array.from(SCHEME, (_, index) => SCHEME.slice(index))
    .filter((end) => suffix.startsWith(end))
    .map((end) => SCHEME + suffix.slice(end.length));
  const ids = [AUTHENTICATED, named({ suffix }), ...withScheme.map((exact) => not(named({ exact })))];
  return { and_ids: { ids } };
}

/** Whose SPIFFE ID goes on like this in one of these trust domains. */
function below(trustDomains: readonly string[], path: string): Principal {
  return anyOf(trustDomains.map((name) => named({ prefix: `${SCHEME}${name}${path}` })));
}

function anyOf(principals: readonly Principal[]): Principal {
  const [first, ...others] = principals;
  return first !== undefined && others.length === 0 ? first : { or_ids: { ids: principals } };
}

function inNamespace(matcher: Matcher): Principal {
  return named({ safe_regex: { regex: `spiffe://[^/]+/ns/${segment(matcher)}/.*` } });
}

function namespaceWithin(trustDomains: readonly string[], matcher: Matcher): Principal {
  return matcher.kind === 'exact'
    ? below(trustDomains, `/ns/${matcher.value}/`)
    : { and_ids: { ids: [below(trustDomains, '/'), inNamespace(matcher)] } };
}

/** The shape holds the parts apart, so that the end of it can be no other part. */
function serviceAccount(
  { namespace, name }: Extract<Matcher, { kind: 'serviceAccount' }>,
  trustDomains: readonly string[] | undefined,
): Principal {
  if (trustDomains !== undefined)
    return anyOf(
      trustDomains.map((domain) => named({ exact: `${SCHEME}${domain}/ns/${namespace}/sa/${name}` })),
    );
  const shape = { safe_regex: { regex: 'spiffe://[^/]+/ns/[^/]+/sa/[^/]+' } };
  return { and_ids: { ids: [named(shape), named({ suffix: `/ns/${namespace}/sa/${name}` })] } };
}

function trustDomain(matcher: Matcher): Principal {
  if (matcher.kind === 'exact') {
    const id = `spiffe://${matcher.value}`;
    return { or_ids: { ids: [named({ exact: id }), named({ prefix: `${id}/` })] } };
  }
  if (matcher.kind === 'prefix') return named({ prefix: `spiffe://${matcher.value}` });
  if (matcher.kind === 'present') return AUTHENTICATED;
  return named({ safe_regex: { regex: `spiffe://${segment(matcher)}(/.*)?` } });
}

/** One segment of a SPIFFE ID as a regular expression. */
function segment(matcher: Matcher): string {
  switch (matcher.kind) {
    case 'exact':
      return escapeRegex(matcher.value);
    case 'prefix':
      return `${escapeRegex(matcher.value)}[^/]*`;
    case 'suffix':
      return `[^/]*${escapeRegex(matcher.value)}`;
    default:
      return '[^/]+';
  }
}
