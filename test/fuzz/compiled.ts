import { isDeepStrictEqual } from 'node:util';
import type { AuthorizationPolicy, CompiledFilters, Protocol, RbacFilter } from '../../src/policy/index.ts';
import { demand, isMapping, list, mapping } from './reading.ts';

type Compiled = NonNullable<RbacFilter['typed_config']['rules']>['policies'][string];

/**
 * Nothing that a rule asks for may get lost on the way, nor become something else.
 * @param rules as the document has them
 */
export function checkCompiled(
  policy: AuthorizationPolicy,
  rules: readonly unknown[],
  compiled: CompiledFilters,
  protocol: Protocol,
): void {
  const { action, mode } = policy;
  // On TCP whatever restricts does so without what only HTTP has, and covers more on purpose.
  const widens = protocol === 'tcp' && action !== 'ALLOW';
  const { audit, deny, allow, custom } = compiled;
  const found = new Map<string, Compiled>();
  for (const filter of [audit, deny, allow]) {
    for (const [name, rule] of compiledRules(filter)) {
      // On TCP, Envoy names what it audits as a shadow rule alone: there it stands twice, and the same.
      const named = filter === audit && protocol === 'tcp' && isDeepStrictEqual(found.get(name), rule);
      demand(named || !found.has(name), `${name} stands in two filters`);
      found.set(name, rule);
    }
  }
  // Those that an authorizer is asked about stand in the DENY filter, too, for sidecars that cannot ask.
  for (const [name, rule] of custom ? compiledRules(custom.select) : []) {
    demand(found.delete(name), `${name} is not denied where nobody can ask`);
    found.set(name, rule);
  }
  for (const [name, { permissions, principals }] of found) {
    const rule = policy.rules.find(({ index }) => name.endsWith(`-rule[${index}]`));
    demand(rule !== undefined, `compiled ${name}, which nobody wrote`);
    const everything = permissions.some(isAny) && principals.some(isAny);
    const written = rule.from.length + rule.to.length + rule.when.length;
    demand(!everything || widens || written === 0, `${name} compiled to anybody and anything`);
    demand(widens || rule.from.length === 0 || !principals.some(isAny), `${name} compiled to anybody`);
    demand(widens || rule.to.length === 0 || !permissions.some(isAny), `${name} compiled to anything`);
  }
  for (const { index } of policy.rules) {
    const written = rules[index];
    const name = `ns[${policy.namespace}]-policy[${policy.name}]-rule[${index}]`;
    const rule = found.get(name);
    const leftOut = protocol === 'tcp' && action === 'ALLOW' && needsHttp(written);
    demand((rule === undefined) === leftOut, `${name} is ${leftOut ? 'not' : ''} left out`);
    if (rule === undefined) continue;
    const leaves = new Set(leavesOf(rule));
    for (const leaf of expected(written, protocol))
      demand(leaves.has(leaf), `${name} compiled without ${leaf.slice(0, 200)}`);
    for (const leaf of leaves) checkRegex(leaf);
  }
  if (action === 'ALLOW' && mode === 'Enforce')
    demand(allow.typed_config.rules?.action === 'ALLOW', 'an ALLOW policy without its filter');
}

function compiledRules({ typed_config: { rules, shadow_rules: shadow } }: RbacFilter): [string, Compiled][] {
  return [...Object.entries(rules?.policies ?? {}), ...Object.entries(shadow?.policies ?? {})];
}

function isAny(node: object): boolean {
  return 'any' in node;
}

/** `exact=v`, or `!exact=v` where it stands under a negation. */
function leavesOf(node: unknown, key = '', negated = false): string[] {
  if (typeof node === 'string' || typeof node === 'number') return [`${negated ? '!' : ''}${key}=${node}`];
  if (Array.isArray(node)) return node.flatMap((each) => leavesOf(each, key, negated));
  if (!isMapping(node)) return [];
  return Object.entries(node).flatMap(([name, inner]) =>
    leavesOf(inner, name, name === 'not_rule' || name === 'not_id' ? !negated : negated),
  );
}

