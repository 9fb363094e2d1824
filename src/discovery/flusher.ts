interface Flushable {
  flush(): void;
}

/**
 * Streams with something due, flushed together once the running task and what it set off are over: all changes
 * of one tick leave in one response a type, whoever made them, and a thousand streams cost one callback.
 */
export class Flusher {
  readonly #soon: (run: () => void) => void;
  #wanted: Set<Flushable> = new Set();

  constructor(soon: (run: () => void) => void) {
    this.#soon = soon;
  }

  want(stream: Flushable): void {
    if (this.#wanted.size === 0) this.#soon(() => this.#run());
    this.#wanted.add(stream);
  }

  #run(): void {
    const wanted = this.#wanted;
    this.#wanted = new Set();
    for (const stream of wanted) stream.flush();
  }
}
