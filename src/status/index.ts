export { conditionsOf, type Standing } from './conditions.ts';
export { progressOf } from './progress.ts';
export { proxyStates, type Expected } from './proxy-states.ts';
export {
  packReport,
  summarize,
  unpackReport,
  type BundleReport,
  type QuarantineReport,
  type Report,
  type ReportEntry,
  type SvidReport,
} from './report.ts';
export type { Condition, ConditionType, ObjectVersion, Progress, ProxyState } from './types.ts';
