import { customPlan, type CustomPlan } from './custom.ts';
import { customFilters, unlessSelected, type CustomFilters } from './envoy-authorizer.ts';
import { endedRules } from './ended.ts';
import { principalFor, proven } from './envoy-principal.ts';
import { compileQuarantine, quarantineName } from './quarantine.ts';
import { permissionFor } from './envoy-permission.ts';
import { inMesh } from './in-mesh.ts';
import type { Permission, Principal, RbacFilter, RbacPolicy, RbacRules } from './envoy-types.ts';
import { ruleName } from './rule-name.ts';
import { scopeRule, type Scope } from './scope.ts';
import { validityCondition } from './validity.ts';
import type {
  Action,
  AuthorizationPolicy,
  Clause,
  MeshSettings,
  Protocol,
  QuarantineRule,
  Rule,
  RuleRef,
  Term,
} from './types.ts';

export interface CompileOptions {
  readonly protocol: Protocol;
  readonly settings: MeshSettings;
  /** Whom the workload denies before any policy. */
  readonly quarantine?: readonly QuarantineRule[];
  /** The one port that the filters will serve; absent: any. */
  readonly port?: number;
}

/** Something that the operator of a policy should know about its enforcement here. */
export interface CompileNote {
  readonly rule: RuleRef;
  readonly port: number | undefined;
  readonly message: string;
}

/** The RBAC filters of one workload, in the order in which Envoy runs them. */
export interface CompiledFilters {
  readonly audit: RbacFilter;
  readonly deny: RbacFilter;
  readonly allow: RbacFilter;
  /** Before all others. Absent: no CUSTOM policy has anybody to ask. */
  readonly custom?: CustomFilters;
  readonly notes: readonly CompileNote[];
}

/**
 * Compiles the policies of one workload (see `policiesFor`). Equal input gives equal bytes.
 *
 * Shadow rules stand in `shadow_rules`. Those of the allow filter stand there beside the enforced ALLOW rules,
 * so that a shadow denial means: this request would be denied if the shadow policies were enforced.
 */
export function compile(policies: readonly AuthorizationPolicy[], options: CompileOptions): CompiledFilters {
  const notes: CompileNote[] = [];
  const plan = customPlan(policies, options.settings, options.protocol);
  for (const [policy, fault] of plan.denied) {
    for (const { index } of policy.rules) {
      const rule: RuleRef = { namespace: policy.namespace, policy: policy.name, rule: index };
      notes.push({ rule, port: options.port, message: `${fault}: what the rule selects is denied` });
    }
  }
  const asking = plan.asked.flatMap((policy) => compilePolicy(policy, options, notes));
  const rules = (action: Action, shadow: boolean): RbacRules | undefined => {
    const meant = policies.filter(
      (policy) =>
        (policy.action === action || (action === 'DENY' && plan.denied.has(policy))) &&
        (policy.mode === 'Shadow') === shadow,
    );
    const unasked =
      action === 'DENY' && !shadow
        ? asking.map(([name, rule]): Named => [name, unlessSelected(rule, options.protocol)])
        : [];
    const before =
      action === 'DENY' && !shadow ? [...endedRules(options.settings), ...quarantined(options)] : [];
    if (meant.length === 0 && unasked.length === 0 && before.length === 0) return undefined;
    const compiled = [
      ...before,
      ...meant.flatMap((policy) => compilePolicy(policy, options, notes)),
      ...unasked,
    ];
    // An ALLOW filter without rules denies; the others would do nothing.
    return compiled.length === 0 && action !== 'ALLOW' ? undefined : rbacRules(action, compiled);
  };
  const enforcedAllow = rules('ALLOW', false);
  const shadowAllow = rules('ALLOW', true);
  const nothing = options.settings.defaultAction === 'deny' ? rbacRules('ALLOW', []) : undefined;
  const custom = customPart(plan, asking, options);
  const audit = rules('AUDIT', false);
  const shadowAudit = rules('AUDIT', true);
  return {
    ...(custom && { custom }),
    // On TCP Envoy names, of rules that deny nothing, those in the shadow alone.
    audit: filter('audit', options, audit, options.protocol === 'tcp' ? audit : shadowAudit),
    deny: filter('deny', options, rules('DENY', false), rules('DENY', true)),
    allow: filter(
      'allow',
      options,
      enforcedAllow ?? nothing,
      shadowAllow && merge(enforcedAllow, shadowAllow),
    ),
    notes,
  };
}

