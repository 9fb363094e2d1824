import { loadManifests, type Manifest, type ManifestProblem } from '../src/sources/manifests/index.ts';
import {
  parseAuthorizationPolicy,
  type AuthorizationPolicy,
  type Issue,
  type ParseOptions,
} from '../src/policy/index.ts';

/** What is found about a place in the `-f` files. Line 0: the file as a whole could not be read. */
export interface Finding extends Issue {
  readonly file: string;
  readonly line: number;
  /** `AuthorizationPolicy shop/cart`; empty where it is not known. */
  readonly object: string;
}

export interface InputPod {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** What the `-f` files of an authz command hold. */
export interface AuthzInput {
  readonly policies: readonly AuthorizationPolicy[];
  readonly manifestOf: ReadonlyMap<AuthorizationPolicy, Manifest>;
  /** By `namespace/name`. */
  readonly pods: ReadonlyMap<string, InputPod>;
  /** Documents of other kinds, as they stand. */
  readonly others: readonly Manifest[];
  readonly findings: readonly Finding[];
  readonly failed: boolean;
}

/** Reads policies and pods. */
export async function readAuthzInput(
  files: readonly string[],
  options: ParseOptions & { readonly stdin: NodeJS.ReadableStream },
): Promise<AuthzInput> {
  const { documents, problems } = await loadManifests(files, options.stdin);
  const findings = problems.map(ofProblem);
  const manifestOf = new Map<AuthorizationPolicy, Manifest>();
  const policies = new Map<string, AuthorizationPolicy>();
  const pods = new Map<string, InputPod>();
  const others: Manifest[] = [];
  for (const manifest of documents) {
    if (manifest.value['kind'] === 'Pod') addPod(manifest, pods);
    if (manifest.value['kind'] !== 'AuthorizationPolicy') {
      others.push(manifest);
      continue;
    }
    const parsed = parseAuthorizationPolicy(manifest.value, options);
    findings.push(...parsed.issues.map((issue) => findingAt(manifest, issue)));
    if (!parsed.ok) continue;
    const key = `${parsed.policy.namespace}/${parsed.policy.name}`;
    const known = policies.get(key);
    const first = known && manifestOf.get(known);
    if (first === undefined) {
      policies.set(key, parsed.policy);
      manifestOf.set(parsed.policy, manifest);
      continue;
    }
    const message = `AuthorizationPolicy ${key} is already defined at ${first.file}:${first.line}; remove one of the two`;
    findings.push({
      ...findingAt(manifest, { severity: 'error', path: 'metadata.name', message }),
      line: manifest.line,
    });
  }
  const failed = findings.some(({ severity }) => severity === 'error');
  return { policies: [...policies.values()], manifestOf, pods, others, findings, failed };
}

/** `error shop.yaml:12 spec.rules[0].to: ...` */
export function renderFinding({ severity, file, line, path, message }: Finding): string {
  const where = line === 0 ? file : `${file}:${line}`;
  return `${severity} ${where}${path === '' ? '' : ` ${path}`}: ${message}`;
}

export function findingAt(manifest: Manifest, issue: Issue): Finding {
  const { namespace = 'default', name = '' } = mapping(manifest.value['metadata']);
  const object = `${String(manifest.value['kind'])} ${String(namespace)}/${String(name)}`;
  return { ...issue, file: manifest.file, line: manifest.lineOf(issue.path), object };
}

export function mapping(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : {};
}

function ofProblem({ file, line, field, message }: ManifestProblem): Finding {
  return { severity: 'error', file, line, path: field, message, object: '' };
}

function addPod({ value }: Manifest, pods: Map<string, InputPod>): void {
  const metadata = mapping(value['metadata']);
  const namespace = metadata['namespace'] ?? 'default';
  if (typeof metadata['name'] !== 'string' || typeof namespace !== 'string') return;
  const labels = Object.entries(mapping(metadata['labels'])).filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string',
  );
  pods.set(`${namespace}/${metadata['name']}`, { namespace, labels: Object.fromEntries(labels) });
}
