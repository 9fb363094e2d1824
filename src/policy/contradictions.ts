import { isIdentity } from './attributes.ts';
import { factsOf } from './facts.ts';
import { clauseTest } from './match.ts';
import type { Action, Attribute, AuthorizationPolicy, Clause, Matcher, Request, Term } from './types.ts';

/** Trying takes each value to each: beyond this many pairs nothing is claimed. */
const MAX_PAIRS = 20_000;

/**
 * Paths of the alternatives that no request can satisfy. Found by trying: where a term names its values one by
 * one, each is put to all the terms on the same thing. What names no value exactly is not judged.
 */
export function contradictions({ rules, action }: AuthorizationPolicy): string[] {
  return rules.flatMap(({ index, from, to, when }) => {
    const rule = `spec.rules[${index}]`;
    const dead = (alternatives: readonly Clause[], part: string): string[] =>
      alternatives.flatMap((clause, at) =>
        isDead([...clause, ...when], action) ? [`${rule}.${part}[${at}]`] : [],
      );
    return isDead(when, action) ? [`${rule}.when`] : [...dead(from, 'from'), ...dead(to, 'to')];
  });
}

function isDead(terms: Clause, action: Action): boolean {
  const subjects = Map.groupBy(terms, ({ attribute }) => subjectOf(attribute));
  return [...subjects.values()].some((group) => {
    const trial = trialOf(group);
    if (trial === undefined) return false;
    const test = clauseTest(trial.terms, action);
    return !trial.requests.some((request) => passes(request, test));
  });
}

/** What two terms speak of together: an identity is one thing under four names. */
function subjectOf(attribute: Attribute): string {
  if (isIdentity(attribute)) return 'identity';
  if (attribute.kind === 'request.auth.claim') return `claim ${attribute.path.join('.')}`;
  if (attribute.kind === 'filter.metadata') return `metadata ${attribute.filter} ${attribute.key}`;
  if (attribute.kind !== 'request.header') return attribute.kind;
  const pseudo: Readonly<Record<string, string>> = {
    ':method': 'request.method',
    ':authority': 'request.host',
    host: 'request.host',
  };
  return pseudo[attribute.name] ?? `header ${attribute.name}`;
}

interface Trial {
  readonly requests: readonly Request[];
  readonly terms: Clause;
}

function trialOf(group: readonly Term[]): Trial | undefined {
  const exact = group.filter(({ values }) => values.length > 0 && values.every(isExact));
  // The most telling first: a principal decides all four, a namespace just itself.
  const order: readonly Attribute['kind'][] = [
    'source.principal',
    'source.serviceAccount',
    'source.namespace',
    'source.trustDomain',
  ];
  const chosen = exact.toSorted(
    (a, b) => order.indexOf(a.attribute.kind) - order.indexOf(b.attribute.kind),
  )[0];
  if (chosen === undefined) return undefined;
  const matchers = group.reduce((sum, term) => sum + term.values.length + term.notValues.length, 0);
  if (chosen.values.length * matchers > MAX_PAIRS) return undefined;
  const requests = chosen.values.flatMap((matcher) => requestWith(chosen.attribute, matcher) ?? []);
  return requests.length === chosen.values.length
    ? { requests, terms: group.filter(decidedBy(chosen)) }
    : undefined;
}

function isExact({ kind }: Matcher): boolean {
  return kind === 'exact' || kind === 'port' || kind === 'serviceAccount';
}

/** The terms that a trial's request says enough about. */
function decidedBy({ attribute: { kind } }: Term): (term: Term) => boolean {
  if (kind === 'source.serviceAccount') {
    return ({ attribute }) => attribute.kind === kind || attribute.kind === 'source.namespace';
  }
  if (kind === 'source.namespace' || kind === 'source.trustDomain')
    return ({ attribute }) => attribute.kind === kind;
  return () => true;
}

function requestWith(attribute: Attribute, matcher: Matcher): Request | undefined {
  if (matcher.kind === 'port') return { ...BLANK, destinationPort: matcher.value };
  if (matcher.kind === 'serviceAccount') {
    return { ...BLANK, principal: `spiffe://any/ns/${matcher.namespace}/sa/${matcher.name}` };
  }
  if (matcher.kind !== 'exact') return undefined;
  const { value } = matcher;
  switch (attribute.kind) {
    case 'source.principal':
      return { ...BLANK, principal: `spiffe://${value}` };
    case 'source.namespace':
      return { ...BLANK, principal: `spiffe://any/ns/${value}/sa/any` };
    case 'source.trustDomain':
      return { ...BLANK, principal: `spiffe://${value}/any` };
    case 'connection.sni':
      return { ...BLANK, sni: value };
    case 'request.host':
      return { ...BLANK, host: value };
    case 'request.method':
      return { ...BLANK, method: value };
    case 'request.path':
      return { ...BLANK, path: value };
    case 'request.header':
      return withHeader(attribute.name, value);
    default:
      return undefined;
  }
}

function withHeader(name: string, value: string): Request {
  if (name === ':method') return { ...BLANK, method: value };
  if (name === ':path') return { ...BLANK, path: value };
  return name === ':authority' || name === 'host'
    ? { ...BLANK, host: value }
    : { ...BLANK, headers: { [name]: [value] } };
}

function passes(request: Request, test: ReturnType<typeof clauseTest>): boolean {
  const facts = factsOf(request, 'keep');
  // A value that Envoy refuses is warned about where it stands.
  return typeof facts === 'string' || test(facts);
}

const BLANK: Request = {
  protocol: 'http',
  principal: undefined,
  sourceIp: undefined,
  remoteIp: undefined,
  destinationIp: undefined,
  destinationPort: undefined,
  sni: undefined,
  method: undefined,
  path: undefined,
  host: undefined,
  headers: {},
};
