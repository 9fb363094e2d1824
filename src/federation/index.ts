export { FederationError, type FederationErrorCode } from './errors.ts';
export { openBundleEndpoint, type BundleEndpoint, type EndpointCredentials } from './endpoint.ts';
export { FederationKeeper } from './keeper.ts';
export type {
  EndpointProfile,
  FederatedDomain,
  FederationObserver,
  FederationOptions,
  FederationStatus,
} from './types.ts';
