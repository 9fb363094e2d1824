/** Which names have to be looked at again. Never grows past `bound`: then it is all of them. */
export class Dirt {
  #names: Set<string> | 'all' | undefined;

  get clean(): boolean {
    return this.#names === undefined;
  }

  all(): void {
    this.#names = 'all';
  }

  add(name: string, bound: number): void {
    if (this.#names === 'all') return;
    this.#names ??= new Set();
    this.#names.add(name);
    if (this.#names.size > bound) this.#names = 'all';
  }

  /** @returns the names, or `undefined` for all; clean afterwards. */
  take(): ReadonlySet<string> | undefined {
    const names = this.#names;
    this.#names = undefined;
    return names === 'all' ? undefined : (names ?? new Set());
  }
}
