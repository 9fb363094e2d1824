import type { PeerChain } from '../resource-types.ts';
import { accessLog, refusedLog, type Way } from './access-log.ts';
import { judgingFilters, peerFilter } from './filters.ts';
import { downstreamTls } from './tls.ts';
import type { BootstrapOptions, Endpoint, Inbound, JsonObject, ListenerProtocol, Outbound } from './types.ts';

const router: JsonObject = {
  name: 'envoy.filters.http.router',
  typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' },
};

/** Without it Envoy tells mTLS and plaintext not apart, and knows no SNI for rules on `connection.sni`. */
const tlsInspector: JsonObject = {
  name: 'envoy.filters.listener.tls_inspector',
  typed_config: {
    '@type': 'type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector',
  },
};

/** In front of all that reads bytes. A connection without the header is refused. */
const proxyProtocol: JsonObject = {
  name: 'envoy.filters.listener.proxy_protocol',
  typed_config: {
    '@type': 'type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol',
  },
};

export function socketAddress(endpoint: Endpoint): JsonObject {
  return { socket_address: { address: endpoint.address, port_value: endpoint.port } };
}

export function listenerName(direction: 'inbound' | 'outbound', listen: Endpoint): string {
  return `${direction}|${listen.address}|${listen.port}`;
}

/** HTTP/1.1 and HTTP/2; paths are normalized before they are judged, and forwarded as they were judged. */
function httpManager(
  options: BootstrapOptions,
  way: Way,
  cluster: string,
  filters: readonly JsonObject[],
): JsonObject {
  return {
    name: 'envoy.filters.network.http_connection_manager',
    typed_config: {
      '@type':
        'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
      stat_prefix: cluster,
      codec_type: 'AUTO',
      normalize_path: true,
      merge_slashes: true,
      // What `%2F` means differs between servers: a path that cannot be judged is refused.
      path_with_escaped_slashes_action: 'REJECT_REQUEST',
      common_http_protocol_options: {
        max_connection_duration: `${options.maxConnectionSeconds}s`,
        // A name with `_` may be read as one with `-` behind us, past a rule that looks at the header.
        headers_with_underscores_action: 'REJECT_REQUEST',
      },
      // What inbound peers say about a client further away is not proven, unless proxies in front are trusted.
      ...(way !== 'outbound'
        ? {
            use_remote_address: true,
            ...(options.trustedHops === undefined || options.trustedHops === 0
              ? {}
              : { xff_num_trusted_hops: options.trustedHops }),
            forward_client_cert_details: 'SANITIZE_SET',
            set_current_client_cert_details: { uri: true },
          }
        : { use_remote_address: false }),
      route_config: {
        name: cluster,
        virtual_hosts: [
          {
            name: 'all',
            domains: ['*'],
            routes: [{ match: { prefix: '/' }, route: { cluster, timeout: '0s' } }],
          },
        ],
      },
      http_filters: [...filters, router],
      access_log: accessLog(options, 'http', way),
    },
  };
}

function tcpProxy(options: BootstrapOptions, way: Way, cluster: string): JsonObject {
  return {
    name: 'envoy.filters.network.tcp_proxy',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy',
      stat_prefix: cluster,
      cluster,
      max_downstream_connection_duration: `${options.maxConnectionSeconds}s`,
      // Network RBAC judges with the first bytes of the caller. Until then the app must not be reached: one that
      // speaks first would greet a caller whom no rule allows. (So a protocol in which the caller waits for that
      // greeting does not pass.)
      ...(way !== 'outbound'
        ? { upstream_connect_mode: 'ON_DOWNSTREAM_DATA', max_early_data_bytes: 65_536 }
        : {}),
      access_log: accessLog(options, 'tcp', way),
    },
  };
}

const alpn: Readonly<Record<ListenerProtocol, readonly string[]>> = { http: ['h2', 'http/1.1'], tcp: [] };

/**
 * Two chains, the same behind their first filter: one for peers that come by mTLS, one for all others. Which of them
 * may be used is the first filter's to say, so that a PeerAuthentication changes it without draining the listener.
 */
export function inboundListener(options: BootstrapOptions, inbound: Inbound, cluster: string): JsonObject {
  const { protocol } = inbound;
  const filters = (chain: PeerChain): readonly JsonObject[] => [
    peerFilter(chain),
    ...(protocol === 'http'
      ? [httpManager(options, chain, cluster, judgingFilters('http'))]
      : [...judgingFilters('tcp'), tcpProxy(options, chain, cluster)]),
  ];
  return {
    name: listenerName('inbound', inbound.listen),
    address: socketAddress(inbound.listen),
    listener_filters: options.proxyProtocol === true ? [proxyProtocol, tlsInspector] : [tlsInspector],
    filter_chains: [
      {
        name: 'mtls',
        filter_chain_match: { transport_protocol: 'tls' },
        transport_socket: downstreamTls(options, alpn[protocol]),
        filters: filters('mtls'),
      },
    ],
    default_filter_chain: { name: 'plaintext', filters: filters('plaintext') },
    // Of connections that were refused before there was a request; TCP ones have a line anyway.
    ...(protocol === 'http' ? { access_log: refusedLog(options) } : {}),
  };
}

export function outboundListener(options: BootstrapOptions, outbound: Outbound, cluster: string): JsonObject {
  return {
    name: listenerName('outbound', outbound.listen),
    address: socketAddress(outbound.listen),
    filter_chains: [
      {
        filters: [
          outbound.protocol === 'http'
            ? httpManager(options, 'outbound', cluster, [])
            : tcpProxy(options, 'outbound', cluster),
        ],
      },
    ],
  };
}