/** Fields whose values become one matcher of the same text each. */
const TEXTS = new Set(['hosts', 'methods', 'paths', 'principals']);
const HTTP = new Set(['hosts', 'methods', 'paths', 'requestPrincipals']);

function needsHttp(rule: unknown): boolean {
  return (
    choices(rule)
      .flat()
      .some((fields) => Object.keys(fields).some((name) => HTTP.has(plain(name)))) ||
    conditions(rule).some(({ key }) => String(key).startsWith('request.'))
  );
}

/** What must be found in the compiled rule; enough of the language to notice what is lost. */
function expected(rule: unknown, protocol: Protocol): string[] {
  const written = choices(rule).filter((alternatives) => protocol !== 'tcp' || !isOpen(alternatives));
  const fields = written.flat().flatMap((clause) =>
    Object.entries(clause).flatMap(([name, values]) => {
      if (protocol === 'tcp' && HTTP.has(plain(name))) return [];
      const sign = name === plain(name) ? '' : '!';
      return list(values).flatMap((value) => leafOf(plain(name), String(value)).map((leaf) => sign + leaf));
    }),
  );
  const headers = conditions(rule).flatMap(({ key, values, notValues }) => {
    if (protocol === 'tcp' || !/^request\.headers\[[^:]/.test(String(key))) return [];
    const leaves = (texts: unknown): string[] => list(texts).flatMap((text) => textLeaf(String(text)));
    return [...leaves(values), ...leaves(notValues).map((leaf) => `!${leaf}`)];
  });
  return [...fields, ...headers];
}

function leafOf(field: string, value: string): string[] {
  if (field === 'ports') return [`destination_port=${Number(value)}`];
  if (!TEXTS.has(field) || (field === 'paths' && /[{}]/.test(value))) return [];
  if (field !== 'principals') return textLeaf(value);
  const bare = value.startsWith('spiffe://') ? value.slice('spiffe://'.length) : value;
  // A suffix of a principal is a regular expression.
  return bare.startsWith('*') ? [] : textLeaf(`spiffe://${bare}`);
}

function textLeaf(value: string): string[] {
  if (value === '*') return [];
  if (value.endsWith('*')) return [`prefix=${value.slice(0, -1)}`];
  return value.startsWith('*') ? [`suffix=${value.slice(1)}`] : [`exact=${value}`];
}

/** Our own parts of a regular expression, and what stands escaped in it. */
const OURS = /\[\^\/\][+*]|\(\/\.\*\)\?|\.\*|\\C\+|\\[\\^$.*+?()[\]{}|]/g;

/** What a user wrote stands in it as text; so it takes linear time, and matches nothing else. */
function checkRegex(leaf: string): void {
  const regex = /^!?regex=([^]*)$/.exec(leaf)?.[1];
  if (regex === undefined) return;
  demand(
    !/[\\^$.*+?()[\]{}|]/.test(regex.replaceAll(OURS, '')),
    `compiled to the expression ${regex.slice(0, 200)}`,
  );
}

/** The alternatives of `from`, and those of `to`. */
function choices(rule: unknown): readonly (readonly Readonly<Record<string, unknown>>[])[] {
  const part = (name: 'from' | 'to', kind: string): Readonly<Record<string, unknown>>[] =>
    list(mapping(rule)[name]).map((entry) => mapping(mapping(entry)[kind]));
  return [part('from', 'source'), part('to', 'operation')];
}

/** An alternative of which nothing is left on TCP matches all, and so does the choice: the others may go with it. */
function isOpen(alternatives: readonly Readonly<Record<string, unknown>>[]): boolean {
  return alternatives.some((fields) => Object.keys(fields).every((name) => HTTP.has(plain(name))));
}

function conditions(rule: unknown): Readonly<Record<string, unknown>>[] {
  return list(mapping(rule)['when']).map(mapping);
}

function plain(name: string): string {
  return name.startsWith('not') ? `${name.charAt(3).toLowerCase()}${name.slice(4)}` : name;
}
