import type * as grpc from '@grpc/grpc-js';

export const SECRET_TYPE = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret';
export const EXTENSION_CONFIG_TYPE = 'type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig';

export type Variants = 'sotw' | 'delta' | 'fetch';

export interface XdsMethod {
  readonly name: string;
  readonly variant: Variants;
}

export interface XdsService {
  /** The gRPC service's full name. */
  readonly name: string;
  /** `undefined`: aggregated, any type. */
  readonly onlyType: string | undefined;
  readonly methods: readonly XdsMethod[];
}

/** What is served, with Envoy's names. */
export const XDS_SERVICES: readonly XdsService[] = [
  {
    name: 'envoy.service.discovery.v3.AggregatedDiscoveryService',
    onlyType: undefined,
    methods: [
      { name: 'StreamAggregatedResources', variant: 'sotw' },
      { name: 'DeltaAggregatedResources', variant: 'delta' },
    ],
  },
  {
    name: 'envoy.service.secret.v3.SecretDiscoveryService',
    onlyType: SECRET_TYPE,
    methods: [
      { name: 'StreamSecrets', variant: 'sotw' },
      { name: 'DeltaSecrets', variant: 'delta' },
      { name: 'FetchSecrets', variant: 'fetch' },
    ],
  },
  {
    name: 'envoy.service.extension.v3.ExtensionConfigDiscoveryService',
    onlyType: EXTENSION_CONFIG_TYPE,
    methods: [
      { name: 'StreamExtensionConfigs', variant: 'sotw' },
      { name: 'DeltaExtensionConfigs', variant: 'delta' },
      { name: 'FetchExtensionConfigs', variant: 'fetch' },
    ],
  },
];

/** Messages cross grpc-js as the bytes they are: the engine decodes with its own limit, and encodes once. */
export function serviceDefinition(service: XdsService): grpc.ServiceDefinition {
  const same = (bytes: Buffer): Buffer => bytes;
  const methods: Record<string, grpc.MethodDefinition<Buffer, Buffer>> = {};
  for (const { name, variant } of service.methods) {
    methods[name] = {
      path: `/${service.name}/${name}`,
      requestStream: variant !== 'fetch',
      responseStream: variant !== 'fetch',
      requestSerialize: same,
      requestDeserialize: same,
      responseSerialize: same,
      responseDeserialize: same,
    };
  }
  return methods;
}
