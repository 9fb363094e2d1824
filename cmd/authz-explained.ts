import { Document, isMap, isScalar, isSeq, type YAMLMap } from 'yaml';
import {
  describeRule,
  ruleName,
  type AuthorizationPolicy,
  type ExtAuthzFilter,
  type JwtAuthnFilter,
  type RbacFilter,
} from '../src/policy/index.ts';
import { printable } from '../src/text/index.ts';

type Filter = RbacFilter | ExtAuthzFilter | JwtAuthnFilter;

/** Longer comments are cut: they are read by people. Characters. */
const MAX_COMMENT = 400;

/** By the last part of a filter's name. */
const PURPOSES: Readonly<Record<string, string>> = {
  custom: 'CUSTOM: marks the requests that the external authorizer is asked about; decides nothing itself.',
  ext_authz: 'Asks the external authorizer about the marked requests; what it denies is denied.',
  jwt: 'Verifies the token of a request: one that no rule takes is answered 401, as are two; a request without one passes on.',
  audit: 'AUDIT: writes down which requests matched; decides nothing.',
  deny: 'DENY: refuses what any of its rules matches.',
  allow: 'ALLOW: refuses what none of its rules matches.',
};
const UNASKED = ' What CUSTOM rules select is refused, too, where the filters that ask are not there.';
const IDLE = ' It has no rules here: everything passes on.';
const REHEARSAL = ' Its shadow rules are written to the access log, and decide nothing.';
const CLOSED = ' It has no rules here: nothing passes.';

/** The filters of a workload as YAML, each filter and each rule with a comment on what it does. Equal input gives equal bytes. */
export function explainedYaml(filters: readonly Filter[], policies: readonly AuthorizationPolicy[]): string {
  // As a plain `stringify` writes it: without anchors.
  const document = new Document({ filters }, { aliasDuplicateObjects: false });
  const rules = new Map(policies.flatMap((policy) => explainedRules(policy)));
  const list = document.get('filters');
  const asks = filters.some(({ name }) => name.endsWith('.ext_authz'));
  for (const [index, filter] of filters.entries()) {
    const node: unknown = isSeq(list) ? list.items[index] : undefined;
    if (!isMap(node)) continue;
    node.commentBefore = comment(purposeOf(filter) + (asks && isDeny(filter) ? UNASKED : ''));
    for (const part of ['rules', 'shadow_rules']) {
      const compiled = node.getIn(['typed_config', part, 'policies']);
      if (isMap(compiled)) explainRules(compiled, rules);
    }
  }
  return document.toString();
}

function explainedRules(policy: AuthorizationPolicy): [string, string][] {
  const { namespace, name, action, mode, reason } = policy;
  return policy.rules.map((rule) => {
    const shadow = mode === 'Shadow' ? ' (Shadow: not enforced)' : '';
    const why = reason === undefined ? '' : ` -- ${reason}`;
    const text = `${action} policy ${namespace}/${name}, rule ${rule.index}${shadow}: ${describeRule(rule)}${why}`;
    return [ruleName({ namespace, policy: name, rule: rule.index }), text];
  });
}

function explainRules(compiled: YAMLMap, rules: ReadonlyMap<string, string>): void {
  for (const { key } of compiled.items) {
    const text = isScalar(key) ? rules.get(String(key.value)) : undefined;
    if (isScalar(key) && text !== undefined) key.commentBefore = comment(text);
  }
}

function isDeny({ name }: Filter): boolean {
  return name.endsWith('.deny');
}

function purposeOf({ name, typed_config: config }: Filter): string {
  const kind = name.slice(name.lastIndexOf('.') + 1);
  const purpose = PURPOSES[kind] ?? name;
  if (kind === 'ext_authz' || kind === 'jwt') return purpose;
  const { rules, shadow_rules: shadow } = config as RbacFilter['typed_config'];
  if (kind === 'custom') return purpose;
  const rehearsal = shadow === undefined ? '' : REHEARSAL;
  if (Object.keys(rules?.policies ?? {}).length > 0) return purpose + rehearsal;
  return purpose + (rules?.action === 'ALLOW' ? CLOSED : IDLE) + rehearsal;
}

/** A policy's texts are not to end the comment: control characters come out as escapes, in one line. */
function comment(text: string): string {
  const cut = text.length > MAX_COMMENT ? `${text.slice(0, MAX_COMMENT - 3)}...` : text;
  return ` ${printable(cut.toWellFormed())}`;
}
