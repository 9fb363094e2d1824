import type { DiscoveryLimits } from './types.ts';

/** Counts the streams of each client. */
export class Gate {
  readonly #limits: DiscoveryLimits;
  readonly #streams: Map<string, number> = new Map();

  constructor(limits: DiscoveryLimits) {
    this.#limits = limits;
  }

  /** @returns false where this client has too many; otherwise `leave` must follow, once its transport is gone. */
  enter(client: string): boolean {
    const streams = this.#streams.get(client) ?? 0;
    if (streams >= this.#limits.maxStreamsPerClient) return false;
    this.#streams.set(client, streams + 1);
    return true;
  }

  leave(client: string): void {
    const streams = (this.#streams.get(client) ?? 0) - 1;
    if (streams > 0) this.#streams.set(client, streams);
    else this.#streams.delete(client);
  }
}
