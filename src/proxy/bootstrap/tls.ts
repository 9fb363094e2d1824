import { sdsSecret } from './xds.ts';
import type { BootstrapOptions, Json, JsonObject } from './types.ts';

/** TLS 1.3 only, own SVID by SDS. */
function commonTls(options: BootstrapOptions, validation: JsonObject, alpn: readonly string[]): JsonObject {
  return {
    tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' },
    tls_certificate_sds_secret_configs: [sdsSecret(options, 'default')],
    ...validation,
    ...(alpn.length > 0 ? { alpn_protocols: [...alpn] } : {}),
  };
}

/** A client certificate is required; who it is, is the RBAC filters' to judge. */
export function downstreamTls(options: BootstrapOptions, alpn: readonly string[]): JsonObject {
  return {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext',
      require_client_certificate: true,
      // A resumed session would keep an identity alive that can no longer be proven.
      disable_stateless_session_resumption: true,
      disable_stateful_session_resumption: true,
      common_tls_context: commonTls(
        options,
        { validation_context_sds_secret_config: sdsSecret(options, 'ALL') },
        alpn,
      ),
    },
  };
}

/** The upstream must prove to be exactly `spiffeId`. */
export function upstreamTls(
  options: BootstrapOptions,
  spiffeId: string,
  alpn: readonly string[],
): JsonObject {
  const names: Json = [{ san_type: 'URI', matcher: { exact: spiffeId } }];
  return {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext',
      max_session_keys: 0,
      common_tls_context: commonTls(
        options,
        {
          combined_validation_context: {
            default_validation_context: { match_typed_subject_alt_names: names },
            validation_context_sds_secret_config: sdsSecret(options, 'ALL'),
          },
        },
        alpn,
      ),
    },
  };
}
