import type { CidrRange, HeaderMatcher, StringMatcher } from './envoy-types.ts';
import type { Matcher } from './types.ts';

/** Matchers of text; the parser makes no others for the attributes that come here. */
export function stringMatcher(matcher: Matcher, ignoreCase: boolean): StringMatcher {
  const how = ignoreCase ? ({ ignore_case: true } as const) : {};
  switch (matcher.kind) {
    case 'exact':
      return { exact: matcher.value, ...how };
    case 'prefix':
      return { prefix: matcher.value, ...how };
    case 'suffix':
      return { suffix: matcher.value, ...how };
    default:
      throw new TypeError(`a ${matcher.kind} matcher is no text matcher`);
  }
}

/** "Present" means not empty; said without a regular expression, it takes bytes that are no UTF-8, too. */
export function headerMatcher(name: string, matcher: Matcher, ignoreCase: boolean): HeaderMatcher {
  if (matcher.kind !== 'present') return { name, string_match: stringMatcher(matcher, ignoreCase) };
  return { name, string_match: { exact: '' }, invert_match: true, treat_missing_header_as_empty: true };
}

export function cidrRange({ address, prefixLength }: Extract<Matcher, { kind: 'cidr' }>): CidrRange {
  return { address_prefix: address, prefix_len: prefixLength };
}
