import { createHash } from 'node:crypto';
import type { AuthorizationPolicy, Clause } from './types.ts';

/** Of what takes part in enforcement; field paths and texts for people do not. */
export function digestOf(policy: Omit<AuthorizationPolicy, 'digest'>): string {
  const { namespace, name, action, mode, rules, validity, provider } = policy;
  const selector = Object.entries(policy.selector).toSorted(([a], [b]) => (a < b ? -1 : 1));
  const meaning = rules.map(({ index, from, to, when }) => [
    index,
    from.map(clause),
    to.map(clause),
    clause(when),
  ]);
  return createHash('sha256')
    .update(JSON.stringify([namespace, name, selector, action, mode, validity, provider, meaning]))
    .digest('hex');
}

function clause(terms: Clause): unknown {
  return terms.map(({ attribute, values, notValues }) => [attribute, values, notValues]);
}