function customPart(
  { authorizer }: CustomPlan,
  asking: readonly Named[],
  { protocol }: CompileOptions,
): CustomFilters | undefined {
  return authorizer === undefined || asking.length === 0
    ? undefined
    : customFilters(rbacRules('CUSTOM', asking), authorizer, protocol);
}

function quarantined({ quarantine = [], settings }: CompileOptions): readonly Named[] {
  return quarantine.map((rule): Named => [quarantineName(rule), compileQuarantine(rule, settings)]);
}

type Named = readonly [string, RbacPolicy];

/** What a policy becomes in one place, whatever other policies stand beside it. */
interface CompiledPolicy {
  readonly rules: readonly Named[];
  readonly notes: readonly CompileNote[];
}

/**
 * By settings, policy and scope. All three are immutable: where one of a hundred policies is another, the others'
 * rules are the same objects as before. What nobody holds any more is forgotten.
 */
const compiledPolicies = new WeakMap<MeshSettings, WeakMap<AuthorizationPolicy, ByScope>>();

type ByScope = Map<string, CompiledPolicy>;

function compilePolicy(
  policy: AuthorizationPolicy,
  options: CompileOptions,
  notes: CompileNote[],
): readonly Named[] {
  const { settings, protocol, port } = options;
  const ofSettings = compiledPolicies.get(settings) ?? new WeakMap<AuthorizationPolicy, ByScope>();
  compiledPolicies.set(settings, ofSettings);
  const ofPolicy: ByScope = ofSettings.get(policy) ?? new Map<string, CompiledPolicy>();
  ofSettings.set(policy, ofPolicy);
  const scope = `${protocol}:${port}`;
  const compiled = ofPolicy.get(scope) ?? compileAnew(policy, options);
  ofPolicy.set(scope, compiled);
  notes.push(...compiled.notes);
  return compiled.rules;
}

function compileAnew(
  policy: AuthorizationPolicy,
  { protocol, port, settings }: CompileOptions,
): CompiledPolicy {
  const scope: Scope = { protocol, port };
  const notes: CompileNote[] = [];
  const rules = policy.rules.flatMap((rule): Named[] => {
    const ref: RuleRef = { namespace: policy.namespace, policy: policy.name, rule: rule.index };
    const scoped = scopeRule(rule, policy.action, scope);
    if (scoped.httpOnTcp) notes.push({ rule: ref, port, message: httpOnTcpNote(policy.action) });
    return scoped.rule === undefined
      ? []
      : [[ruleName(ref), compileRule(inMesh(scoped.rule, settings), policy)]];
  });
  return { rules, notes };
}

function httpOnTcpNote(action: Action): string {
  return action === 'ALLOW'
    ? 'the rule names HTTP attributes, which a TCP port has none of: it can never match there and is left out'
    : 'the rule names HTTP attributes, which a TCP port has none of: there it holds without them and covers more';
}

function compileRule(rule: Rule, { action, validity }: AuthorizationPolicy): RbacPolicy {
  const condition = validityCondition(validity);
  const to = rule.to.length === 0 ? [[]] : rule.to;
  const from = rule.from.length === 0 ? [[]] : rule.from;
  return {
    permissions: permissionsOf(to, rule.when, action),
    principals: principalsOf(from, rule.when, action),
    ...(condition && { condition }),
  };
}

/** Any of the alternatives, and the conditions: these stand there once, however many alternatives there are. */
function permissionsOf(to: readonly Clause[], when: Clause, action: Action): readonly Permission[] {
  const conditions = permissionParts(when, action);
  const alternatives = to.map((clause) => permissionParts(clause, action));
  const [first, ...others] = alternatives;
  if (first !== undefined && others.length === 0) return [allOfPermissions([...first, ...conditions])];
  if (conditions.length === 0) return alternatives.map(allOfPermissions);
  // An alternative without parts is always true, and so is the whole choice.
  const open = alternatives.some((parts) => parts.length === 0);
  const choice: Permission = { or_rules: { rules: alternatives.map(allOfPermissions) } };
  return [allOfPermissions(open ? conditions : [choice, ...conditions])];
}

