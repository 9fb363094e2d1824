/** An SVID that is to be made. */
export interface Order {
  /** When the SVID ends that it replaces, ms since the epoch; Infinity: there is none yet. */
  readonly endsMs: number;
  /** Must not throw. */
  readonly run: () => void;
}

export interface IssuanceQueueOptions {
  /** Monotonic; milliseconds and parts of them. */
  readonly ticks: () => number;
  /** How much of one turn of the event loop goes into issuing, ms. */
  readonly sliceMs: number;
  /** Calls back in a later turn, after what has arrived meanwhile was looked at. */
  readonly nextTurn: (run: () => void) => void;
  /** Told of each order that had to wait: for how long, ms. */
  readonly onWaited: (ms: number) => void;
}

/**
 * Who is issued to, and when. While there is time, at once. When more is asked for than a turn of the event loop has
 * time for, renewals go before first SVIDs, and of the renewals the one whose SVID ends soonest: a sidecar that waits
 * for its first serves nobody yet, one whose SVID ends stops serving.
 */
export class IssuanceQueue {
  readonly #options: IssuanceQueueOptions;
  /** The next is the last one. */
  #waiting: Order[] = [];
  #arrived: Order[] = [];
  #spentMs = 0;
  #scheduled = false;

  constructor(options: IssuanceQueueOptions) {
    this.#options = options;
  }

  /** Orders that wait. */
  get size(): number {
    return this.#waiting.length + this.#arrived.length;
  }

  /** Runs it before this returns, where there is time; else later. */
  submit(order: Order): void {
    if (this.size === 0 && this.#spentMs < this.#options.sliceMs) this.#run(order);
    else this.#arrived.push({ ...order, run: this.#timed(order.run) });
    this.#schedule();
  }

  /** Forgets what waits. */
  close(): void {
    this.#waiting = [];
    this.#arrived = [];
  }

  #timed(run: () => void): () => void {
    const { ticks, onWaited } = this.#options;
    const sinceMs = ticks();
    return (): void => {
      onWaited(ticks() - sinceMs);
      run();
    };
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#options.nextTurn(this.#turn);
  }

  readonly #turn = (): void => {
    this.#scheduled = false;
    this.#spentMs = 0;
    if (this.#arrived.length > 0) {
      // The sort is stable: of first SVIDs, whoever came first is last here, and so next.
      this.#waiting = [...this.#arrived.toReversed(), ...this.#waiting].toSorted(soonestLast);
      this.#arrived = [];
    }
    while (this.#spentMs < this.#options.sliceMs) {
      const order = this.#waiting.pop();
      if (order === undefined) break;
      this.#run(order);
    }
    if (this.#spentMs > 0 || this.size > 0) this.#schedule();
  };

  #run(order: Order): void {
    const before = this.#options.ticks();
    order.run();
    this.#spentMs += this.#options.ticks() - before;
  }
}

/** Two that have no end are alike: Infinity less itself is no number. */
function soonestLast(a: Order, b: Order): number {
  return a.endsMs === b.endsMs ? 0 : b.endsMs - a.endsMs;
}
