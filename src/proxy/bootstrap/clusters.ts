import { authorizerCluster, type ExternalAuthorizer } from '../../policy/index.ts';
import { socketAddress } from './listeners.ts';
import { upstreamTls } from './tls.ts';
import type { BootstrapOptions, Endpoint, Inbound, JsonObject, Outbound } from './types.ts';

function cluster(name: string, endpoint: Endpoint): JsonObject {
  const numeric = /^[0-9.]+$|:/u.test(endpoint.address);
  return {
    name,
    type: numeric ? 'STATIC' : 'STRICT_DNS',
    connect_timeout: '5s',
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: socketAddress(endpoint) } }] }],
    },
  };
}

function httpOptions(protocol: JsonObject, maxConnectionSeconds: number): JsonObject {
  return {
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
        common_http_protocol_options: { max_connection_duration: `${maxConnectionSeconds}s` },
        ...protocol,
      },
    },
  };
}

/** The app behind the sidecar: plaintext, in the version of HTTP that it speaks. */
export function appCluster(options: BootstrapOptions, inbound: Inbound, name: string): JsonObject {
  return {
    ...cluster(name, inbound.app),
    ...(inbound.protocol === 'http'
      ? httpOptions(explicitHttp(inbound.appHttp), options.maxConnectionSeconds)
      : {}),
  };
}

/** Whom CUSTOM policies ask: plaintext, HTTP/2 for gRPC. Sidecar and authorizer trust the network between them. */
export function clusterOfAuthorizer(options: BootstrapOptions, authorizer: ExternalAuthorizer): JsonObject {
  const { host, port, protocol } = authorizer;
  return {
    ...cluster(authorizerCluster(authorizer), { address: host, port }),
    ...httpOptions(explicitHttp(protocol === 'grpc' ? 2 : 1), options.maxConnectionSeconds),
  };
}

function explicitHttp(version: 1 | 2): JsonObject {
  return {
    explicit_http_config: version === 2 ? { http2_protocol_options: {} } : { http_protocol_options: {} },
  };
}

/** Another workload: mTLS, HTTP/2 where it offers that. */
export function upstreamCluster(options: BootstrapOptions, outbound: Outbound, name: string): JsonObject {
  return {
    ...cluster(name, outbound.upstream),
    transport_socket: upstreamTls(options, outbound.spiffeId, []),
    ...(outbound.protocol === 'http'
      ? httpOptions(
          { auto_config: { http_protocol_options: {}, http2_protocol_options: {} } },
          options.maxConnectionSeconds,
        )
      : {}),
    ...(options.sourceAddress === undefined
      ? {}
      : { upstream_bind_config: { source_address: { address: options.sourceAddress, port_value: 0 } } }),
  };
}
