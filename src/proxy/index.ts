export * from './bootstrap/index.ts';
export { ResourceEncoder, type EncodedResource } from './encoder.ts';
export { FilterCache, type FilterSet } from './filters.ts';
export { Proxies, type ProxiesObserver, type ProxyLease, type Workload } from './proxies.ts';
export {
  EXTENSION_CONFIG_TYPE,
  filterNames,
  pushOrder,
  SECRET_TYPE,
  type FilterName,
} from './resource-types.ts';
export type { IssueReason } from './svid-keeper.ts';
export { WorkloadProxy } from './workload-proxy.ts';
