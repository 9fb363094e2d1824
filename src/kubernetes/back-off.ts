/** Delays before one try after another: doubled each time up to a limit, and spread so that replicas part ways. */
export class BackOff {
  readonly #random: () => number;
  readonly #firstMs: number;
  readonly #mostMs: number;
  #failures = 0;

  constructor(options: { random: () => number; firstMs: number; mostMs: number }) {
    this.#random = options.random;
    this.#firstMs = options.firstMs;
    this.#mostMs = options.mostMs;
  }

  get failures(): number {
    return this.#failures;
  }

  /** Milliseconds, between half of the step and all of it. */
  next(): number {
    const step = Math.min(this.#mostMs, this.#firstMs * 2 ** Math.min(this.#failures, 20));
    this.#failures += 1;
    return step * (0.5 + this.#random() / 2);
  }

  reset(): void {
    this.#failures = 0;
  }
}
