/** Until when the files that were written in place hold what they name no more. */
export class Holds {
  readonly #until = new Map<string, number>();
  readonly #nowMs: () => number;
  readonly #holdMs: number;

  constructor(nowMs: () => number, holdMs: number) {
    this.#nowMs = nowMs;
    this.#holdMs = holdMs;
  }

  /** Begins anew where it had begun. */
  begin(file: string): void {
    this.#until.set(file, this.#nowMs() + this.#holdMs);
  }

  end(file: string): void {
    this.#until.delete(file);
  }

  /** Milliseconds that are left; 0: it is over. */
  left(file: string): number {
    const left = (this.#until.get(file) ?? 0) - this.#nowMs();
    // More than ever: the clock was set back.
    return left > this.#holdMs ? 0 : Math.max(0, left);
  }
}
