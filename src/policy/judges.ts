import { inMesh } from './in-mesh.ts';
import type { Facts } from './facts.ts';
import { ruleTest, type Test } from './match.ts';
import { scopeRule } from './scope.ts';
import { inForce } from './validity.ts';
import type { AuthorizationPolicy, MeshSettings, Protocol, Rule, RuleRef } from './types.ts';

/** One rule, ready to be asked. */
export interface Judge {
  readonly ref: RuleRef;
  readonly policy: AuthorizationPolicy;
  readonly rule: Rule;
  /** Why a CUSTOM rule denies without asking anybody. */
  readonly fault: string | undefined;
  /** As it holds on this protocol; undefined: it cannot match there. */
  readonly scoped: Rule | undefined;
  readonly matches: Test;
}

interface Circumstances {
  readonly protocol: Protocol;
  readonly settings: MeshSettings;
  readonly fault: string | undefined;
}

export function judgeOf(
  policy: AuthorizationPolicy,
  written: Rule,
  { protocol, settings, fault }: Circumstances,
): Judge {
  const rule = inMesh(written, settings);
  const ref: RuleRef = { namespace: policy.namespace, policy: policy.name, rule: rule.index };
  const scoped = scopeRule(rule, policy.action, { protocol, port: undefined }).rule;
  return { ref, policy, rule, fault, scoped, matches: testOf(policy, scoped) };
}

/** @param rule undefined: it matches nothing */
export function testOf({ action, validity }: AuthorizationPolicy, rule: Rule | undefined): Test {
  const test: Test = rule === undefined ? () => false : ruleTest(rule, action);
  return validity ? (facts: Facts) => inForce(validity, facts.nowMs, action) && test(facts) : test;
}
