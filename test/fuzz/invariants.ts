import {
  compile,
  parseAuthorizationPolicy,
  policiesFor,
  type AuthorizationPolicy,
  type MeshSettings,
  type Parsed,
  type RbacFilter,
} from '../../src/policy/index.ts';
import { readManifests } from '../../src/sources/manifests/index.ts';

const settings: MeshSettings = {
  trustDomain: 'td',
  rootNamespace: 'root',
  defaultAction: 'deny',
  trustDomainAliases: ['old-td'],
  authorizers: [
    {
      name: 'asked',
      protocol: 'grpc',
      host: 'a.example',
      port: 9000,
      timeoutMs: 600,
      failOpen: false,
      statusOnError: 403,
    },
  ],
};

/** What became of one text. */
export interface Outcome {
  readonly documents: number;
  readonly policies: number;
  readonly refused: number;
}

/** Takes a text the whole way to Envoy's filters. Throws where anything is not as promised. */
export function throughAll(text: string): Outcome {
  const { documents, problems } = readManifests(text, 'fuzz.yaml');
  for (const { line, message } of problems) {
    demand(line >= 1, `a problem in line ${line}`);
    demand(message.length < 1_000, `a message of ${message.length} characters`);
  }
  const policies: AuthorizationPolicy[] = [];
  let refused = 0;
  for (const manifest of documents) {
    demand(isMapping(manifest.value), 'an object that is no mapping');
    const parsed = parseAuthorizationPolicy(manifest.value, { rootNamespace: 'root', nowMs: () => 0 });
    for (const { path } of parsed.issues) demand(manifest.lineOf(path) >= 1, `a field in no line: ${path}`);
    checkParsed(manifest.value, parsed);
    if (parsed.ok) policies.push(parsed.policy);
    else refused += 1;
  }
  for (const policy of policies) checkCompiled(policy);
  return { documents: documents.length, policies: policies.length, refused };
}

/** Everything that a policy document may hold, written down once more. */
const FIELDS = {
  document: ['apiVersion', 'kind', 'metadata', 'spec', 'status'],
  spec: ['selector', 'action', 'provider', 'rules', 'mode', 'reason', 'validity'],
  rule: ['from', 'to', 'when'],
  source: negatable(
    'principals requestPrincipals namespaces ipBlocks remoteIpBlocks serviceAccounts trustDomains',
  ),
  operation: negatable('hosts ports methods paths'),
  condition: ['key', 'values', 'notValues'],
};

function negatable(names: string): string[] {
  return names.split(' ').flatMap((name) => [name, `not${name.charAt(0).toUpperCase()}${name.slice(1)}`]);
}

function checkParsed(value: unknown, parsed: Parsed): void {
  const failed = parsed.issues.some(({ severity }) => severity === 'error');
  demand(parsed.ok === !failed, 'a policy and an error, or neither');
  demand(parsed.ok === 'policy' in parsed, 'a policy beside its refusal');
  demand(parsed.issues.length <= 202, `${parsed.issues.length} issues`);
  if (!parsed.ok) return;
  knows(value, FIELDS.document);
  const spec = mapping(mapping(value)['spec']);
  knows(spec, FIELDS.spec);
  const rules = list(spec['rules']);
  demand(rules.length === parsed.policy.rules.length, 'a rule more or less than written');
  for (const [index, written] of rules.entries()) {
    knows(written, FIELDS.rule);
    const rule = parsed.policy.rules[index];
    for (const [part, kind] of [
      ['from', 'source'],
      ['to', 'operation'],
    ] as const) {
      const entries = list(mapping(written)[part]);
      demand(rule?.[part].length === entries.length, `${part} has an entry more or less than written`);
      for (const [at, entry] of entries.entries()) {
        knows(entry, [kind]);
        const fields = mapping(mapping(entry)[kind]);
        knows(fields, FIELDS[kind]);
        const read = (rule?.[part][at] ?? []).reduce(
          (sum, { values, notValues }) => sum + values.length + notValues.length,
          0,
        );
        demand(read > 0 && read === count(Object.values(fields)), `${part}[${at}] lost values`);
      }
    }
    const conditions = list(mapping(written)['when']);
    demand(rule?.when.length === conditions.length, 'when has a condition more or less than written');
    for (const condition of conditions) knows(condition, FIELDS.condition);
  }
}

/** Nothing that a rule asks for may get lost on the way: a rule for anybody and anything says so by `{}` alone. */
function checkCompiled(policy: AuthorizationPolicy): void {
  const target = { namespace: policy.namespace, labels: policy.selector };
  demand(
    policiesFor([policy], target, settings).length === 1,
    'a policy that does not select its own labels',
  );
  for (const protocol of ['http', 'tcp'] as const) {
    const { audit, deny, allow, custom } = compile([policy], { protocol, settings });
    // On TCP whatever restricts does so without what only HTTP has, and covers more on purpose.
    const widens = protocol === 'tcp' && policy.action !== 'ALLOW';
    for (const filter of [audit, deny, allow, ...(custom ? [custom.select] : [])]) {
      for (const [name, { permissions, principals }] of compiledRules(filter)) {
        const rule = policy.rules.find(({ index }) => name.endsWith(`-rule[${index}]`));
        demand(rule !== undefined, `compiled ${name}, which nobody wrote`);
        const everything = permissions.some(isAny) && principals.some(isAny);
        const written = rule.from.length + rule.to.length + rule.when.length;
        demand(!everything || widens || written === 0, `${name} compiled to anybody and anything`);
        demand(widens || rule.from.length === 0 || !principals.some(isAny), `${name} compiled to anybody`);
        demand(widens || rule.to.length === 0 || !permissions.some(isAny), `${name} compiled to anything`);
      }
    }
    if (policy.action === 'ALLOW' && policy.mode === 'Enforce')
      demand(allow.typed_config.rules?.action === 'ALLOW', 'an ALLOW policy without its filter');
  }
}

function compiledRules({
  typed_config: { rules, shadow_rules: shadow },
}: RbacFilter): [string, NonNullable<typeof rules>['policies'][string]][] {
  return [...Object.entries(rules?.policies ?? {}), ...Object.entries(shadow?.policies ?? {})];
}

function isAny(node: object): boolean {
  return 'any' in node;
}

function knows(value: unknown, names: readonly string[]): void {
  for (const name of Object.keys(mapping(value)))
    demand(names.includes(name), `read a document with the unknown field ${name}`);
}

function count(lists: readonly unknown[]): number {
  return lists.reduce<number>((sum, each) => sum + list(each).length, 0);
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function mapping(value: unknown): Readonly<Record<string, unknown>> {
  return isMapping(value) ? value : {};
}

function demand(holds: boolean, otherwise: string): asserts holds {
  if (!holds) throw new Error(otherwise);
}
