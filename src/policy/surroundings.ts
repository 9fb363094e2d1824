import { needsHttp } from './attributes.ts';
import { Effort, ruleCovers } from './covers.ts';
import { satisfies } from './labels.ts';
import { missingServiceAccounts, named, termsOf } from './lint.ts';
import { scopeRule } from './scope.ts';
import type { AuthorizationPolicy, Issue, Matcher, Rule, Term } from './types.ts';

/** What is known of the mesh around the policies. Absent parts are not judged. */
export interface Surroundings {
  readonly rootNamespace: string;
  readonly trustDomains?: readonly string[];
  /** Those of them whose workloads are not known here. */
  readonly federated?: readonly string[];
  /** Whom CUSTOM policies can ask. */
  readonly providers?: readonly string[];
  readonly hasNamespace?: (name: string) => boolean;
  readonly hasServiceAccount?: (namespace: string, name: string) => boolean;
  /** Whether a policy selects any pod. */
  readonly selectsAny?: (policy: AuthorizationPolicy) => boolean;
  /** TCP ports of the workloads that a policy selects. */
  readonly tcpPorts?: (policy: AuthorizationPolicy) => readonly number[];
  /** The policies to warn about, the others being just what they are compared with; absent: all. */
  readonly judged?: (policy: AuthorizationPolicy) => boolean;
  /** How many comparisons of rules and values all of them may cost together; beyond that nothing is claimed. Absent: each policy has its own bound. */
  readonly comparisons?: number;
}

/** Comparisons for each policy: a large one must not keep the control plane from its work. */
const EFFORT = 500_000;

export interface PolicyIssue extends Issue {
  readonly policy: AuthorizationPolicy;
}

/** Warnings that need more than one document: who exists, what the other policies say, which ports there are. */
export function lintTogether(
  policies: readonly AuthorizationPolicy[],
  surroundings: Surroundings,
): PolicyIssue[] {
  const { rootNamespace, judged = (): boolean => true, comparisons } = surroundings;
  const inNamespace = Map.groupBy(policies, ({ namespace }) => namespace);
  const root = inNamespace.get(rootNamespace) ?? [];
  const shared = comparisons === undefined ? undefined : new Effort(comparisons);
  return [...inNamespace].flatMap(([namespace, own]) => {
    const others = namespace === rootNamespace ? own : [...own, ...root];
    return own
      .filter(judged)
      .flatMap((policy) =>
        [
          ...unselected(policy, surroundings),
          ...unknownSources(policy, surroundings),
          ...unknownProvider(policy, surroundings),
          ...uselessRules(policy, others, shared ?? new Effort(EFFORT)),
          ...httpOnTcp(policy, surroundings),
        ].map((issue) => ({ ...issue, policy })),
      );
  });
}

function unknownProvider({ provider }: AuthorizationPolicy, { providers }: Surroundings): Issue[] {
  if (provider === undefined || providers === undefined || providers.includes(provider)) return [];
  const declared = providers.length === 0 ? 'none is' : `declared: ${providers.join(', ')}`;
  const message = `provider ${provider} is not declared in the mesh's configuration (${declared}): what the policy selects is denied`;
  return [{ severity: 'warning', code: 'unknown-provider', path: 'spec.provider.name', message }];
}

/** Principals, namespaces, service accounts and trust domains that a policy names and that do not exist. */
function unknownSources(
  policy: AuthorizationPolicy,
  { trustDomains, federated, hasNamespace, hasServiceAccount }: Omit<Surroundings, 'rootNamespace'>,
): Issue[] {
  const fault = (kind: string, { value }: Extract<Matcher, { kind: 'exact' }>): string | undefined => {
    if (kind === 'source.namespace')
      return hasNamespace?.(value) === false ? `namespace ${value} does not exist` : undefined;
    if (kind === 'source.trustDomain')
      return trustDomains?.includes(value) === false ? `trust domain ${value} is not known` : undefined;
    if (kind !== 'source.principal') return undefined;
    const [, domain, namespace, name] = /^([^/]+)\/ns\/([^/]+)\/sa\/([^/]+)$/.exec(value) ?? [];
    if (domain === undefined || namespace === undefined || name === undefined) return undefined;
    if (trustDomains?.includes(domain) === false) return `trust domain ${domain} is not known`;
    if (federated?.includes(domain) === true) return undefined;
    const missing = hasServiceAccount?.(namespace, name) === false;
    return missing ? `service account ${namespace}/${name} does not exist` : undefined;
  };
  const accounts = hasServiceAccount === undefined ? [] : missingServiceAccounts(policy, hasServiceAccount);
  const others = termsOf(policy).flatMap((term) =>
    valuesOf(term).flatMap(([matcher, path]): Issue[] => {
      const found = matcher.kind === 'exact' ? fault(term.attribute.kind, matcher) : undefined;
      if (found === undefined) return [];
      return [{ severity: 'warning', code: 'unknown-source', path, message: `${found}: nobody can match` }];
    }),
  );
  return [...accounts, ...others];
}

