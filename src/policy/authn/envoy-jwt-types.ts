/** The parts of Envoy's jwt_authn v3 API that the compiler writes, in the canonical JSON form with snake_case names. */

import type { HeaderMatcher } from '../envoy-types.ts';

/** Where a provider looks for tokens. */
export interface TokenPlaces {
  readonly from_headers?: readonly { readonly name: string; readonly value_prefix?: string }[];
  readonly from_params?: readonly string[];
  readonly from_cookies?: readonly string[];
}

/** `JwtProvider` */
export interface JwtProvider extends TokenPlaces {
  /** Absent: any. */
  readonly issuer?: string;
  readonly audiences?: readonly string[];
  readonly local_jwks: { readonly inline_string: string };
  readonly forward?: true;
  readonly forward_payload_header?: string;
  readonly claim_to_headers?: readonly { readonly header_name: string; readonly claim_name: string }[];
  readonly payload_in_metadata?: string;
  readonly normalize_payload_in_metadata?: { readonly space_delimited_claims: readonly string[] };
}

/** `JwtRequirement` */
export type JwtRequirement =
  | { readonly provider_name: string }
  | { readonly requires_any: { readonly requirements: readonly JwtRequirement[] } }
  | { readonly requires_all: { readonly requirements: readonly JwtRequirement[] } }
  | { readonly allow_missing: Readonly<Record<string, never>> };

/** `RequirementRule` */
export interface JwtRequirementRule {
  readonly match: { readonly prefix: string; readonly headers?: readonly HeaderMatcher[] };
  readonly requires: JwtRequirement;
}

/** One jwt_authn filter, as it stands in a filter chain. */
export interface JwtAuthnFilter {
  readonly name: string;
  readonly typed_config: {
    readonly '@type': 'type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication';
    readonly providers: Readonly<Record<string, JwtProvider>>;
    /** The first that matches a request holds for it. */
    readonly rules: readonly JwtRequirementRule[];
  };
}
