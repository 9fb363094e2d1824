import { keysOf, kindOf } from './rule-keys.ts';
import type { Rule } from './types.ts';

/**
 * Rules by what they ask of a request, so that those that cannot match it are not looked at: by the narrowest of
 * who the caller is, the beginning of the path, the host, the port and the addresses. One that has nothing of these
 * stands where every request finds it.
 */
export class RuleIndex<T> {
  readonly #entries: readonly T[];
  /** Places in `#entries`, ascending. */
  readonly #places = new Map<string, number[]>();
  /** What must be known of a request to find its rules: see `kindOf`. */
  readonly kinds: ReadonlySet<string>;

  /** @param ruleOf undefined: it matches nothing */
  constructor(entries: readonly T[], ruleOf: (entry: T) => Rule | undefined) {
    this.#entries = entries;
    for (const [place, entry] of entries.entries()) {
      const rule = ruleOf(entry);
      if (rule === undefined) continue;
      for (const id of keysOf(rule)) {
        const places = this.#places.get(id);
        if (places === undefined) this.#places.set(id, [place]);
        else places.push(place);
      }
    }
    this.kinds = new Set([...this.#places.keys()].map(kindOf));
  }

  /**
   * In the order given: all that match a request, and some that do not.
   * @param shown see `shownBy`
   */
  *candidates(shown: readonly string[]): Generator<T, void, void> {
    const lists = shown.flatMap((id) => {
      const places = this.#places.get(id);
      return places === undefined ? [] : [{ places, at: 0 }];
    });
    for (;;) {
      let next = Infinity;
      for (const { places, at } of lists) next = Math.min(next, places[at] ?? Infinity);
      const entry = this.#entries[next];
      if (entry === undefined) return;
      yield entry;
      for (const list of lists) if (list.places[list.at] === next) list.at += 1;
    }
  }
}
