import { attributeName, withinOf } from './attributes.ts';
import { textOf, type Facts } from './facts.ts';
import { isOf, termTests } from './match.ts';
import type { Action, Clause, Matcher, Rule, Term } from './types.ts';

/** What of a rule fails for a request, in words; of alternatives, the one that fails least. Empty: it matches. */
export function failures(rule: Rule, action: Action, facts: Facts): string[] {
  return [
    ...closest(rule.from, action, facts),
    ...closest(rule.to, action, facts),
    ...clauseFailures(rule.when, action, facts),
  ];
}

function closest(alternatives: readonly Clause[], action: Action, facts: Facts): string[] {
  let best: string[] | undefined;
  for (const clause of alternatives) {
    const failed = clauseFailures(clause, action, facts);
    if (best === undefined || failed.length < best.length) best = failed;
  }
  return best ?? [];
}

function clauseFailures(clause: Clause, action: Action, facts: Facts): string[] {
  return clause.flatMap((term) => termFailure(term, action, facts) ?? []);
}

function termFailure(term: Term, action: Action, facts: Facts): string | undefined {
  const { positive, excluded, proven } = termTests(term, action);
  const subject = attributeName(term.attribute);
  const text = textOf(term.attribute, facts);
  const { kind } = term.attribute;
  if (kind.startsWith('request.auth.') && !facts.verifiedToken && (!proven(facts) || !positive(facts)))
    return `the request has no verified token, so it has no ${subject}`;
  const names = withinOf(term.attribute);
  const foreign = names !== undefined && facts.principal !== '' && !isOf(names, facts);
  if (foreign && (!proven(facts) || !positive(facts)))
    return `the caller is of trust domain ${facts.trustDomain}, and a ${subject} is one of ${names.join(', ')}: principals name those of others`;
  if (!proven(facts) || (kind.startsWith('source.') && text === '' && !positive(facts))) {
    if (kind === 'request.auth.principal') return 'the token has no iss or no sub';
    return kind === 'source.ip' || facts.principal !== ''
      ? `the caller has no ${subject}`
      : `the caller is not authenticated, so it has no ${subject}`;
  }
  if (!positive(facts))
    return text === '' ? `${subject} is missing` : `${subject} ${text} ${misses(term.values)}`;
  if (!excluded(facts)) return undefined;
  const field = term.notField.slice(term.notField.lastIndexOf('.') + 1);
  return `${subject} ${text} is excluded by ${field} ${listed(term.notValues, 'or')}`;
}

function misses(matchers: readonly Matcher[]): string {
  const kinds = new Set(matchers.map(({ kind }) => kind));
  const [kind] = kinds;
  if (kinds.size !== 1 || kind === undefined) return `is none of ${listed(matchers, 'or')}`;
  const values = matchers.map((matcher) =>
    kind === 'prefix' || kind === 'suffix' ? bare(matcher) : written(matcher),
  );
  const verb = {
    prefix: 'does not start with',
    suffix: 'does not end with',
    template: 'does not match',
    cidr: 'is not in',
  };
  return `${kind in verb ? verb[kind as keyof typeof verb] : 'is not'} ${joined(values, 'or')}`;
}

export function listed(matchers: readonly Matcher[], word: string): string {
  return joined(matchers.map(written), word);
}

/** A long list is cut: an explanation is read by a person. */
function joined(values: readonly string[], word: string): string {
  const shown = values.slice(0, 5);
  if (values.length > shown.length)
    return `${shown.join(', ')} ${word} ${values.length - shown.length} others`;
  const last = shown.at(-1) ?? '';
  return shown.length < 2 ? last : `${shown.slice(0, -1).join(', ')} ${word} ${last}`;
}

function bare(matcher: Matcher): string {
  return 'value' in matcher ? String(matcher.value) : written(matcher);
}

/** A matcher as a policy spells it. */
function written(matcher: Matcher): string {
  switch (matcher.kind) {
    case 'exact':
    case 'template':
    case 'port':
      return String(matcher.value);
    case 'prefix':
      return `${matcher.value}*`;
    case 'suffix':
      return `*${matcher.value}`;
    case 'present':
      return '*';
    case 'cidr':
      return `${matcher.address}/${matcher.prefixLength}`;
    case 'serviceAccount':
      return `${matcher.namespace}/${matcher.name}`;
    case 'requestPrincipal':
      return `${written(matcher.issuer)}/${written(matcher.subject)}`;
    case 'listItem':
      return `[${written(matcher.item)}]`;
    default:
      return matcher satisfies never;
  }
}
