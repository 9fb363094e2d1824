import { metadataOf, textValue } from './envoy-matchers.ts';
import type { ExtAuthzFilter, RbacFilter, RbacRules, StringMatcher } from './envoy-types.ts';
import type { ExternalAuthorizer, Protocol } from './types.ts';

/** The cluster under which a sidecar has to know an authorizer. */
export function authorizerCluster(name: string): string {
  return `countersign.authorizer.${name}`;
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
  const shadow = { shadow_rules: rules, shadow_rules_stat_prefix: PREFIX };
  const select: RbacFilter =
    protocol === 'tcp'
      ? {
          name: 'countersign.authz.tcp.custom',
          typed_config: { '@type': `${TYPES}.network.rbac.v3.RBAC`, stat_prefix: PREFIX, ...shadow },
        }
      : {
          name: 'countersign.authz.http.custom',
          typed_config: { '@type': `${TYPES}.http.rbac.v3.RBAC`, rules_stat_prefix: PREFIX, ...shadow },
        };
  return { select, ask: extAuthz(authorizer, protocol) };
}

function extAuthz(authorizer: ExternalAuthorizer, protocol: Protocol): ExtAuthzFilter {
  const common = {
    transport_api_version: 'V3',
    stat_prefix: PREFIX,
    filter_enabled_metadata: metadataOf(
      `envoy.filters.${protocol === 'tcp' ? 'network' : 'http'}.rbac`,
      [`${PREFIX}shadow_effective_policy_id`],
      textValue({ kind: 'present' }),
    ).metadata_matcher,
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

function grpcService({ name, timeoutMs }: ExternalAuthorizer): Readonly<Record<string, unknown>> {
  return {
    grpc_service: { envoy_grpc: { cluster_name: authorizerCluster(name) }, timeout: seconds(timeoutMs) },
  };
}

function httpService({
  name,
  host,
  port,
  timeoutMs,
  http,
}: ExternalAuthorizer): Readonly<Record<string, unknown>> {
  const literal = host.includes(':') ? `[${host}]` : host;
  const added = Object.entries(http?.addedHeaders ?? {}).map(([key, value]) => ({ key, value }));
  const response = {
    ...patterns('allowed_upstream_headers', http?.upstreamOnAllow),
    ...patterns('allowed_client_headers', http?.downstreamOnDeny),
    ...patterns('allowed_client_headers_on_success', http?.downstreamOnAllow),
  };
  return {
    http_service: {
      server_uri: {
        uri: `http://${literal}:${port}`,
        cluster: authorizerCluster(name),
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
