import { attributeName } from './attributes.ts';
import { listed } from './explain.ts';
import type { Clause, Rule, Term } from './types.ts';

/** A rule in one line, as its author would say it: `from source namespace shop; to method GET or HEAD; when header x-a not 1`. */
export function describeRule({ from, to, when }: Rule): string {
  const parts = [...part('from', from), ...part('to', to), ...part('when', when.length === 0 ? [] : [when])];
  return parts.length === 0 ? 'anybody and anything' : parts.join('; ');
}

function part(word: string, alternatives: readonly Clause[]): string[] {
  if (alternatives.length === 0) return [];
  return [`${word} ${alternatives.map((clause) => clause.map(describeTerm).join(' and ')).join(', or ')}`];
}

function describeTerm({ attribute, values, notValues }: Term): string {
  const excluded = notValues.length === 0 ? '' : `not ${listed(notValues, 'or')}`;
  return [attributeName(attribute), listed(values, 'or'), excluded].filter((text) => text !== '').join(' ');
}
