import { needsHttp } from './attributes.ts';
import type { Action, Clause, Protocol, Rule, Term } from './types.ts';

/** Where rules are about to be enforced. */
export interface Scope {
  readonly protocol: Protocol;
  /** Known when the filter serves one port only: terms on the port are then decided at once. */
  readonly port: number | undefined;
}

export interface Scoped {
  /** undefined: it cannot match here. */
  readonly rule: Rule | undefined;
  /** HTTP fields were lost to a TCP port. */
  readonly httpOnTcp: boolean;
}

/**
 * A rule as it holds on a port. HTTP attributes do not exist on TCP: an ALLOW rule that names any is left out
 * whole, any other rule loses just those terms and so covers more. Both directions fail closed.
 */
export function scopeRule(rule: Rule, action: Action, { protocol, port }: Scope): Scoped {
  const httpOnTcp =
    protocol === 'tcp' && [...rule.from, ...rule.to, rule.when].some((clause) => clause.some(isHttp));
  if (httpOnTcp && action === 'ALLOW') return { rule: undefined, httpOnTcp };
  const plain = httpOnTcp ? withoutHttp(rule) : rule;
  return { rule: port === undefined ? plain : onPort(plain, port), httpOnTcp };
}

function isHttp({ attribute }: Term): boolean {
  return needsHttp(attribute);
}

function withoutHttp(rule: Rule): Rule {
  const strip = (clause: Clause): Clause => clause.filter((term) => !isHttp(term));
  return { index: rule.index, from: rule.from.map(strip), to: rule.to.map(strip), when: strip(rule.when) };
}

function onPort(rule: Rule, port: number): Rule | undefined {
  const when = resolvePort(rule.when, port);
  const from = rule.from.flatMap((clause) => alternative(clause, port));
  const to = rule.to.flatMap((clause) => alternative(clause, port));
  const dead =
    when === undefined ||
    (rule.from.length > 0 && from.length === 0) ||
    (rule.to.length > 0 && to.length === 0);
  return dead ? undefined : { index: rule.index, from, to, when };
}

function alternative(clause: Clause, port: number): Clause[] {
  const resolved = resolvePort(clause, port);
  return resolved === undefined ? [] : [resolved];
}

/** The clause without its terms on the port; undefined where one of them fails. */
function resolvePort(clause: Clause, port: number): Clause | undefined {
  const rest: Term[] = [];
  for (const term of clause) {
    if (term.attribute.kind !== 'destination.port') {
      rest.push(term);
      continue;
    }
    const named = (matchers: Term['values']): boolean =>
      matchers.some((matcher) => matcher.kind === 'port' && matcher.value === port);
    if ((term.values.length > 0 && !named(term.values)) || named(term.notValues)) return undefined;
  }
  return rest;
}
