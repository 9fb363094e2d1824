import { setTimeout as sleep } from 'node:timers/promises';
import type { Lease, LeaseClaim, LeaseObject } from './lease.ts';

/** Milliseconds. */
export interface ElectionTimes {
  /** Who has not renewed for this long is taken to be gone. */
  readonly leaseMs: number;
  /** Who could not renew for this long steps down: well before the others may take over. */
  readonly renewMs: number;
  /** Between two tries. */
  readonly retryMs: number;
}

const TIMES: ElectionTimes = { leaseMs: 15_000, renewMs: 10_000, retryMs: 2_000 };

export interface ElectionOptions {
  readonly lease: Pick<LeaseObject, 'read' | 'write'>;
  /** Of this replica; no two are equal. */
  readonly identity: string;
  /** For what is written down. */
  readonly wallMs: () => number;
  /** A clock that only goes forward: how long something has been so is never told by the wall's. */
  readonly monotonicMs: () => number;
  readonly random: () => number;
  readonly times?: Partial<ElectionTimes>;
  /** This replica leads until `term` is aborted. */
  readonly onElected: (term: AbortSignal) => void;
  readonly onLost: (why: string) => void;
  /** Another replica leads; empty: nobody does. */
  readonly onLeader: (identity: string) => void;
  /** The Lease could not be read or written; it is tried again. Once for each row of failures. */
  readonly onFailing: (error: unknown) => void;
}

/**
 * One of the replicas leads. A Lease is believed by how long it has not been seen to change, never by the times in
 * it: clocks of replicas may differ by any amount.
 */
export class LeaderElection {
  readonly #options: ElectionOptions;
  readonly #times: ElectionTimes;
  #seen: { readonly lease: Lease; readonly atMs: number } | undefined;
  #term: { readonly abort: AbortController; readonly sinceWallMs: number; renewedMs: number } | undefined;
  #leader: string | undefined;
  #failing = false;

  constructor(options: ElectionOptions) {
    this.#options = options;
    this.#times = { ...TIMES, ...options.times };
  }

  get leading(): boolean {
    return this.#term !== undefined;
  }

  /** Until `signal` is aborted; a Lease that is held is then given back. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#turn();
      const { retryMs } = this.#times;
      await sleep(retryMs * (0.9 + this.#options.random() / 5), undefined, { signal, ref: false }).catch(
        () => undefined, // The signal: the loop's own condition sees it.
      );
    }
    await this.#giveBack();
  }

  async #turn(): Promise<void> {
    const { renewMs } = this.#times;
    try {
      await this.#tryToHold();
      this.#failing = false;
    } catch (error) {
      if (!this.#failing) this.#options.onFailing(error);
      this.#failing = true;
    }
    const term = this.#term;
    if (term !== undefined && this.#options.monotonicMs() - term.renewedMs >= renewMs) {
      this.#stepDown(`the Lease could not be renewed for ${renewMs} ms`);
    }
  }

  async #tryToHold(): Promise<void> {
    const { lease, identity, monotonicMs } = this.#options;
    const { renewMs } = this.#times;
    const asked = monotonicMs();
    const found = await lease.read(renewMs / 2);
    this.#look(found);
    if (found !== undefined && found.holder !== '' && found.holder !== identity && !this.#isOver(found)) {
      if (this.#term !== undefined) this.#stepDown(`${found.holder} holds the Lease`);
      return;
    }
    const written = await lease.write(found, this.#claim(found), renewMs / 2);
    // Somebody else was first: the next turn sees who.
    if (written === undefined) return;
    this.#look(written);
    // Held from before it was asked for: a slow answer shortens the term, never lengthens it.
    if (this.#term === undefined) this.#begin(asked);
    else this.#term.renewedMs = asked;
  }

  #claim(found: Lease | undefined): LeaseClaim {
    const { identity, wallMs } = this.#options;
    const now = wallMs();
    const same = found?.holder === identity;
    return {
      holder: identity,
      durationMs: this.#times.leaseMs,
      acquiredAtMs: this.#term?.sinceWallMs ?? now,
      renewedAtMs: now,
      transitions: (found?.transitions ?? 0) + (found === undefined || same ? 0 : 1),
    };
  }

  #look(lease: Lease | undefined): void {
    if (lease === undefined) {
      this.#seen = undefined;
      return;
    }
    const known = this.#seen?.lease;
    if (known?.resourceVersion !== lease.resourceVersion)
      this.#seen = { lease, atMs: this.#options.monotonicMs() };
    if (lease.holder !== this.#leader) {
      this.#leader = lease.holder;
      if (lease.holder !== this.#options.identity) this.#options.onLeader(lease.holder);
    }
  }

  #isOver(found: Lease): boolean {
    const since = this.#seen?.atMs ?? this.#options.monotonicMs();
    return this.#options.monotonicMs() - since >= Math.max(found.durationMs, this.#times.leaseMs);
  }

  #begin(renewedMs: number): void {
    const abort = new AbortController();
    this.#term = { abort, sinceWallMs: this.#options.wallMs(), renewedMs };
    this.#options.onElected(abort.signal);
  }

  #stepDown(why: string): void {
    this.#term?.abort.abort();
    this.#term = undefined;
    this.#options.onLost(why);
  }

  /** So that another replica need not wait until it is over. */
  async #giveBack(): Promise<void> {
    if (this.#term === undefined) return;
    const held = this.#seen?.lease;
    this.#stepDown('this replica stops');
    try {
      const claim = { ...this.#claim(held), holder: '', durationMs: 1_000 };
      await this.#options.lease.write(held, claim, 2_000);
    } catch (error) {
      this.#options.onFailing(error);
    }
  }
}
