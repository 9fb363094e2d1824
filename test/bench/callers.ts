import type { FleetTarget } from './fleet.ts';

/** What the process of the callers is asked. */
export type CallersProtocol = {
  /** Each caller has a connection of its own. */
  readonly open: readonly [CallersTarget, undefined];
  /** Each asks again as soon as it is answered, until there were so many answers, all good. */
  readonly call: readonly [number, undefined];
  readonly close: readonly [undefined, undefined];
};

export interface CallersTarget extends FleetTarget {
  /** PEM certificate requests: the n-th is the n-th sidecar's. */
  readonly requests: readonly string[];
}

export const callersScript: URL = new URL('callers-process.ts', import.meta.url);
