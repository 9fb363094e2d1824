/** Absolute paths of files to look at; `all`: the whole tree. */
export type LookRequest = ReadonlySet<string> | 'all';

/** After an event: long enough to gather its companions, short enough not to be felt. */
const GATHER_MS = 2;
/** How long a file that is written in place, or is gone, must stand still. */
const SETTLE_MS = 10;

/** When to look at what. Looks never overlap; what is asked for during one is done in the next. */
export class LookSchedule {
  readonly #look: (request: LookRequest) => Promise<void>;
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #poller: NodeJS.Timeout;
  #wanted: Set<string> | 'all' | undefined;
  #gathering = false;
  #running: Promise<void> | undefined;
  #closed = false;

  /** @param look must not reject */
  constructor(look: (request: LookRequest) => Promise<void>, pollMs: number) {
    this.#look = look;
    this.#poller = setInterval(() => {
      this.soon('all');
    }, pollMs);
    this.#poller.unref();
  }

  /** Looks at this path, or at all, within milliseconds. */
  soon(path: string): void {
    this.#want(path);
    if (this.#gathering || this.#closed) return;
    this.#gathering = true;
    this.#after(GATHER_MS, () => {
      this.#gathering = false;
      this.#start();
    });
  }

  /** Looks again when what is being written should stand still. */
  whenSettled(path: string): void {
    this.later(path, SETTLE_MS);
  }

  later(path: string, ms: number): void {
    this.#after(ms, () => {
      this.#want(path);
      this.#start();
    });
  }

  /** Resolves when the look under way, if any, has ended; there will be no other. */
  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#poller);
    for (const timer of this.#timers) clearTimeout(timer);
    await this.#running;
  }

  #want(path: string): void {
    if (path === 'all' || this.#wanted === 'all') this.#wanted = 'all';
    else this.#wanted = (this.#wanted ?? new Set()).add(path);
  }

  #start(): void {
    if (this.#running !== undefined || this.#closed || this.#wanted === undefined) return;
    const request = this.#wanted;
    this.#wanted = undefined;
    this.#running = this.#look(request).finally(() => {
      this.#running = undefined;
      this.#start();
    });
  }

  #after(ms: number, act: () => void): void {
    if (this.#closed) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      act();
    }, ms);
    timer.unref();
    this.#timers.add(timer);
  }
}
