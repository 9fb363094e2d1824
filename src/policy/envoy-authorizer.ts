import { metadataOf, textValue } from './envoy-matchers.ts';
import type {
  ExtAuthzFilter,
  Principal,
  RbacFilter,
  RbacPolicy,
  RbacRules,
  SourcedMetadata,
  StringMatcher,
} from './envoy-types.ts';
import type { ExternalAuthorizer, Protocol } from './types.ts';

/**
 * The cluster under which a sidecar has to know an authorizer. It names the address, too: a sidecar that knows
 * another one must not ask there.
 */
export function authorizerCluster({
  name,
  host,
  port,
}: Pick<ExternalAuthorizer, 'name' | 'host' | 'port'>): string {
  return `countersign.authorizer.${name}|${host}|${port}`;
}

/** Marks the requests that the authorizer is asked about: RBAC writes the rule down, ext_authz looks for it. */
const PREFIX = 'countersign_custom_';
const TYPES = 'type.googleapis.com/envoy.extensions.filters';

/** What runs before all other authorization filters where CUSTOM policies have somebody to ask. */
export interface CustomFilters {
  /** Decides nothing; says which requests CUSTOM rules select. */
  readonly select: RbacFilter;
  readonly ask: ExtAuthzFilter;
}

export function customFilters(
  rules: RbacRules,
  authorizer: ExternalAuthorizer,
  protocol: Protocol,
): CustomFilters {
  return { select: rbac('custom', protocol, { shadow_rules: rules }), ask: extAuthz(authorizer, protocol) };
}

/** What stands in place of the pair where no CUSTOM policy has anybody to ask. */
export interface IdleCustomFilters {
  /** Selects nothing. */
  readonly select: RbacFilter;
  /** Refuses what was selected all the same: should Envoy refuse the filter that asks, nothing passes unasked. */
  readonly ask: RbacFilter;
}

export function idleCustomFilters(protocol: Protocol): IdleCustomFilters {
  const unasked: RbacPolicy = {
    permissions: [{ any: true }],
    principals: [{ sourced_metadata: written('shadow_effective_policy_id', protocol) }],
  };
  const rules: RbacRules = { action: 'DENY', policies: { unasked } };
  return { select: rbac('custom', protocol, {}), ask: rbac('ext_authz', protocol, { rules }) };
}

/**
 * A CUSTOM rule as it stands in the DENY filter, too: it denies where the filter that selects never ran. A sidecar
 * whose bootstrap knows nothing of the pair so refuses what it cannot ask about.
 */
export function unlessSelected(rule: RbacPolicy, protocol: Protocol): RbacPolicy {
  const known = guarded[protocol].get(rule);
  if (known !== undefined) return known;
  const never: Principal = { not_id: { sourced_metadata: written('shadow_engine_result', protocol) } };
  const principals = rule.principals.map((principal): Principal =>
    'any' in principal ? never : { and_ids: { ids: [principal, never] } },
  );
  const made: RbacPolicy = { ...rule, principals };
  guarded[protocol].set(rule, made);
  return made;
}

/** Equal rules are one object: see `compile`. */
const guarded: Readonly<Record<Protocol, WeakMap<RbacPolicy, RbacPolicy>>> = {
  http: new WeakMap(),
  tcp: new WeakMap(),
};

function rbac(
  which: 'custom' | 'ext_authz',
  protocol: Protocol,
  rules: Pick<RbacFilter['typed_config'], 'rules' | 'shadow_rules'>,
): RbacFilter {
  const name = `countersign.authz.${protocol}.${which}`;
  const shadow = { ...rules, shadow_rules_stat_prefix: PREFIX };
  return protocol === 'tcp'
    ? { name, typed_config: { '@type': `${TYPES}.network.rbac.v3.RBAC`, stat_prefix: PREFIX, ...shadow } }
    : { name, typed_config: { '@type': `${TYPES}.http.rbac.v3.RBAC`, rules_stat_prefix: PREFIX, ...shadow } };
}

