import type { PeerChain } from '../resource-types.ts';
import type { BootstrapOptions, JsonObject, ListenerProtocol } from './types.ts';

/** How a connection comes: in by one of the two chains, or out. */
export type Way = PeerChain | 'outbound';

const rbac = { http: 'envoy.filters.http.rbac', tcp: 'envoy.filters.network.rbac' } as const;

/**
 * One JSON object a request (or TCP connection): who called whom, what became of it, and the rule that decided.
 * The rule's name is `ns[<namespace>]-policy[<name>]-rule[<index>]`; the prefixes are those of the compiled filters.
 */
function fields(protocol: ListenerProtocol, way: Way): JsonObject {
  const direction = way === 'outbound' ? 'outbound' : 'inbound';
  const metadata = (key: string): string => `%DYNAMIC_METADATA(${rbac[protocol]}:${key})%`;
  return {
    time: '%START_TIME%',
    direction,
    ...(direction === 'inbound' ? { chain: way } : {}),
    source: direction === 'inbound' ? '%DOWNSTREAM_PEER_URI_SAN%' : '%UPSTREAM_LOCAL_URI_SAN%',
    destination: direction === 'inbound' ? '%DOWNSTREAM_LOCAL_URI_SAN%' : '%UPSTREAM_PEER_URI_SAN%',
    source_address: '%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%',
    destination_address: '%DOWNSTREAM_LOCAL_ADDRESS%',
    upstream_host: '%UPSTREAM_HOST%',
    ...(protocol === 'http'
      ? {
          method: '%REQ(:METHOD)%',
          path: '%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%',
          authority: '%REQ(:AUTHORITY)%',
          status: '%RESPONSE_CODE%',
          details: '%RESPONSE_CODE_DETAILS%',
        }
      : { details: '%CONNECTION_TERMINATION_DETAILS%' }),
    flags: '%RESPONSE_FLAGS%',
    duration_ms: '%DURATION%',
    // Of plaintext the TLS inspector notes that it is none.
    ...(way === 'plaintext' ? {} : { tls_failure: '%DOWNSTREAM_TRANSPORT_FAILURE_REASON%' }),
    upstream_failure: '%UPSTREAM_TRANSPORT_FAILURE_REASON%',
    ...(direction === 'inbound'
      ? {
          // The network filter names no more than its shadow rules (AUDIT's stand there), and in `details` who denied.
          ...(protocol === 'http'
            ? {
                denied_by: metadata('countersign_deny_enforced_effective_policy_id'),
                allowed_by: metadata('countersign_allow_enforced_effective_policy_id'),
                audited_by: metadata('countersign_audit_enforced_effective_policy_id'),
              }
            : { audited_by: metadata('countersign_audit_shadow_effective_policy_id') }),
          shadow_denied_by: metadata('countersign_deny_shadow_effective_policy_id'),
          shadow_allowed_by: metadata('countersign_allow_shadow_effective_policy_id'),
        }
      : {}),
  };
}

export function accessLog(
  options: BootstrapOptions,
  protocol: ListenerProtocol,
  way: Way,
): readonly JsonObject[] {
  return [logger(options, fields(protocol, way))];
}

/** Connections whose chain they may not come by, and those that failed at TLS: `details` or `tls_failure` says why. */
export function refusedLog(options: BootstrapOptions): readonly JsonObject[] {
  const refused = `has(connection.termination_details) && connection.termination_details.startsWith('rbac_access_denied')`;
  const failed = `xds.filter_chain_name == 'mtls' && has(connection.transport_failure_reason)`;
  const filter: JsonObject = {
    extension_filter: {
      name: 'envoy.access_loggers.extension_filters.cel',
      typed_config: {
        '@type': 'type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter',
        expression: `(${refused}) || (${failed})`,
      },
    },
  };
  const line = {
    time: '%START_TIME%',
    direction: 'inbound',
    chain: '%FILTER_CHAIN_NAME%',
    source: '%DOWNSTREAM_PEER_URI_SAN%',
    source_address: '%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%',
    destination_address: '%DOWNSTREAM_LOCAL_ADDRESS%',
    details: '%CONNECTION_TERMINATION_DETAILS%',
    flags: '%RESPONSE_FLAGS%',
    duration_ms: '%DURATION%',
    tls_failure: '%DOWNSTREAM_TRANSPORT_FAILURE_REASON%',
  };
  return [{ ...logger(options, line), filter }];
}

function logger({ accessLog: file }: BootstrapOptions, line: JsonObject): JsonObject {
  const format: JsonObject = { log_format: { json_format: line } };
  return file === '-'
    ? {
        name: 'envoy.access_loggers.stdout',
        typed_config: {
          '@type': 'type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog',
          ...format,
        },
      }
    : {
        name: 'envoy.access_loggers.file',
        typed_config: {
          '@type': 'type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog',
          path: file,
          ...format,
        },
      };
}
