import type { Clause, Matcher, MeshSettings, Rule, Term } from './types.ts';

/**
 * The rule as it is meant in this mesh. Namespaces and service accounts are those of its own trust domain. Every
 * principal and trust domain of it stands there under each of its names, so that policies outlive a change of the
 * trust domain; values whose trust domain is not spelled out whole stay as they are.
 */
export function inMesh(rule: Rule, { trustDomain, trustDomainAliases = [] }: MeshSettings): Rule {
  const names = [...new Set([trustDomain, ...trustDomainAliases])];
  const every = (
    matchers: readonly Matcher[],
    replaced: (matcher: Matcher) => readonly Matcher[],
  ): Matcher[] => {
    const all = matchers.flatMap(replaced).map((matcher) => [JSON.stringify(matcher), matcher] as const);
    return [...new Map(all).values()];
  };
  const widen = (term: Term): Term => {
    const { kind } = term.attribute;
    if (kind === 'source.namespace' || kind === 'source.serviceAccount')
      return { ...term, attribute: { kind, within: names } };
    if (names.length === 1) return term;
    const replaced = replacer(kind, names);
    return replaced === undefined
      ? term
      : { ...term, values: every(term.values, replaced), notValues: every(term.notValues, replaced) };
  };
  const clause = (terms: Clause): Clause => terms.map(widen);
  return { ...rule, from: rule.from.map(clause), when: clause(rule.when) };
}

type Replacer = (matcher: Matcher) => readonly Matcher[];

function replacer(kind: Term['attribute']['kind'], names: readonly string[]): Replacer | undefined {
  if (kind === 'source.trustDomain') {
    return (matcher) =>
      matcher.kind === 'exact' && names.includes(matcher.value)
        ? names.map((value) => ({ kind: 'exact', value }))
        : [matcher];
  }
  if (kind !== 'source.principal') return undefined;
  return (matcher) => {
    if (matcher.kind !== 'exact' && matcher.kind !== 'prefix') return [matcher];
    const slash = matcher.value.indexOf('/');
    if (slash < 0 || !names.includes(matcher.value.slice(0, slash))) return [matcher];
    const rest = matcher.value.slice(slash);
    return names.map((name) => ({ kind: matcher.kind, value: name + rest }));
  };
}
