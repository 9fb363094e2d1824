export * from './bootstrap/index.ts';
export { ResourceEncoder, type EncodedResource } from './encoder.ts';
export type { FilterCacheOptions, FilterSet } from './filters.ts';
export { Proxies } from './proxies.ts';
export type { ProxiesObserver, ProxyLease, Workload } from './proxies-types.ts';
export {
  EXTENSION_CONFIG_TYPE,
  filterNames,
  pushOrder,
  SECRET_TYPE,
  type FilterName,
} from './resource-types.ts';
export type { IssueReason } from './svid-keeper.ts';
export { WorkloadFilters } from './workload-filters.ts';
export { WorkloadProxy } from './workload-proxy.ts';
