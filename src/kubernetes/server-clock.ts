export interface ServerClockOptions {
  /** The own clock, which somebody may set. */
  readonly wallMs: () => number;
  /** A clock that only goes forward. */
  readonly monotonicMs: () => number;
  /** How far the own clock may be from the API server's, either way. */
  readonly mostSkewMs: number;
}

/** HTTP's dates have whole seconds. */
const SECOND = 1_000;

/**
 * What time it is at the API server: by the `Date` of its last answer (RFC 9110 section 6.6.1) and what has passed
 * since by a clock that nobody sets. A clock of our own that jumps is noticed so, with the API server away too.
 */
export class ServerClock {
  readonly #options: ServerClockOptions;
  #heard: { readonly dateMs: number; readonly atMs: number } | undefined;

  constructor(options: ServerClockOptions) {
    this.#options = options;
  }

  /** An answer came, now, with this date. */
  heard(date: string): void {
    const dateMs = Date.parse(date);
    if (!Number.isNaN(dateMs)) this.#heard = { dateMs, atMs: this.#options.monotonicMs() };
  }

  /** How far the own clock is ahead of the API server's; to the second, and to the time that an answer takes. */
  get skewMs(): number {
    const { wallMs, monotonicMs } = this.#options;
    const heard = this.#heard;
    if (heard === undefined) return 0;
    const skewMs = wallMs() - (heard.dateMs + monotonicMs() - heard.atMs);
    // Its second may be at its end.
    return skewMs > 0 ? Math.max(0, skewMs - SECOND) : skewMs;
  }

  /** The later of the two clocks: by it nothing lives longer than either says. */
  laterMs(): number {
    return this.#options.wallMs() + Math.max(0, -this.skewMs);
  }

  /** Why nothing may be dated by the own clock, for people. Undefined: it may. */
  fault(): string | undefined {
    const { mostSkewMs } = this.#options;
    const skewMs = this.skewMs;
    if (Math.abs(skewMs) <= mostSkewMs) return undefined;
    const way = skewMs > 0 ? 'ahead of' : 'behind';
    return `the clock is ${Math.round(Math.abs(skewMs) / SECOND)} s ${way} the API server's, and at most ${mostSkewMs / SECOND} s are allowed: set one of them right`;
  }
}
