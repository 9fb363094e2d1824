import { createHash } from 'node:crypto';
import type { AuthorizationPolicy, Clause } from './types.ts';

/** Of what takes part in enforcement; field paths and texts for people do not. */
export function digestOf(policy: Omit<AuthorizationPolicy, 'digest'>): string {
  const { namespace, name, action, mode, rules, validity, provider } = policy;
  const selector = sorted(policy.selector);
  const meaning = rules.map(({ index, from, to, when }) => [
    index,
    from.map(clause),
    to.map(clause),
    clause(when),
  ]);
  return digestOfMeaning([namespace, name, selector, action, mode, validity, provider, meaning]);
}

/** Hex SHA-256 of a value that JSON can say. */
export function digestOfMeaning(meaning: unknown): string {
  return createHash('sha256').update(JSON.stringify(meaning)).digest('hex');
}

export function sorted(selector: AuthorizationPolicy['selector']): [string, string][] {
  return Object.entries(selector).toSorted(([a], [b]) => (a < b ? -1 : 1));
}

function clause(terms: Clause): unknown {
  return terms.map(({ attribute, values, notValues }) => [attribute, values, notValues]);
}
