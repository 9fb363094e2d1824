import type { SidecarIdentity } from './sidecar.ts';

/** What the fleet's process is asked. Times are of the monotonic clock. */
export type FleetProtocol = {
  /** All sidecars connect at once; answered when each holds everything. */
  readonly open: readonly [FleetTarget, Opened];
  /** From now on, notes when each sidecar receives a message that contains this text. */
  readonly expect: readonly [string, undefined];
  /** Answered when all have received it. */
  readonly arrived: readonly [undefined, Arrived];
  readonly close: readonly [undefined, undefined];
  /** So many TLS handshakes, and nothing else, all at once. */
  readonly handshakes: readonly [Omit<FleetTarget, 'sidecars'> & { readonly count: number }, undefined];
};

export interface FleetTarget {
  readonly port: number;
  readonly serverName: string;
  /** PEM. */
  readonly authorities: string;
  readonly sidecars: readonly SidecarIdentity[];
}

export interface Opened {
  readonly startedMs: number;
  /** When each held everything. */
  readonly completeMs: readonly number[];
  /** The messages that the first sidecar received. */
  readonly messages: readonly Uint8Array[];
}

export interface Arrived {
  readonly atMs: readonly number[];
  /** What one of them received. */
  readonly message: Uint8Array;
}

export const fleetScript: URL = new URL('fleet-process.ts', import.meta.url);
