import type { BootstrapOptions, JsonObject } from './types.ts';

/** Of one message from the control plane. gRPC's own limit, 4 MiB, is less than what many policies come to. */
export const MAX_RECEIVED_BYTES: number = 16 * 1024 * 1024;

/**
 * How Envoy reaches the control plane: `google_grpc`, because it alone reads the token file afresh for each stream.
 *
 * Filters travel on one ADS stream. Secrets have streams of their own: Envoy 1.40 crashes at start when a static
 * cluster's secrets come over an ADS that is `google_grpc`.
 */
export function grpcService(options: BootstrapOptions): JsonObject {
  const { controlPlane } = options;
  return {
    google_grpc: {
      target_uri: `${controlPlane.address.includes(':') ? `[${controlPlane.address}]` : controlPlane.address}:${controlPlane.port}`,
      stat_prefix: 'countersign',
      channel_credentials: { ssl_credentials: { root_certs: { filename: options.caFile } } },
      call_credentials: [
        {
          from_plugin: {
            name: 'envoy.grpc_credentials.file_based_metadata',
            typed_config: {
              '@type': 'type.googleapis.com/envoy.config.grpc_credential.v3.FileBasedMetadataConfig',
              secret_data: { filename: options.tokenFile },
              header_key: 'authorization',
              header_prefix: 'Bearer ',
            },
          },
        },
      ],
      credentials_factory_name: 'envoy.grpc_credentials.file_based_metadata',
      channel_args: {
        args: {
          'grpc.ssl_target_name_override': { string_value: options.serverName },
          'grpc.max_receive_message_length': { int_value: MAX_RECEIVED_BYTES },
          // A dead path is noticed within 40 s, and a restarted control plane is back in seconds, not minutes.
          'grpc.keepalive_time_ms': { int_value: 30_000 },
          'grpc.keepalive_timeout_ms': { int_value: 10_000 },
          'grpc.initial_reconnect_backoff_ms': { int_value: 200 },
          'grpc.max_reconnect_backoff_ms': { int_value: 5_000 },
        },
      },
    },
  };
}

function apiConfigSource(options: BootstrapOptions, apiType: 'GRPC' | 'DELTA_GRPC'): JsonObject {
  return {
    api_type: apiType,
    transport_api_version: 'V3',
    set_node_on_first_message_only: true,
    grpc_services: [grpcService(options)],
  };
}

const apiTypes = { sotw: 'GRPC', delta: 'DELTA_GRPC' } as const;

export function adsConfig(options: BootstrapOptions): JsonObject {
  return apiConfigSource(options, apiTypes[options.xds]);
}

/** A secret by name, on a stream of its own. */
export function sdsSecret(options: BootstrapOptions, name: string): JsonObject {
  return {
    name,
    sds_config: {
      resource_api_version: 'V3',
      api_config_source: apiConfigSource(options, apiTypes[options.xds]),
    },
  };
}

export const adsSource: JsonObject = { ads: {}, resource_api_version: 'V3' };
