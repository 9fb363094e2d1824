/** What was found lately, under a bound: the least recently used goes first, and nothing is kept beyond its time. */
export class RecentCache<T> {
  readonly #entries = new Map<string, { readonly value: T; readonly untilMs: number }>();
  readonly #options: { readonly maxEntries: number; readonly maxAgeMs: number; readonly nowMs: () => number };

  constructor(options: { maxEntries: number; maxAgeMs: number; nowMs: () => number }) {
    this.#options = options;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: string): T | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    if (this.#options.nowMs() >= entry.untilMs) return undefined;
    // A Map keeps the order of insertion: put back, it is the most recent.
    this.#entries.set(key, entry);
    return entry.value;
  }

  set(key: string, value: T): void {
    this.#entries.delete(key);
    this.#entries.set(key, { value, untilMs: this.#options.nowMs() + this.#options.maxAgeMs });
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= this.#options.maxEntries) break;
      this.#entries.delete(oldest);
    }
  }
}
