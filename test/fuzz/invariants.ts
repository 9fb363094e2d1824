import {
  compile,
  parseAuthorizationPolicy,
  policiesFor,
  type AuthorizationPolicy,
  type MeshSettings,
  type Parsed,
} from '../../src/policy/index.ts';
import { readManifests } from '../../src/sources/manifests/index.ts';
import { checkCompiled } from './compiled.ts';
import { demand, isMapping, knows, list, mapping } from './reading.ts';

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

/** What a text goes through. */
export interface Machine {
  readonly readManifests: typeof readManifests;
  readonly parse: typeof parseAuthorizationPolicy;
  readonly compile: typeof compile;
}

const OURS: Machine = { readManifests, parse: parseAuthorizationPolicy, compile };

/** Takes a text the whole way to Envoy's filters. Throws where anything is not as promised. */
export function throughAll(text: string, machine: Machine = OURS): Outcome {
  const { documents, problems } = machine.readManifests(text, 'fuzz.yaml');
  for (const { line, message } of problems) {
    demand(line >= 1, `a problem in line ${line}`);
    demand(message.length < 1_000, `a message of ${message.length} characters`);
  }
  let policies = 0;
  let refused = 0;
  for (const manifest of documents) {
    demand(isMapping(manifest.value), 'an object that is no mapping');
    const parsed = machine.parse(manifest.value, { rootNamespace: 'root', nowMs: () => 0 });
    for (const { path } of parsed.issues) demand(manifest.lineOf(path) >= 1, `a field in no line: ${path}`);
    checkParsed(manifest.value, parsed);
    if (parsed.ok) {
      policies += 1;
      const spec = mapping(mapping(manifest.value)['spec']);
      checkPolicy(parsed.policy, list(spec['rules']), machine);
    } else refused += 1;
  }
  return { documents: documents.length, policies, refused };
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
    demand(isMapping(written), 'read a rule that is no mapping');
    knows(written, FIELDS.rule);
    const rule = parsed.policy.rules[index];
    for (const [part, kind] of [
      ['from', 'source'],
      ['to', 'operation'],
    ] as const) {
      const entries = list(mapping(written)[part]);
      demand(rule?.[part].length === entries.length, `${part} has an entry more or less than written`);
      for (const [at, entry] of entries.entries()) {
        demand(isMapping(entry) && isMapping(entry[kind]), `read an entry of ${part} that is no mapping`);
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

/** Compiles a policy for each protocol. */
function checkPolicy(policy: AuthorizationPolicy, rules: readonly unknown[], machine: Machine): void {
  const target = { namespace: policy.namespace, labels: policy.selector };
  demand(
    policiesFor([policy], target, settings).length === 1,
    'a policy that does not select its own labels',
  );
  for (const protocol of ['http', 'tcp'] as const)
    checkCompiled(policy, rules, machine.compile([policy], { protocol, settings }), protocol);
}

function count(lists: readonly unknown[]): number {
  return lists.reduce<number>((sum, each) => sum + list(each).length, 0);
}
