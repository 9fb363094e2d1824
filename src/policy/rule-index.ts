import type { Facts } from './facts.ts';
import type { Clause, Matcher, Rule, Term } from './types.ts';

/**
 * Rules by what they ask of the caller, so that those that cannot match it are not looked at. A rule stands under
 * each principal, service account, namespace or trust domain that it names exactly. One with a prefix or a suffix
 * of these stands under "proven", for all who proved an identity; any other under "anybody".
 */
export class RuleIndex<T> {
  readonly #entries: readonly T[];
  /** Places in `#entries`, ascending. */
  readonly #places = new Map<string, number[]>();

  /** @param ruleOf undefined: it matches nothing */
  constructor(entries: readonly T[], ruleOf: (entry: T) => Rule | undefined) {
    this.#entries = entries;
    for (const [place, entry] of entries.entries()) {
      const rule = ruleOf(entry);
      if (rule === undefined) continue;
      for (const id of new Set(keysOf(rule).map((key) => key.id))) {
        const places = this.#places.get(id);
        if (places === undefined) this.#places.set(id, [place]);
        else places.push(place);
      }
    }
  }

  /**
   * In the order given: all that match this caller, and some that do not.
   * @param caller see {@link callerKeys}
   */
  *candidates(caller: readonly string[]): Generator<T, void, void> {
    const lists = caller.flatMap((id) => {
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

/** Where the rules stand that may match a caller. */
export function callerKeys(facts: Facts): readonly string[] {
  if (facts.principal === '') return [ANYBODY.id];
  return [
    ANYBODY.id,
    PROVEN.id,
    `source.principal=${facts.principal}`,
    `source.namespace=${facts.namespace}`,
    `source.serviceAccount=${facts.serviceAccount}`,
    `source.trustDomain=${facts.trustDomain}`,
  ];
}

interface Key {
  readonly id: string;
  /** More: shown by fewer callers. */
  readonly rank: number;
}

const ANYBODY: Key = { id: 'anybody', rank: 0 };
const PROVEN: Key = { id: 'proven', rank: 1 };

/** By the attribute; others say nothing of who the caller is. */
const RANKS: ReadonlyMap<Term['attribute']['kind'], number> = new Map([
  ['source.trustDomain', 2],
  ['source.namespace', 3],
  ['source.serviceAccount', 4],
  ['source.principal', 5],
]);

/** A caller that shows none of them is none that the rule matches. */
function keysOf({ from, when }: Rule): readonly Key[] {
  // Its sources are alternatives, and its conditions hold for all of them.
  const sources = from.length === 0 ? [ANYBODY] : from.flatMap(clauseKeys);
  return narrower(sources, clauseKeys(when));
}

/** All terms must hold, so the narrowest will do. */
function clauseKeys(clause: Clause): readonly Key[] {
  return clause.map(termKeys).reduce(narrower, [ANYBODY]);
}

function narrower(a: readonly Key[], b: readonly Key[]): readonly Key[] {
  const rank = (keys: readonly Key[]): number => Math.min(...keys.map((key) => key.rank));
  return rank(b) > rank(a) ? b : a;
}

function termKeys({ attribute: { kind }, values }: Term): readonly Key[] {
  const rank = RANKS.get(kind);
  return rank === undefined || values.length === 0
    ? [ANYBODY]
    : values.map((matcher) => matcherKey(kind, rank, matcher));
}

function matcherKey(kind: string, rank: number, matcher: Matcher): Key {
  switch (matcher.kind) {
    case 'serviceAccount':
      return { id: `${kind}=${matcher.namespace}/${matcher.name}`, rank };
    case 'exact': {
      const text = kind === 'source.principal' ? `spiffe://${matcher.value}` : matcher.value;
      // Nobody's empty name would be everybody's who has none.
      return text === '' ? ANYBODY : { id: `${kind}=${text}`, rank };
    }
    case 'present':
      return PROVEN;
    case 'prefix':
    case 'suffix':
      return matcher.value === '' ? ANYBODY : PROVEN;
    default:
      return ANYBODY;
  }
}
