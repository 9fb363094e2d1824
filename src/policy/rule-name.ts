import type { RuleRef } from './types.ts';

const RULE_NAME = /^ns\[([^[\]]+)\]-policy\[([^[\]]+)\]-rule\[(0|[1-9][0-9]*)\]$/;

/** The rule's name inside Envoy: `ns[shop]-policy[web]-rule[0]`. It stands in access logs and in response details. */
export function ruleName({ namespace, policy, rule }: RuleRef): string {
  return `ns[${namespace}]-policy[${policy}]-rule[${rule}]`;
}

/** The inverse of {@link ruleName}; undefined for any other text. */
export function parseRuleName(name: string): RuleRef | undefined {
  const [, namespace, policy, rule] = RULE_NAME.exec(name) ?? [];
  if (namespace === undefined || policy === undefined || rule === undefined) return undefined;
  return { namespace, policy, rule: Number(rule) };
}