function principalsOf(from: readonly Clause[], when: Clause, action: Action): readonly Principal[] {
  const conditions = principalParts(when, action);
  const alternatives = from.map((clause) => principalParts(clause, action));
  const [first, ...others] = alternatives;
  if (first !== undefined && others.length === 0) return [allOfPrincipals([...first, ...conditions])];
  if (conditions.length === 0) return alternatives.map(allOfPrincipals);
  const open = alternatives.some((parts) => parts.length === 0);
  const choice: Principal = { or_ids: { ids: alternatives.map(allOfPrincipals) } };
  return [allOfPrincipals(open ? conditions : [choice, ...conditions])];
}

function permissionParts(clause: Clause, action: Action): readonly Permission[] {
  return clause.flatMap((term): Permission[] => {
    // In a DENY a value must not be missed, in an ALLOW a negative one must not.
    const wide = action !== 'ALLOW';
    const positive = anyPermission(term, term.values, wide);
    const negative = anyPermission(term, term.notValues, !wide);
    return [...positive, ...negative.map((permission) => ({ not_rule: permission }))];
  });
}

function allOfPermissions(parts: readonly Permission[]): Permission {
  const [first, ...rest] = parts;
  if (first === undefined) return { any: true };
  return rest.length === 0 ? first : { and_rules: { rules: parts } };
}

function anyPermission(term: Term, matchers: Term['values'], wide: boolean): Permission[] {
  const parts = matchers.flatMap((matcher) => permissionFor(term.attribute, matcher, wide) ?? []);
  return parts.length > 1 ? [{ or_rules: { rules: parts } }] : parts;
}

function principalParts(clause: Clause, action: Action): readonly Principal[] {
  return clause.flatMap((term): Principal[] => {
    const wide = action !== 'ALLOW';
    const positive = anyPrincipal(term, term.values, wide);
    const negative = anyPrincipal(term, term.notValues, !wide).map((principal) => ({ not_id: principal }));
    // "Not x" is no proof of who it is: an ALLOW asks for that first. A DENY takes the unproven, too.
    const asks = action === 'ALLOW' && negative.length > 0 && positive.length === 0;
    return [...(asks ? proven(term.attribute) : []), ...positive, ...negative];
  });
}

function allOfPrincipals(parts: readonly Principal[]): Principal {
  const [first, ...rest] = parts;
  if (first === undefined) return { any: true };
  return rest.length === 0 ? first : { and_ids: { ids: parts } };
}

function anyPrincipal(term: Term, matchers: Term['values'], wide: boolean): Principal[] {
  const parts = matchers.flatMap((matcher) => principalFor(term.attribute, matcher, wide) ?? []);
  return parts.length > 1 ? [{ or_ids: { ids: parts } }] : parts;
}

/** As shadow rules, those of CUSTOM just say which of them matched. */
const RBAC_ACTION: Readonly<Record<Action, RbacRules['action']>> = {
  ALLOW: 'ALLOW',
  DENY: 'DENY',
  AUDIT: 'LOG',
  CUSTOM: 'DENY',
};

function rbacRules(action: Action, policies: readonly Named[]): RbacRules {
  const sorted = policies.toSorted(([a], [b]) => (a < b ? -1 : 1));
  return { action: RBAC_ACTION[action], policies: Object.fromEntries(sorted) };
}

function merge(enforced: RbacRules | undefined, shadow: RbacRules): RbacRules {
  return rbacRules('ALLOW', [
    ...Object.entries(enforced?.policies ?? {}),
    ...Object.entries(shadow.policies),
  ]);
}

function filter(
  which: 'audit' | 'deny' | 'allow',
  { protocol }: CompileOptions,
  rules: RbacRules | undefined,
  shadow: RbacRules | undefined,
): RbacFilter {
  // Envoy puts shadow_ or enforced_ behind it by itself: the keys of the three filters do not collide.
  const prefix = `countersign_${which}_`;
  const common = {
    ...(shadow && { shadow_rules: shadow }),
    shadow_rules_stat_prefix: prefix,
  };
  const enforced = rules && { rules };
  const name = `countersign.authz.${protocol}.${which}`;
  if (protocol === 'tcp') {
    const type = 'type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC';
    return { name, typed_config: { '@type': type, ...enforced, stat_prefix: prefix, ...common } };
  }
  const type = 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC';
  return { name, typed_config: { '@type': type, ...enforced, rules_stat_prefix: prefix, ...common } };
}
