import { isHostName, proofFor, withinOf } from './attributes.ts';
import { asciiLower, ipFact, itemsOf, textsOf, type Facts } from './facts.ts';
import { inCidr, parseBlockAddress } from './ip.ts';
import { templateRegExp, wideTemplateRegex } from './template.ts';
import type { Action, Attribute, Clause, Matcher, Rule, Term, TextMatcher } from './types.ts';

/** Whether a request's facts satisfy something; made once, asked often. */
export type Test = (facts: Facts) => boolean;

/** A rule ready to be asked. */
export function ruleTest(rule: Rule, action: Action): Test {
  const from = anyOf(rule.from.map((clause) => clauseTest(clause, action)));
  const to = anyOf(rule.to.map((clause) => clauseTest(clause, action)));
  const when = clauseTest(rule.when, action);
  return (facts) => from(facts) && to(facts) && when(facts);
}

export function clauseTest(clause: Clause, action: Action): Test {
  const tests = clause.map((term) => termTest(term, action));
  return (facts) => tests.every((test) => test(facts));
}

/** The two halves of a term apart, for those who explain. */
export interface TermTests {
  readonly positive: Test;
  /** True where a `notValues` matches, so that the term fails. */
  readonly excluded: Test;
  /** A negative identity in an ALLOW asks for some identity first. */
  readonly proven: Test;
}

export function termTests({ attribute, values, notValues }: Term, action: Action): TermTests {
  // As in the compiler: in doubt a DENY matches, an ALLOW does not.
  const wide = action !== 'ALLOW';
  const asks = action === 'ALLOW' && notValues.length > 0;
  return {
    positive: anyOf(values.map((matcher) => sourceTest(attribute, matcher, wide))),
    excluded:
      notValues.length === 0
        ? () => false
        : anyOf(notValues.map((matcher) => sourceTest(attribute, matcher, !wide))),
    proven: asks ? provenTest(attribute) : () => true,
  };
}

const PROVEN: Readonly<Record<'peer' | 'token', Test>> = {
  peer: ({ principal }) => principal !== '',
  token: ({ issuer, subject }) => issuer !== '' && subject !== '',
};

function provenTest(attribute: Attribute): Test {
  const proof = proofFor(attribute);
  const names = withinOf(attribute);
  if (proof === 'peer' && names !== undefined) return (facts) => isOf(names, facts);
  return proof === undefined ? () => true : PROVEN[proof];
}

/** Whether the caller is a workload of one of these trust domains. */
export function isOf(trustDomains: readonly string[], { principal }: Facts): boolean {
  return trustDomains.some((name) => principal.startsWith(`spiffe://${name}/`));
}

/** In doubt, namespaces and service accounts are those of any trust domain. */
function sourceTest(attribute: Attribute, matcher: Matcher, wide: boolean): Test {
  const test = matcherTest(attribute, matcher, wide);
  const names = wide ? undefined : withinOf(attribute);
  return names === undefined ? test : (facts) => isOf(names, facts) && test(facts);
}

function termTest(term: Term, action: Action): Test {
  const { positive, excluded, proven } = termTests(term, action);
  return (facts) => positive(facts) && proven(facts) && !excluded(facts);
}

/** None: nothing is asked. */
function anyOf(tests: readonly Test[]): Test {
  const [first, ...rest] = tests;
  if (first === undefined) return () => true;
  return rest.length === 0 ? first : (facts) => tests.some((test) => test(facts));
}

function matcherTest(attribute: Attribute, matcher: Matcher, wide: boolean): Test {
  switch (matcher.kind) {
    case 'cidr': {
      const block = parseBlockAddress(matcher.address);
      return (facts) => {
        const ip = ipFact(attribute, facts);
        return ip !== undefined && inCidr(ip, block, matcher.prefixLength);
      };
    }
    case 'port':
      return (facts) => facts.port === matcher.value;
    case 'serviceAccount': {
      const account = `${matcher.namespace}/${matcher.name}`;
      return (facts) => facts.serviceAccount === account;
    }
    case 'template': {
      const narrow = templateRegExp(matcher.value);
      const any = new RegExp(`^(?:${wideTemplateRegex(matcher.value)})$`);
      return (facts) => (wide ? any : narrow).test(facts.path);
    }
    case 'requestPrincipal': {
      const [issuer, subject] = [textTest(matcher.issuer), textTest(matcher.subject)];
      return (facts) => issuer(facts.issuer) && subject(facts.subject);
    }
    case 'listItem': {
      const item = textTest(matcher.item);
      return (facts) => itemsOf(attribute, facts).some(item);
    }
    case 'present':
    case 'exact':
    case 'prefix':
    case 'suffix':
      return attributeTest(attribute, matcher);
    default:
      return matcher satisfies never;
  }
}

/** Of several texts one is enough, as in Envoy. */
function attributeTest(attribute: Attribute, matcher: TextMatcher): Test {
  if (attribute.kind === 'source.principal' && matcher.kind !== 'present')
    return principalTest(matcher.kind, matcher.value);
  const folded =
    isHostName(attribute) && 'value' in matcher ? { ...matcher, value: asciiLower(matcher.value) } : matcher;
  const test = textTest(folded);
  return (facts) => textsOf(attribute, facts).some(test);
}

function textTest(matcher: TextMatcher): (text: string) => boolean {
  switch (matcher.kind) {
    case 'exact':
      return (text) => text === matcher.value;
    case 'prefix':
      return (text) => text.startsWith(matcher.value);
    case 'suffix':
      return (text) => text.endsWith(matcher.value);
    case 'present':
      return (text) => text !== '';
    default:
      return matcher satisfies never;
  }
}

/** Values name a principal without its scheme; a suffix cannot reach into the scheme. */
function principalTest(kind: 'exact' | 'prefix' | 'suffix', value: string): Test {
  const scheme = 'spiffe://';
  switch (kind) {
    case 'exact':
      return ({ principal }) => principal === scheme + value;
    case 'prefix':
      return ({ principal }) => principal.startsWith(scheme + value);
    case 'suffix':
      return ({ principal }) => principal.slice(scheme.length).endsWith(value) && principal !== '';
    default:
      return kind satisfies never;
  }
}
