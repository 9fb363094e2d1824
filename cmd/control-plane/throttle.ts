import type { After } from '../../src/discovery/index.ts';

/** Told of one origin at once, while it was quiet before: a fault shows with all of its causes. */
const BURST = 20;
const EVERY_MS = 1_000;
/** Origins known at once; whoever comes on top shares one allowance. */
const MAX_ORIGINS = 1_024;

interface Origin {
  /** Of its burst. */
  spent: number;
  /** What was not told yet, all together, and how the last of it is told. */
  waiting: number;
  last: { readonly weight: number; readonly write: Write } | undefined;
}

/** @param leftOut the weight of what was not told since this origin's last write */
export type Write = (leftOut: number) => void;

const timerAfter: After = (delayMs, run) => {
  const timer = setTimeout(run, delayMs).unref();
  return (): void => clearTimeout(timer);
};

/**
 * Bounds how often is written what a caller can make happen at will, origin by origin: a burst at once, then one a
 * second. What was too much is counted, and the last of it is written with that count within a second or so, so
 * that every weight is told or counted exactly once.
 */
export class Throttle {
  readonly #after: After;
  readonly #origins: Map<string, Origin> = new Map();
  #cancel: (() => void) | undefined;

  constructor(after: After = timerAfter) {
    this.#after = after;
  }

  /**
   * @param weight how much `write` tells of, in the unit of `leftOut`
   * @param write called now, later, or, if more comes before that, never
   */
  tell(name: string, weight: number, write: Write): void {
    const origin = this.#originOf(name);
    if (origin.spent < BURST) {
      origin.spent += 1;
      write(0);
      return;
    }
    origin.waiting += weight;
    origin.last = { weight, write };
  }

  /** Tells what was left out so far. */
  close(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    for (const origin of this.#origins.values()) tellLast(origin);
    this.#origins.clear();
  }

  #originOf(name: string): Origin {
    const key = this.#origins.has(name) || this.#origins.size < MAX_ORIGINS ? name : '';
    const known = this.#origins.get(key);
    if (known !== undefined) return known;
    const origin = { spent: 0, waiting: 0, last: undefined };
    this.#origins.set(key, origin);
    this.#cancel ??= this.#after(EVERY_MS, this.#refill);
    return origin;
  }

  readonly #refill = (): void => {
    this.#cancel = undefined;
    for (const [name, origin] of this.#origins) {
      origin.spent -= 1;
      if (tellLast(origin)) origin.spent += 1;
      if (origin.spent === 0) this.#origins.delete(name);
    }
    if (this.#origins.size > 0) this.#cancel = this.#after(EVERY_MS, this.#refill);
  };
}

/** @returns whether there was something */
function tellLast(origin: Origin): boolean {
  const { last, waiting } = origin;
  if (last === undefined) return false;
  origin.last = undefined;
  origin.waiting = 0;
  last.write(waiting - last.weight);
  return true;
}
