export { LeaderElection } from './leader-election.ts';
export type { ElectionOptions, ElectionTimes } from './leader-election.ts';
export { LeaseObject } from './lease.ts';
export type { Lease, LeaseClaim } from './lease.ts';
