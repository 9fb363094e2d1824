/** What a connection may cost beyond its calls, at once. */
const BURST = 1_000;
const PER_SECOND = 50;
/** A call that was answered pays for what clients send around one. */
const PER_CALL = 8;

/** What clients may do that costs us work and them nothing: as much as good ones do, and little more. */
export class Budget {
  readonly #ticks: () => number;
  #left: number = BURST;
  #countedAtMs: number;

  /** @param ticks monotonic, ms */
  constructor(ticks: () => number) {
    this.#ticks = ticks;
    this.#countedAtMs = ticks();
  }

  /** @returns whether it was there */
  take(cost: number): boolean {
    this.#left -= cost;
    if (this.#left >= 0) return true;
    const nowMs = this.#ticks();
    this.#left = Math.min(BURST, this.#left + ((nowMs - this.#countedAtMs) / 1_000) * PER_SECOND);
    this.#countedAtMs = nowMs;
    return this.#left >= 0;
  }

  callFinished(): void {
    if (this.#left < BURST) this.#left += PER_CALL;
  }
}
