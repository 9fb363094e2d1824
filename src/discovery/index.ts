export { credentialsFrom, credentialsOf } from './credentials.ts';
export { DiscoveryError } from './errors.ts';
export type { DiscoveryErrorCode } from './errors.ts';
export { discoveryCodec } from './codec.ts';
export type { Codec, DiscoveryCodecs } from './codec.ts';
export type { DeltaDiscoveryRequest, DiscoveryRequest, NameError, Outgoing } from './messages.ts';
export { discoveryServices } from './server.ts';
export type { DiscoveryServices, DiscoveryOptions, DiscoveryService } from './server.ts';
export type { After } from './lifetime.ts';
export { statusObject, statusOf, type GrpcStatus } from './status.ts';
export type {
  AckEvent,
  Admission,
  Authenticator,
  Credentials,
  DiscoveryLimits,
  DiscoveryObserver,
  Lookup,
  PushEvent,
  RefusedName,
  Resource,
  ResourceStatus,
  Session,
  StreamEnd,
  StreamEvent,
  StreamStatus,
  TypeStatus,
  View,
  ViewChange,
} from './types.ts';
