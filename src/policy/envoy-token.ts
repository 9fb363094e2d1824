import { metadataOf, textValue } from './envoy-matchers.ts';
import type { Principal, ValueMatcher } from './envoy-types.ts';
import type { Matcher, TextMatcher } from './types.ts';

/** Where Envoy's jwt_authn leaves the payload of the token that it verified: the key is its `payload_in_metadata`. */
export const JWT_METADATA: { readonly filter: string; readonly payload: string } = {
  filter: 'envoy.filters.http.jwt_authn',
  payload: 'payload',
};

export function requestPrincipal({
  issuer,
  subject,
}: Extract<Matcher, { kind: 'requestPrincipal' }>): Principal {
  const [iss, sub] = [textValue(issuer), textValue(subject)];
  return { and_ids: { ids: [payload(['iss'], iss), payload(['sub'], sub)] } };
}

/** A text, or a list that holds it. */
export function claimPrincipal(path: readonly string[], matcher: Matcher): Principal {
  const text = textValue(matcher);
  return payload(path, { or_match: { value_matchers: [text, { list_match: { one_of: text } }] } });
}

function payload(path: readonly string[], value: ValueMatcher): Principal {
  return { sourced_metadata: metadataOf(JWT_METADATA.filter, [JWT_METADATA.payload, ...path], value) };
}

const ANY: TextMatcher = { kind: 'present' };

/** Any token that was verified and says whose it is. */
export const ANY_TOKEN: Principal = requestPrincipal({ kind: 'requestPrincipal', issuer: ANY, subject: ANY });
