import type { DiscoveryLimits } from './types.ts';

/** Counts admissions under way and streams of each client. */
export class Gate {
  readonly #limits: DiscoveryLimits;
  readonly #streams: Map<string, number> = new Map();
  #admissions = 0;

  constructor(limits: DiscoveryLimits) {
    this.#limits = limits;
  }

  /** @returns false where too many are being admitted; otherwise `leaveAdmission` must follow. */
  enterAdmission(): boolean {
    if (this.#admissions >= this.#limits.maxConcurrentAdmissions) return false;
    this.#admissions += 1;
    return true;
  }

  leaveAdmission(): void {
    this.#admissions -= 1;
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
