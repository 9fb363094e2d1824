/** A stream with something due. */
export interface Flushable {
  /** What it shows. Streams of one view are flushed in one turn. */
  readonly view: object;
  flush(): void;
}

/**
 * How many streams are flushed in one turn, more only where one view has more. What was written leaves only when the turn is over, so one turn for
 * all would keep the first stream waiting for the last, and everything else in the process for both.
 */
const STREAMS_A_TURN = 32;

/**
 * Streams with something due, flushed once the running task and what it set off are over: all changes of one tick
 * leave in one response a type, whoever made them. View by view in the order in which they asked, some in each turn;
 * those of one view together, so that a workload gets an identity and the bundle above it at once, on two streams.
 */
export class Flusher {
  readonly #soon: (run: () => void) => void;
  readonly #wanted: Map<object, Set<Flushable>> = new Map();
  #scheduled = false;

  constructor(soon: (run: () => void) => void) {
    this.#soon = soon;
  }

  want(stream: Flushable): void {
    const ofView = this.#wanted.get(stream.view);
    if (ofView === undefined) this.#wanted.set(stream.view, new Set([stream]));
    else ofView.add(stream);
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
    for (const [view, streams] of this.#wanted) {
      if (turn.length > 0 && turn.length + streams.size > STREAMS_A_TURN) break;
      turn.push(...streams);
      this.#wanted.delete(view);
    }
    if (this.#wanted.size > 0) this.#schedule();
    for (const stream of turn) stream.flush();
  }
}