/** What the filter that selects has written down: a rule's name where one matched; a result whenever it ran. */
function written(
  what: 'shadow_effective_policy_id' | 'shadow_engine_result',
  protocol: Protocol,
): SourcedMetadata {
  const filter = `envoy.filters.${protocol === 'tcp' ? 'network' : 'http'}.rbac`;
  return metadataOf(filter, [PREFIX + what], textValue({ kind: 'present' }));
}

function extAuthz(authorizer: ExternalAuthorizer, protocol: Protocol): ExtAuthzFilter {
  const common = {
    transport_api_version: 'V3',
    stat_prefix: PREFIX,
    filter_enabled_metadata: written('shadow_effective_policy_id', protocol).metadata_matcher,
    ...(authorizer.failOpen && { failure_mode_allow: true }),
  } as const;
  if (protocol === 'tcp') {
    return {
      name: 'countersign.authz.tcp.ext_authz',
      typed_config: {
        '@type': `${TYPES}.network.ext_authz.v3.ExtAuthz`,
        ...common,
        ...grpcService(authorizer),
      },
    };
  }
  return {
    name: 'countersign.authz.http.ext_authz',
    typed_config: {
      '@type': `${TYPES}.http.ext_authz.v3.ExtAuthz`,
      ...common,
      ...(authorizer.protocol === 'grpc' ? grpcService(authorizer) : httpService(authorizer)),
      status_on_error: { code: authorizer.statusOnError },
      ...(authorizer.body && {
        with_request_body: {
          max_request_bytes: authorizer.body.maxBytes,
          allow_partial_message: authorizer.body.allowPartial,
          pack_as_bytes: authorizer.body.asBytes,
        },
      }),
    },
  };
}

function grpcService(authorizer: ExternalAuthorizer): Readonly<Record<string, unknown>> {
  return {
    grpc_service: {
      // By itself Envoy would state the cluster's name, which is no authority.
      envoy_grpc: { cluster_name: authorizerCluster(authorizer), authority: authorityOf(authorizer) },
      timeout: seconds(authorizer.timeoutMs),
    },
  };
}

function authorityOf({ host, port }: ExternalAuthorizer): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function httpService(authorizer: ExternalAuthorizer): Readonly<Record<string, unknown>> {
  const { timeoutMs, http } = authorizer;
  const added = Object.entries(http?.addedHeaders ?? {}).map(([key, value]) => ({ key, value }));
  const response = {
    ...patterns('allowed_upstream_headers', http?.upstreamOnAllow),
    ...patterns('allowed_client_headers', http?.downstreamOnDeny),
    ...patterns('allowed_client_headers_on_success', http?.downstreamOnAllow),
  };
  return {
    http_service: {
      server_uri: {
        uri: `http://${authorityOf(authorizer)}`,
        cluster: authorizerCluster(authorizer),
        timeout: seconds(timeoutMs),
      },
      ...(http && http.pathPrefix !== '' && { path_prefix: http.pathPrefix }),
      ...(added.length > 0 && { authorization_request: { headers_to_add: added } }),
      ...(Object.keys(response).length > 0 && { authorization_response: response }),
    },
    ...patterns('allowed_headers', http?.sentHeaders),
  };
}

function patterns(field: string, names: readonly string[] = []): Readonly<Record<string, unknown>> {
  return names.length === 0 ? {} : { [field]: { patterns: names.map(pattern) } };
}

function pattern(name: string): StringMatcher {
  if (name === '*') return { safe_regex: { regex: '.*' } };
  if (name.endsWith('*')) return { prefix: name.slice(0, -1), ignore_case: true };
  return name.startsWith('*')
    ? { suffix: name.slice(1), ignore_case: true }
    : { exact: name, ignore_case: true };
}

/** A `google.protobuf.Duration` in canonical JSON. */
function seconds(ms: number): string {
  return `${ms / 1_000}s`;
}
