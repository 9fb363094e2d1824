export interface RequestRateOptions {
  /** Requests of one workload in a minute, at once or spread. Infinity: as many as it likes. */
  readonly perMinute: number;
  /** Monotonic, ms. */
  readonly ticks: () => number;
}

const MINUTE_MS = 60_000;
/** Workloads whose allowance is known at once; those that have all of theirs are forgotten beyond it. */
const TIDY_ABOVE = 10_000;

/** Bounds how often one workload is signed for: an agent asks twice in the life of an SVID, one in a loop asks always. */
export class RequestRate {
  readonly #options: RequestRateOptions;
  readonly #everyMs: number;
  /** By workload, when all of its allowance is there again: each request moves it on by one share of a minute. */
  readonly #fullAtMs = new Map<string, number>();
  #tidyAbove = TIDY_ABOVE;

  constructor(options: RequestRateOptions) {
    this.#options = options;
    this.#everyMs = MINUTE_MS / options.perMinute;
  }

  /** Whether it was served, and not so long ago that it is forgotten. */
  knows(workload: string): boolean {
    return this.#fullAtMs.has(workload);
  }

  /** Counts one request. @returns 0: it may be served; else after how many ms the next one may */
  take(workload: string): number {
    const nowMs = this.#options.ticks();
    const fullAtMs = Math.max(this.#fullAtMs.get(workload) ?? 0, nowMs) + this.#everyMs;
    const tooEarlyMs = fullAtMs - MINUTE_MS - nowMs;
    // Shares of a minute do not add up to it exactly.
    if (tooEarlyMs > 1e-6) return Math.ceil(tooEarlyMs);
    this.#fullAtMs.set(workload, fullAtMs);
    this.#tidy(nowMs);
    return 0;
  }

  #tidy(nowMs: number): void {
    if (this.#fullAtMs.size <= this.#tidyAbove) return;
    for (const [workload, fullAtMs] of this.#fullAtMs) if (fullAtMs <= nowMs) this.#fullAtMs.delete(workload);
    this.#tidyAbove = Math.max(TIDY_ABOVE, 2 * this.#fullAtMs.size);
  }
}
