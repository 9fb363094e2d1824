import type { SidecarIdentity } from './sidecar.ts';

/** What the fleet's process is asked. Times are of the monotonic clock. */
export type FleetProtocol = {
  /** All sidecars connect at once; answered when each holds everything. */
  readonly open: readonly [FleetTarget, Opened];
  /** From now on, notes when each sidecar receives a message that contains this text. */
  readonly expect: readonly [string, undefined];
  /** Answered when all have received it. */
  readonly arrived: readonly [undefined, Arrived];
  /** With a `fallbackPort`: answered when every sidecar has lost its stream, and holds everything again there. */
  readonly returned: readonly [undefined, Returned];
  readonly close: readonly [undefined, undefined];
  /** So many TLS handshakes, and nothing else, all at once. */
  readonly handshakes: readonly [
    Omit<FleetTarget, 'sidecars' | 'fallbackPort'> & { readonly count: number },
    undefined,
  ];
};

export interface FleetTarget {
  readonly port: number;
  /** Of the server that sidecars go to whose stream has ended. Absent: that is a failure. */
  readonly fallbackPort?: number;
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

export interface Returned {
  /** When each lost its stream. */
  readonly lostMs: readonly number[];
  /** When each held everything again. */
  readonly completeMs: readonly number[];
  /** Streams that were begun for that: one for each, where the server turned nobody away. */
  readonly tries: number;
}

export interface Arrived {
  /** In the order of the sidecars. */
  readonly atMs: readonly number[];
  /** What one of them received. */
  readonly message: Uint8Array;
}

export const fleetScript: URL = new URL('fleet-process.ts', import.meta.url);
