interface Flushable {
  flush(): void;
}

/**
 * How many streams are flushed in one turn. What was written leaves only when the turn is over, so one turn for
 * all would keep the first stream waiting for the last, and everything else in the process for both.
 */
const STREAMS_A_TURN = 32;

/**
 * Streams with something due, flushed once the running task and what it set off are over: all changes of one tick
 * leave in one response a type, whoever made them. In the order in which they asked, some in each turn.
 */
export class Flusher {
  readonly #soon: (run: () => void) => void;
  readonly #wanted: Set<Flushable> = new Set();
  #scheduled = false;

  constructor(soon: (run: () => void) => void) {
    this.#soon = soon;
  }

  want(stream: Flushable): void {
    this.#wanted.add(stream);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#soon(() => this.#run());
  }

  #run(): void {
    this.#scheduled = false;
    const turn: Flushable[] = [];
    for (const stream of this.#wanted) {
      if (turn.length === STREAMS_A_TURN) break;
      turn.push(stream);
      this.#wanted.delete(stream);
    }
    if (this.#wanted.size > 0) this.#schedule();
    for (const stream of turn) stream.flush();
  }
}
