import { appCluster, clusterOfAuthorizer, upstreamCluster } from './clusters.ts';
import { inboundListener, listenerName, outboundListener, socketAddress } from './listeners.ts';
import type { BootstrapOptions, JsonObject } from './types.ts';
import { adsConfig } from './xds.ts';

export { parseInbound, parseOutbound, parseEndpoint, BootstrapError } from './parse.ts';
export type { BootstrapOptions, Endpoint, Inbound, JsonObject, ListenerProtocol, Outbound } from './types.ts';

/** A flood of connections must not take the memory of the pod that the sidecar lives in. */
const connectionLimit: JsonObject = {
  name: 'envoy.resource_monitors.global_downstream_max_connections',
  typed_config: {
    '@type':
      'type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig',
    max_active_downstream_connections: 20_000,
  },
};

/** A complete Envoy v3 bootstrap: with it, the token file and the CA file, Envoy needs nothing else. */
export function bootstrap(options: BootstrapOptions): JsonObject {
  const inbound = options.inbound.map((spec) => ({ spec, name: listenerName('inbound', spec.listen) }));
  const outbound = options.outbound.map((spec) => ({ spec, name: listenerName('outbound', spec.listen) }));
  return {
    node: { id: options.pod, cluster: options.pod.split('/')[0] ?? '' },
    admin: { address: socketAddress({ address: '127.0.0.1', port: options.adminPort }) },
    overload_manager: { resource_monitors: [connectionLimit] },
    dynamic_resources: { ads_config: adsConfig(options) },
    static_resources: {
      listeners: [
        ...inbound.map(({ spec, name }) => inboundListener(options, spec, name)),
        ...outbound.map(({ spec, name }) => outboundListener(options, spec, name)),
      ],
      clusters: [
        ...inbound.map(({ spec, name }) => appCluster(options, spec, name)),
        ...outbound.map(({ spec, name }) => upstreamCluster(options, spec, name)),
        ...options.authorizers.map((authorizer) => clusterOfAuthorizer(options, authorizer)),
      ],
    },
  };
}
