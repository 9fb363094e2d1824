import type { Attribute, Clause, Request, Rule, RuleRef, Unsaid } from './types.ts';

/** What a request leaves out that Envoy knows of every one. */
export function unsaidIn(request: Request): ReadonlySet<Unsaid> {
  const { protocol, sourceIp, remoteIp, destinationIp, destinationPort, host, method, path } = request;
  const known: readonly (readonly [Unsaid, unknown])[] = [
    ['source.ip', sourceIp],
    ['remote.ip', remoteIp ?? sourceIp],
    ['destination.ip', destinationIp],
    ['destination.port', destinationPort],
    ...(protocol === 'http'
      ? ([
          ['request.host', host],
          ['request.method', method],
          ['request.path', path],
        ] as const)
      : []),
  ];
  return new Set(known.flatMap(([kind, value]) => (value === undefined ? [kind] : [])));
}

/** The first attribute of a rule that the request leaves out. */
export function unsaidOf(rule: Rule, unsaid: ReadonlySet<Unsaid>): Unsaid | undefined {
  const terms = [...rule.from, ...rule.to, rule.when].flat();
  const kinds = new Set(terms.map(({ attribute }) => kindOf(attribute)));
  return [...unsaid].find((each) => kinds.has(each));
}

/** The rule as if whatever is left out made it match. */
export function atMost(rule: Rule, unsaid: ReadonlySet<Unsaid>): Rule {
  const strip = (clause: Clause): Clause => clause.filter(({ attribute }) => !has(unsaid, kindOf(attribute)));
  return { index: rule.index, from: rule.from.map(strip), to: rule.to.map(strip), when: strip(rule.when) };
}

/** The rule as if whatever is left out kept it from matching; undefined: it cannot match then. */
export function atLeast(rule: Rule, unsaid: ReadonlySet<Unsaid>): Rule | undefined {
  const sure = (clause: Clause): boolean => !clause.some(({ attribute }) => has(unsaid, kindOf(attribute)));
  const [from, to] = [rule.from.filter(sure), rule.to.filter(sure)];
  const dead =
    !sure(rule.when) ||
    (rule.from.length > 0 && from.length === 0) ||
    (rule.to.length > 0 && to.length === 0);
  return dead ? undefined : { index: rule.index, from, to, when: rule.when };
}

/** Where a verdict hangs on what the request leaves out, in words. @param nameOf how the asker would state it */
export function couldNotTell(
  { rule, attribute }: { readonly rule: RuleRef; readonly attribute: Unsaid },
  nameOf: Readonly<Record<Unsaid, string>>,
): string {
  const { namespace, policy, rule: index } = rule;
  return `could not tell: rule ${index} of ${namespace}/${policy} looks at the ${WORDS[attribute]}; give ${nameOf[attribute]}`;
}

const WORDS: Readonly<Record<Unsaid, string>> = {
  'source.ip': 'source IP',
  'remote.ip': 'remote IP',
  'destination.ip': 'destination IP',
  'destination.port': 'port',
  'request.host': 'host',
  'request.method': 'method',
  'request.path': 'path',
};

const PSEUDO: Readonly<Record<string, Unsaid>> = {
  host: 'request.host',
  ':authority': 'request.host',
  ':method': 'request.method',
  ':path': 'request.path',
};

function kindOf(attribute: Attribute): string {
  if (attribute.kind !== 'request.header' || !Object.hasOwn(PSEUDO, attribute.name)) return attribute.kind;
  return PSEUDO[attribute.name] ?? attribute.kind;
}

function has(unsaid: ReadonlySet<string>, kind: string): boolean {
  return unsaid.has(kind);
}
