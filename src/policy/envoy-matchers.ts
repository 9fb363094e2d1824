import type {
  CidrRange,
  HeaderMatcher,
  SourcedMetadata,
  StringMatcher,
  ValueMatcher,
} from './envoy-types.ts';
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

/**
 * "Present" means that some value is not empty. `\C` is any byte, so that what is no UTF-8 counts too; an inverted
 * "is empty" would not do: one empty value beside the others would hide them.
 */
export function headerMatcher(name: string, matcher: Matcher, ignoreCase: boolean): HeaderMatcher {
  return { name, string_match: matcher.kind === 'present' ? NOT_EMPTY : stringMatcher(matcher, ignoreCase) };
}

const NOT_EMPTY: StringMatcher = { safe_regex: { regex: String.raw`\C+` } };

/** A text among metadata; numbers, truth values and mappings match nothing. */
export function textValue(matcher: Matcher): ValueMatcher {
  return { string_match: matcher.kind === 'present' ? NOT_EMPTY : stringMatcher(matcher, false) };
}

export function metadataOf(filter: string, path: readonly string[], value: ValueMatcher): SourcedMetadata {
  return { metadata_matcher: { filter, path: path.map((key) => ({ key })), value } };
}

export function cidrRange({ address, prefixLength }: Extract<Matcher, { kind: 'cidr' }>): CidrRange {
  return { address_prefix: address, prefix_len: prefixLength };
}
