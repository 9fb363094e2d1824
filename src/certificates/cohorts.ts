/** Handled before the event loop turns again: others wait for at most so many. */
export const COHORT_SIZE = 16;
/** That wait, at most: some tenths of a second's work. Whoever comes then had better come back. */
export const MOST_WAITING = 1_024;

/**
 * Collects what comes within one turn of the event loop, and hands it on together at the turn's end, in the order in
 * which it came. What is too much for one cohort has the next turns.
 */
export class Cohorts<T> {
  readonly #handle: (cohort: readonly T[]) => void;
  #waiting: T[] = [];
  #scheduled = false;

  /** @param handle never throws */
  constructor(handle: (cohort: readonly T[]) => void) {
    this.#handle = handle;
  }

  /** Too many wait for one more. */
  get full(): boolean {
    return this.#waiting.length >= MOST_WAITING;
  }

  add(item: T): void {
    this.#waiting.push(item);
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#turn);
  }

  readonly #turn = (): void => {
    const cohort = this.#waiting.splice(0, COHORT_SIZE);
    this.#scheduled = this.#waiting.length > 0;
    if (this.#scheduled) setImmediate(this.#turn);
    this.#handle(cohort);
  };
}
