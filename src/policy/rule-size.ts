import type { Attribute, Clause, Matcher, Rule, Term } from './types.ts';

/** What the rules of a policy weigh in a compiled filter. */
export interface RuleSize {
  readonly values: number;
  /** Bytes of all values, each with the name in its key: it stands beside every one of them in the filter. */
  readonly text: number;
}

export function sizeOf(rules: readonly Rule[]): RuleSize {
  const terms = rules.flatMap(({ from, to, when }) => [...from.flat(), ...to.flat(), ...when]);
  return { values: sum(terms, valuesIn), text: sum(terms, textIn) };
}

function sum(terms: Clause, count: (term: Term) => number): number {
  return terms.reduce((total, term) => total + count(term), 0);
}

function valuesIn({ values, notValues }: Term): number {
  return values.length + notValues.length;
}

function textIn(term: Term): number {
  const texts = [...term.values, ...term.notValues].map(textOf);
  return texts.reduce((total, text) => total + bytes(text), valuesIn(term) * bytes(nameIn(term.attribute)));
}

const encoder = new TextEncoder();

function bytes(text: string): number {
  return encoder.encode(text).length;
}

function nameIn(attribute: Attribute): string {
  switch (attribute.kind) {
    case 'request.header':
      return attribute.name;
    case 'request.auth.claim':
      return attribute.path.join('');
    case 'filter.metadata':
      return attribute.filter + attribute.key;
    default:
      return '';
  }
}

function textOf(matcher: Matcher): string {
  switch (matcher.kind) {
    case 'requestPrincipal':
      return textOf(matcher.issuer) + textOf(matcher.subject);
    case 'listItem':
      return textOf(matcher.item);
    case 'serviceAccount':
      return matcher.namespace + matcher.name;
    case 'cidr':
      return matcher.address;
    case 'port':
    case 'present':
      return '';
    default:
      return matcher.value;
  }
}