function valuesOf({ values, field, notValues, notField }: Term): [Matcher, string][] {
  return [...named(values, field), ...named(notValues, notField)];
}

function unselected(policy: AuthorizationPolicy, { selectsAny }: Surroundings): Issue[] {
  if (selectsAny === undefined || selectsAny(policy)) return [];
  const message = 'selects no pod: the policy is enforced nowhere';
  return [{ severity: 'warning', code: 'selects-nothing', path: 'spec.selector', message }];
}

/** ALLOW rules that a DENY rule makes void, and rules of which another already says all. */
function uselessRules(
  policy: AuthorizationPolicy,
  others: readonly AuthorizationPolicy[],
  effort: Effort,
): Issue[] {
  const { action } = policy;
  if (action === 'CUSTOM' || action === 'AUDIT' || effort.spent) return [];
  const over = others.filter((other) => reachesAll(other, policy));
  return policy.rules.flatMap((rule): Issue[] => {
    if (effort.spent) return [];
    const path = `spec.rules[${rule.index}]`;
    const denier =
      action === 'ALLOW' ? first(over, 'DENY', (outer) => ruleCovers(outer, rule, effort)) : undefined;
    if (denier !== undefined) {
      const message = `can never allow anything: ${denier} denies all of it`;
      return [{ severity: 'warning', code: 'unreachable-rule', path, message }];
    }
    const before = first(
      over,
      action,
      (outer, owner) => {
        if (!ruleCovers(outer, rule, effort)) return false;
        // Of two that say the same, the later one is too many.
        return (
          !isBefore([policy, rule], [owner, outer]) ||
          !ruleCovers(rule, outer, effort) ||
          !reachesAll(policy, owner)
        );
      },
      rule,
    );
    if (before === undefined || effort.spent) return [];
    const message = `adds nothing: ${before} already ${action === 'ALLOW' ? 'allows' : 'denies'} all of it`;
    return [{ severity: 'warning', code: 'shadowed-rule', path, message }];
  });
}

/** The first rule that holds a condition, in words. */
function first(
  policies: readonly AuthorizationPolicy[],
  action: AuthorizationPolicy['action'],
  holds: (rule: Rule, owner: AuthorizationPolicy) => boolean,
  except?: Rule,
): string | undefined {
  for (const owner of policies) {
    if (owner.action !== action) continue;
    const rule = owner.rules.find((each) => each !== except && holds(each, owner));
    if (rule !== undefined) return `rule ${rule.index} of ${action} policy ${owner.namespace}/${owner.name}`;
  }
  return undefined;
}

/** Whether a policy is in force wherever and whenever another one is. */
function reachesAll(outer: AuthorizationPolicy, inner: AuthorizationPolicy): boolean {
  if (outer.mode !== inner.mode) return false;
  if (outer !== inner && outer.validity !== undefined) return false;
  return satisfies(inner.selector, outer.selector);
}

type Placed = readonly [AuthorizationPolicy, Rule];

function isBefore([policyA, ruleA]: Placed, [policyB, ruleB]: Placed): boolean {
  const [a, b] = [policyA, policyB].map(({ namespace, name }) => `${namespace}/${name}`);
  if (a === b) return ruleA.index < ruleB.index;
  return a !== undefined && b !== undefined && a < b;
}

function httpOnTcp(policy: AuthorizationPolicy, { tcpPorts }: Surroundings): Issue[] {
  const ports = tcpPorts?.(policy) ?? [];
  if (ports.length === 0) return [];
  return policy.rules.flatMap((rule): Issue[] => {
    if (![...rule.from, ...rule.to, rule.when].some((clause) => clause.some(hasHttp))) return [];
    const met = ports.filter(
      (port) => scopeRule(rule, policy.action, { protocol: 'http', port }).rule !== undefined,
    );
    if (met.length === 0) return [];
    const where = `names HTTP fields, which TCP port ${met.join(', ')} has none of`;
    const message =
      policy.action === 'ALLOW'
        ? `${where}: there the rule never matches`
        : `${where}: there the rule holds without them and covers more; name its ports to keep it away`;
    return [{ severity: 'warning', code: 'http-on-tcp', path: `spec.rules[${rule.index}]`, message }];
  });
}

function hasHttp({ attribute }: Term): boolean {
  return needsHttp(attribute);
}
