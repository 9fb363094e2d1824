import { loadManifests, type Manifest, type ManifestProblem } from '../src/sources/manifests/index.ts';
import {
  nearestName,
  parseAuthorizationPolicy,
  parsePeerAuthentication,
  parseRequestAuthentication,
  type AuthorizationPolicy,
  type Documents,
  type Issue,
  type ParseOptions,
  type PeerAuthentication,
  type RequestAuthentication,
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
  readonly serviceAccount: string;
  /** Where the manifest is of a pod that is there, as kubectl get prints it. */
  readonly uid: string | undefined;
  readonly nodeName: string | undefined;
}

/** A document of the policy language, of any kind. */
export type PolicyDocument = AuthorizationPolicy | RequestAuthentication | PeerAuthentication;

/** What the `-f` files of an authz command hold. */
export interface AuthzInput extends Documents {
  readonly manifestOf: ReadonlyMap<PolicyDocument, Manifest>;
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
  const manifestOf = new Map<PolicyDocument, Manifest>();
  const pods = new Map<string, InputPod>();
  const others: Manifest[] = [];
  const reader = <T extends PolicyDocument>(
    parse: (value: unknown, options: ParseOptions) => Outcome<T>,
  ): Reader<T> => {
    const known = new Map<string, T>();
    return {
      known,
      read: (manifest) => {
        const parsed = parse(manifest.value, options);
        findings.push(...parsed.issues.map((issue) => findingAt(manifest, issue)));
        if (!parsed.ok) return;
        const key = `${parsed.policy.namespace}/${parsed.policy.name}`;
        const before = known.get(key);
        const first = before && manifestOf.get(before);
        if (first === undefined) {
          known.set(key, parsed.policy);
          manifestOf.set(parsed.policy, manifest);
          return;
        }
        const message = `${String(manifest.value['kind'])} ${key} is already defined at ${first.file}:${first.line}; remove one of the two`;
        const issue: Issue = { severity: 'error', path: 'metadata.name', message };
        findings.push({ ...findingAt(manifest, issue), line: manifest.line });
      },
    };
  };
  const policies = reader(parseAuthorizationPolicy);
  const requestAuthentications = reader(parseRequestAuthentication);
  const peerAuthentications = reader(parsePeerAuthentication);
  const readers: Readonly<Record<string, (manifest: Manifest) => void>> = {
    AuthorizationPolicy: policies.read,
    RequestAuthentication: requestAuthentications.read,
    PeerAuthentication: peerAuthentications.read,
  };
  for (const manifest of documents) {
    const kind = String(manifest.value['kind']);
    if (Object.hasOwn(readers, kind)) readers[kind]?.(manifest);
    else if (isOurs(manifest)) findings.push(findingAt(manifest, unknownKind(manifest)));
    else {
      if (kind === 'Pod') addPod(manifest, pods);
      others.push(manifest);
    }
  }
  return {
    policies: [...policies.known.values()],
    requestAuthentications: [...requestAuthentications.known.values()],
    peerAuthentications: [...peerAuthentications.known.values()],
    ...{ manifestOf, pods, others, findings },
    failed: findings.some(({ severity }) => severity === 'error'),
  };
}

const GROUPS: ReadonlySet<string> = new Set<AuthorizationPolicy['apiGroup']>([
  'security.countersign.dev',
  'security.istio.io',
]);
const KINDS = ['AuthorizationPolicy', 'RequestAuthentication', 'PeerAuthentication'];

function isOurs({ value }: Manifest): boolean {
  const version = value['apiVersion'];
  return typeof version === 'string' && GROUPS.has(version.split('/')[0] ?? '');
}

/** Passed over, it would be a policy that its author believes to hold. */
function unknownKind({ value }: Manifest): Issue {
  const found = String(value['kind']);
  const nearest = nearestName(found, KINDS);
  const hint = nearest === undefined ? `allowed: ${KINDS.join(', ')}` : `did you mean ${nearest}?`;
  const message = `unknown kind ${JSON.stringify(found)} of ${String(value['apiVersion'])}; ${hint}`;
  return { severity: 'error', path: 'kind', message };
}

type Outcome<T> =
  | { readonly ok: true; readonly policy: T; readonly issues: readonly Issue[] }
  | { readonly ok: false; readonly issues: readonly Issue[] };

interface Reader<T> {
  /** By `namespace/name`. */
  readonly known: ReadonlyMap<string, T>;
  readonly read: (manifest: Manifest) => void;
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

/** @returns undefined for what is no text, or an empty one */
function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function addPod({ value }: Manifest, pods: Map<string, InputPod>): void {
  const metadata = mapping(value['metadata']);
  const namespace = metadata['namespace'] ?? 'default';
  if (typeof metadata['name'] !== 'string' || typeof namespace !== 'string') return;
  const labels = Object.entries(mapping(metadata['labels'])).filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string',
  );
  const spec = mapping(value['spec']);
  pods.set(`${namespace}/${metadata['name']}`, {
    namespace,
    labels: Object.fromEntries(labels),
    serviceAccount: textOf(spec['serviceAccountName']) ?? textOf(spec['serviceAccount']) ?? 'default',
    uid: textOf(metadata['uid']),
    nodeName: textOf(spec['nodeName']),
  });
}
