import { isHostName } from './attributes.ts';
import { asciiLower } from './facts.ts';
import { inCidr, parseBlockAddress } from './ip.ts';
import { templateRegExp } from './template.ts';
import type { Attribute, Clause, Matcher, Rule, Term } from './types.ts';

/** Beyond these combinations of alternatives nothing is claimed. */
const MAX_COMBINATIONS = 256;

/** How much comparing may still be done: each rule is put to each other, and each value to each. */
export class Effort {
  #left: number;

  constructor(comparisons: number) {
    this.#left = comparisons;
  }

  get spent(): boolean {
    return this.#left <= 0;
  }

  /** @returns whether there was enough left */
  take(comparisons: number): boolean {
    this.#left -= comparisons;
    return this.#left >= 0;
  }
}

/**
 * Whether whatever matches `inner` matches `outer` too, where `outer` denies, or both allow. Claims less than is true:
 * each value is compared by itself, and nothing is claimed when the effort is spent.
 */
export function ruleCovers(outer: Rule, inner: Rule, effort: Effort): boolean {
  if (effort.spent) return false;
  const [outers, inners] = [combinations(outer), combinations(inner)];
  if (outers === undefined || inners === undefined) return false;
  if (!effort.take(outers.length + inners.length)) return false;
  const covered = inners.every((each) =>
    outers.some((clause) => effort.take(costOf(clause, each)) && clauseCovers(clause, each)),
  );
  return covered && !effort.spent;
}

/** Comparisons at most. */
function costOf(outer: Clause, inner: Clause): number {
  return 1 + outer.length * inner.length + valuesIn(outer) * valuesIn(inner);
}

function valuesIn(clause: Clause): number {
  return clause.reduce((sum, { values, notValues }) => sum + values.length + notValues.length, 0);
}

function combinations({ from, to, when }: Rule): Clause[] | undefined {
  if (Math.max(1, from.length) * Math.max(1, to.length) > MAX_COMBINATIONS) return undefined;
  const [sources, operations] = [from.length === 0 ? [[]] : from, to.length === 0 ? [[]] : to];
  return sources.flatMap((source) => operations.map((operation) => [...source, ...operation, ...when]));
}

function clauseCovers(outer: Clause, inner: Clause): boolean {
  return outer.every((term) =>
    inner.some((other) => sameThing(term.attribute, other.attribute) && termCovers(term, other)),
  );
}

function termCovers(outer: Term, inner: Term): boolean {
  const { attribute } = outer;
  const positive =
    outer.values.length === 0 ||
    (inner.values.length > 0 &&
      inner.values.every((value) => outer.values.some((wide) => matcherCovers(wide, value, attribute))));
  return positive && outer.notValues.every((excluded) => excludes(inner, excluded));
}

/** Whether a term that matches cannot be about a value. */
function excludes(term: Term, excluded: Matcher): boolean {
  const { attribute, values, notValues } = term;
  if (notValues.some((wide) => matcherCovers(wide, excluded, attribute))) return true;
  // Of a header or a claim with several values, one may match here and another there.
  const single = attribute.kind !== 'request.header' && attribute.kind !== 'request.auth.claim';
  const whole = values.every(({ kind }) => kind === 'exact' || kind === 'port' || kind === 'serviceAccount');
  return (
    single && whole && values.length > 0 && !values.some((value) => matcherCovers(excluded, value, attribute))
  );
}

function matcherCovers(outer: Matcher, inner: Matcher, attribute: Attribute): boolean {
  if (outer.kind === inner.kind && JSON.stringify(outer) === JSON.stringify(inner)) return true;
  const text = (value: string): string => (isHostName(attribute) ? asciiLower(value) : value);
  switch (outer.kind) {
    case 'present':
      return inner.kind !== 'listItem';
    case 'exact':
      return inner.kind === 'exact' && text(inner.value) === text(outer.value);
    case 'prefix':
      return (
        (inner.kind === 'exact' || inner.kind === 'prefix') && text(inner.value).startsWith(text(outer.value))
      );
    case 'suffix':
      return (
        (inner.kind === 'exact' || inner.kind === 'suffix') && text(inner.value).endsWith(text(outer.value))
      );
    case 'template':
      return inner.kind === 'exact' && templateRegExp(outer.value).test(inner.value);
    case 'cidr':
      return (
        inner.kind === 'cidr' &&
        outer.prefixLength <= inner.prefixLength &&
        inCidr(parseBlockAddress(inner.address), parseBlockAddress(outer.address), outer.prefixLength)
      );
    case 'requestPrincipal':
      return (
        inner.kind === 'requestPrincipal' &&
        matcherCovers(outer.issuer, inner.issuer, attribute) &&
        matcherCovers(outer.subject, inner.subject, attribute)
      );
    case 'listItem':
      return inner.kind === 'listItem' && matcherCovers(outer.item, inner.item, attribute);
    case 'port':
    case 'serviceAccount':
      return false;
    default:
      return outer satisfies never;
  }
}

function sameThing(a: Attribute, b: Attribute): boolean {
  return a.kind === b.kind && JSON.stringify(a) === JSON.stringify(b);
}
