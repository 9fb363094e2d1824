export { JwksError, type JwksErrorCode } from './errors.ts';
export { JwksKeeper } from './keeper.ts';
export type {
  After,
  JwksFetched,
  JwksKeeperOptions,
  JwksLimits,
  JwksObserver,
  JwksStatus,
  Resolve,
  ResolvedAddress,
} from './types.ts';
