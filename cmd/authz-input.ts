import { loadManifests, type Manifest, type ManifestProblem } from '../src/sources/manifests/index.ts';
import {
  parseAuthorizationPolicy,
  type AuthorizationPolicy,
  type Issue,
  type ParseOptions,
} from '../src/policy/index.ts';

/** What the `-f` files of an authz command hold. */
export interface AuthzInput {
  readonly policies: readonly AuthorizationPolicy[];
  /** Labels by `namespace/name`. */
  readonly pods: ReadonlyMap<string, Readonly<Record<string, string>>>;
  /** Lines for stderr, errors and warnings alike. */
  readonly report: readonly string[];
  readonly failed: boolean;
}

/** Reads policies and pods; other kinds are none of an authz command's business. */
export async function readAuthzInput(
  files: readonly string[],
  options: ParseOptions & { readonly stdin: NodeJS.ReadableStream },
): Promise<AuthzInput> {
  const { documents, problems } = await loadManifests(files, options.stdin);
  const report = problems.map(renderProblem);
  const policies = new Map<string, { policy: AuthorizationPolicy; manifest: Manifest }>();
  const pods = new Map<string, Readonly<Record<string, string>>>();
  let failed = problems.length > 0;
  for (const manifest of documents) {
    if (manifest.value['kind'] === 'Pod') addPod(manifest, pods);
    if (manifest.value['kind'] !== 'AuthorizationPolicy') continue;
    const parsed = parseAuthorizationPolicy(manifest.value, options);
    report.push(...parsed.issues.map((issue) => renderIssue(manifest, issue)));
    if (!parsed.ok) {
      failed = true;
      continue;
    }
    const key = `${parsed.policy.namespace}/${parsed.policy.name}`;
    const first = policies.get(key)?.manifest;
    if (first === undefined) {
      policies.set(key, { policy: parsed.policy, manifest });
      continue;
    }
    failed = true;
    report.push(
      `error ${manifest.file}:${manifest.line} metadata.name: AuthorizationPolicy ${key} is already defined at ${first.file}:${first.line}; remove one of the two`,
    );
  }
  return { policies: [...policies.values()].map(({ policy }) => policy), pods, report, failed };
}

function addPod({ value }: Manifest, pods: Map<string, Readonly<Record<string, string>>>): void {
  const metadata = mapping(value['metadata']);
  const namespace = metadata['namespace'] ?? 'default';
  if (typeof metadata['name'] !== 'string' || typeof namespace !== 'string') return;
  const labels = Object.entries(mapping(metadata['labels'])).filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string',
  );
  pods.set(`${namespace}/${metadata['name']}`, Object.fromEntries(labels));
}

function mapping(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : {};
}

function renderProblem({ file, line, field, message }: ManifestProblem): string {
  const where = line === 0 ? file : `${file}:${line}`;
  return `error ${where}${field === '' ? '' : ` ${field}`}: ${message}`;
}

function renderIssue(manifest: Manifest, { severity, path, message }: Issue): string {
  const at = `${manifest.file}:${manifest.lineOf(path)}`;
  return `${severity} ${at}${path === '' ? '' : ` ${path}`}: ${message}`;
}
