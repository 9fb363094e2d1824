/** The parts of Envoy's v3 API that the compiler writes, in the canonical JSON form with snake_case names. */

export type StringMatcher =
  | { readonly exact: string; readonly ignore_case?: true }
  | { readonly prefix: string; readonly ignore_case?: true }
  | { readonly suffix: string; readonly ignore_case?: true }
  | { readonly safe_regex: { readonly regex: string } };

export interface HeaderMatcher {
  readonly name: string;
  readonly string_match: StringMatcher;
}

export interface CidrRange {
  readonly address_prefix: string;
  readonly prefix_len: number;
}

/** `envoy.type.matcher.v3.ValueMatcher` */
export type ValueMatcher =
  | { readonly string_match: StringMatcher }
  | { readonly list_match: { readonly one_of: ValueMatcher } }
  | { readonly or_match: { readonly value_matchers: readonly ValueMatcher[] } };

/** `envoy.config.rbac.v3.SourcedMetadata`: dynamic metadata, by filter and path. */
export interface SourcedMetadata {
  readonly metadata_matcher: {
    readonly filter: string;
    readonly path: readonly { readonly key: string }[];
    readonly value: ValueMatcher;
  };
}

/** `envoy.config.rbac.v3.Permission` */
export type Permission =
  | { readonly any: true }
  | { readonly and_rules: { readonly rules: readonly Permission[] } }
  | { readonly or_rules: { readonly rules: readonly Permission[] } }
  | { readonly not_rule: Permission }
  | { readonly header: HeaderMatcher }
  | { readonly url_path: { readonly path: StringMatcher } }
  | { readonly uri_template: UriTemplate }
  | { readonly destination_ip: CidrRange }
  | { readonly destination_port: number }
  | { readonly requested_server_name: StringMatcher }
  | { readonly sourced_metadata: SourcedMetadata };

export interface UriTemplate {
  readonly name: string;
  readonly typed_config: { readonly '@type': string; readonly path_template: string };
}

/** `envoy.config.rbac.v3.Principal` */
export type Principal =
  | { readonly any: true }
  | { readonly and_ids: { readonly ids: readonly Principal[] } }
  | { readonly or_ids: { readonly ids: readonly Principal[] } }
  | { readonly not_id: Principal }
  | { readonly authenticated: { readonly principal_name: StringMatcher } }
  | { readonly direct_remote_ip: CidrRange }
  | { readonly remote_ip: CidrRange }
  | { readonly header: HeaderMatcher }
  | { readonly sourced_metadata: SourcedMetadata };

/** `envoy.config.rbac.v3.Policy`: any of the permissions, any of the principals, and the condition. */
export interface RbacPolicy {
  readonly permissions: readonly Permission[];
  readonly principals: readonly Principal[];
  readonly condition?: Expr;
}

/** `google.api.expr.v1alpha1.Expr`: a parsed CEL expression. */
export type Expr =
  | { readonly const_expr: { readonly string_value: string } }
  | { readonly ident_expr: { readonly name: string } }
  | { readonly select_expr: { readonly operand: Expr; readonly field: string } }
  | {
      readonly call_expr: {
        readonly target?: Expr;
        readonly function: string;
        readonly args: readonly Expr[];
      };
    };

/** `envoy.config.rbac.v3.RBAC` */
export interface RbacRules {
  readonly action: 'ALLOW' | 'DENY' | 'LOG';
  /** By rule name. */
  readonly policies: Readonly<Record<string, RbacPolicy>>;
}

export interface HttpRbac {
  readonly '@type': 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC';
  readonly rules?: RbacRules;
  readonly rules_stat_prefix: string;
  readonly shadow_rules?: RbacRules;
  readonly shadow_rules_stat_prefix: string;
}

export interface TcpRbac {
  readonly '@type': 'type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC';
  readonly rules?: RbacRules;
  readonly stat_prefix: string;
  readonly shadow_rules?: RbacRules;
  readonly shadow_rules_stat_prefix: string;
}

/** One ext_authz filter. The service it asks is written in Envoy's own words. */
export interface ExtAuthzFilter {
  readonly name: string;
  readonly typed_config: {
    readonly '@type':
      | 'type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz'
      | 'type.googleapis.com/envoy.extensions.filters.network.ext_authz.v3.ExtAuthz';
    readonly transport_api_version: 'V3';
    readonly stat_prefix: string;
    readonly filter_enabled_metadata: SourcedMetadata['metadata_matcher'];
    readonly failure_mode_allow?: boolean;
    readonly [field: string]: unknown;
  };
}

/** One RBAC filter, as it stands in a filter chain. */
export interface RbacFilter {
  readonly name: string;
  readonly typed_config: HttpRbac | TcpRbac;
}
