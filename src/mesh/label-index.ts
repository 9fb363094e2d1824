import { satisfies } from '../policy/index.ts';
import type { Labels, PolicySelector, PolicySubject } from './types.ts';

/**
 * Both directions of "which policy selects which pod", as inverted indexes:
 *
 *   SelectorIndex   namespace -> one label pair of the selector -> policies    (asked with a pod's labels)
 *   SubjectIndex    namespace -> each label pair of the pod     -> pods        (asked with a selector)
 *
 * Each answer looks only at the candidates under the pairs in question, never at everything.
 */

/** Joined by NUL, which can be in neither a key nor a value: no two pairs are written alike. */
function pairOf(key: string, value: string): string {
  return `${key}\0${value}`;
}

function pairsOf(labels: Labels): string[] {
  return Object.entries(labels).map(([key, value]) => pairOf(key, value));
}

type Bucket<T> = Map<string, T>;

/** Policies by what they select. Each stands under one pair of its selector only: the least crowded one. */
export class SelectorIndex<T extends PolicySelector> {
  readonly #rootNamespace: string;
  readonly #byNamespace = new Map<string, Map<string, Bucket<T>>>();
  readonly #anchors = new Map<string, { readonly namespace: string; readonly pair: string }>();
  #examined = 0;

  constructor(rootNamespace: string) {
    this.#rootNamespace = rootNamespace;
  }

  /** Candidates looked at since the start: what a lookup really costs. */
  get examined(): number {
    return this.#examined;
  }

  set(key: string, policy: T): void {
    this.delete(key);
    const pairs = this.#byNamespace.get(policy.namespace) ?? new Map<string, Bucket<T>>();
    this.#byNamespace.set(policy.namespace, pairs);
    const pair = leastCrowded(pairsOf(policy.selector), pairs) ?? EVERY;
    const bucket = pairs.get(pair) ?? new Map<string, T>();
    pairs.set(pair, bucket.set(key, policy));
    this.#anchors.set(key, { namespace: policy.namespace, pair });
  }

  delete(key: string): void {
    const anchor = this.#anchors.get(key);
    if (anchor === undefined) return;
    this.#anchors.delete(key);
    dropFrom(this.#byNamespace, anchor.namespace, anchor.pair, key);
  }

  /** The policies that select this subject, those of the root namespace included; in no particular order. */
  matching(subject: PolicySubject): T[] {
    const found: T[] = [];
    const wanted = [EVERY, ...pairsOf(subject.labels)];
    for (const namespace of new Set([subject.namespace, this.#rootNamespace])) {
      const pairs = this.#byNamespace.get(namespace);
      if (pairs === undefined) continue;
      for (const pair of wanted) {
        for (const policy of pairs.get(pair)?.values() ?? []) {
          this.#examined += 1;
          if (satisfies(subject.labels, policy.selector)) found.push(policy);
        }
      }
    }
    return found;
  }
}

/** Pods by their labels: under each of their pairs, in their namespace and across all of them. */
export class SubjectIndex<T extends PolicySubject> {
  readonly #rootNamespace: string;
  readonly #byNamespace = new Map<string, Map<string, Bucket<T>>>();
  readonly #everywhere = new Map<string, Bucket<T>>();
  readonly #held = new Map<string, T>();
  #examined = 0;

  constructor(rootNamespace: string) {
    this.#rootNamespace = rootNamespace;
  }

  /** Candidates looked at since the start: what a lookup really costs. */
  get examined(): number {
    return this.#examined;
  }

  set(key: string, subject: T): void {
    this.delete(key);
    this.#held.set(key, subject);
    const pairs = this.#byNamespace.get(subject.namespace) ?? new Map<string, Bucket<T>>();
    this.#byNamespace.set(subject.namespace, pairs);
    for (const pair of [EVERY, ...pairsOf(subject.labels)]) {
      put(pairs, pair, key, subject);
      put(this.#everywhere, pair, key, subject);
    }
  }

  delete(key: string): void {
    const subject = this.#held.get(key);
    if (subject === undefined) return;
    this.#held.delete(key);
    for (const pair of [EVERY, ...pairsOf(subject.labels)]) {
      dropFrom(this.#byNamespace, subject.namespace, pair, key);
      drop(this.#everywhere, pair, key);
    }
  }

  /** The subjects that this selector reaches; from the root namespace: in every namespace. In no particular order. */
  selectedBy(selector: PolicySelector): T[] {
    const pairs =
      selector.namespace === this.#rootNamespace
        ? this.#everywhere
        : this.#byNamespace.get(selector.namespace);
    if (pairs === undefined) return [];
    const candidates = pairs.get(leastCrowded(pairsOf(selector.selector), pairs) ?? EVERY);
    const found: T[] = [];
    for (const subject of candidates?.values() ?? []) {
      this.#examined += 1;
      if (satisfies(subject.labels, selector.selector)) found.push(subject);
    }
    return found;
  }
}

/** Stands for "no pair asked": no real pair can equal it, as each holds a NUL. */
const EVERY = '';

function leastCrowded<T>(
  pairs: readonly string[],
  buckets: ReadonlyMap<string, Bucket<T>>,
): string | undefined {
  let best: string | undefined;
  let least = Infinity;
  for (const pair of pairs) {
    const size = buckets.get(pair)?.size ?? 0;
    if (size < least) [best, least] = [pair, size];
  }
  return best;
}

function put<T>(buckets: Map<string, Bucket<T>>, pair: string, key: string, value: T): void {
  const bucket = buckets.get(pair) ?? new Map<string, T>();
  buckets.set(pair, bucket.set(key, value));
}

function drop<T>(buckets: Map<string, Bucket<T>>, pair: string, key: string): void {
  const bucket = buckets.get(pair);
  if (bucket?.delete(key) === true && bucket.size === 0) buckets.delete(pair);
}

function dropFrom<T>(
  all: Map<string, Map<string, Bucket<T>>>,
  namespace: string,
  pair: string,
  key: string,
): void {
  const buckets = all.get(namespace);
  if (buckets === undefined) return;
  drop(buckets, pair, key);
  if (buckets.size === 0) all.delete(namespace);
}
