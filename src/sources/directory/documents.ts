import { keyOf, namespacedKey, POLICY_KINDS, readPolicy } from '../../mesh/index.ts';
import type { MeshKind, MeshObject, PolicyKind } from '../../mesh/index.ts';
import type { Manifest } from '../manifests/index.ts';
import {
  DEFAULT_NAMESPACE,
  parseNamespace,
  parsePod,
  parseService,
  parseServiceAccount,
} from './core-objects.ts';
import { Fields, fieldText, isRecord } from './fields.ts';
import type { FieldFault } from './fields.ts';
import { dnsLabelFault, dnsSubdomainFault } from './names.ts';
import { idText } from './types.ts';
import type { ObjectId, Problem } from './types.ts';

/** What one document comes to. */
export type ReadDocument =
  | {
      readonly kind: 'good';
      readonly id: ObjectId;
      readonly line: number;
      readonly object: MeshObject;
      readonly problems: readonly Problem[];
    }
  /** The object is known, and this version of it cannot be used. */
  | {
      readonly kind: 'bad';
      readonly id: ObjectId;
      readonly line: number;
      readonly problems: readonly Problem[];
    }
  /** Which object is meant cannot be told. */
  | { readonly kind: 'nameless'; readonly problems: readonly Problem[] }
  /** Not ours. */
  | {
      readonly kind: 'ignored';
      readonly line: number;
      readonly object: string;
      readonly problems: readonly Problem[];
    };

const CORE_PARSERS: Readonly<Record<Exclude<MeshKind, PolicyKind>, (document: Fields) => MeshObject>> = {
  Namespace: parseNamespace,
  ServiceAccount: parseServiceAccount,
  Pod: parsePod,
  Service: parseService,
};

/** API groups whose objects stand in ordinary manifests beside ours and mean nothing to the mesh. */
const OTHERS_GROUPS = /^(?:apps|batch|autoscaling|policy|[a-z0-9.-]+\.k8s\.io)\//;
const OTHERS_CORE_KINDS: ReadonlySet<string> = new Set([
  'ConfigMap',
  'Endpoints',
  'Event',
  'LimitRange',
  'Node',
  'PersistentVolume',
  'PersistentVolumeClaim',
  'PodTemplate',
  'ReplicationController',
  'ResourceQuota',
  'Secret',
]);

/** Reads one manifest. Never throws. */
export function readDocument(manifest: Manifest, options: { rootNamespace?: string }): ReadDocument {
  const kind = manifest.value['kind'];
  const apiVersion = manifest.value['apiVersion'];
  if (typeof kind !== 'string' || kind === '' || typeof apiVersion !== 'string' || apiVersion === '') {
    const field = typeof kind === 'string' && kind !== '' ? 'apiVersion' : 'kind';
    return {
      kind: 'nameless',
      problems: [problemAt(manifest, [field], 'is missing; every manifest has apiVersion and kind')],
    };
  }
  if (isPolicy(kind)) return readPolicyDocument(manifest, kind, options);
  if (isCoreKind(kind) && apiVersion === 'v1') return readCoreObject(manifest, kind);
  return readOther(manifest, kind, apiVersion);
}

function readCoreObject(manifest: Manifest, kind: keyof typeof CORE_PARSERS): ReadDocument {
  const faults: FieldFault[] = [];
  const object = CORE_PARSERS[kind](new Fields(manifest.value, [], faults));
  if (faults.length === 0)
    return { kind: 'good', id: { kind, key: keyOf(object) }, line: manifest.line, object, problems: [] };
  const id = idOf(manifest, kind);
  const problems = faults.map(({ path, message }) => problemAt(manifest, path, message, id));
  return id === undefined
    ? { kind: 'nameless', problems }
    : { kind: 'bad', id, line: manifest.line, problems };
}

function readPolicyDocument(
  manifest: Manifest,
  kind: PolicyKind,
  options: { rootNamespace?: string },
): ReadDocument {
  const id = idOf(manifest, kind);
  const { object, issues } = readPolicy(kind, manifest.value, options);
  const problems = issues.map(({ severity, path, message }): Problem => ({
    severity,
    file: manifest.file,
    line: manifest.lineOf(path),
    field: path,
    message,
    ...(id === undefined ? {} : { object: idText(id) }),
  }));
  const { line } = manifest;
  if (object !== undefined) return { kind: 'good', id: { kind, key: keyOf(object) }, line, object, problems };
  return id === undefined ? { kind: 'nameless', problems } : { kind: 'bad', id, line, problems };
}

function readOther(manifest: Manifest, kind: string, apiVersion: string): ReadDocument {
  const object = `${kind.slice(0, 80)} (${apiVersion.slice(0, 80)})`;
  const { line } = manifest;
  const warn = (message: string): ReadDocument => ({
    kind: 'ignored',
    line,
    object,
    problems: [{ ...problemAt(manifest, ['kind'], message), severity: 'warning' }],
  });
  if (isCoreKind(kind)) return warn(`${object} has no effect: ${kind} is read with apiVersion v1`);
  if (OTHERS_GROUPS.test(apiVersion) || (apiVersion === 'v1' && OTHERS_CORE_KINDS.has(kind))) {
    return { kind: 'ignored', line, object, problems: [] };
  }
  return warn(
    `${object} is no kind that is known here, and has no effect: ${Object.keys(CORE_PARSERS).join(', ')} (v1) and ${POLICY_KINDS.join(', ')} (security.countersign.dev/v1) are`,
  );
}

/**
 * Which object a document means, when it cannot be used otherwise. A name that no object can have may be any object's
 * name, written wrongly.
 */
function idOf(manifest: Manifest, kind: MeshKind): ObjectId | undefined {
  const metadata = manifest.value['metadata'];
  if (!isRecord(metadata)) return undefined;
  const { name } = metadata;
  const namespace = metadata['namespace'] ?? '';
  if (typeof name !== 'string' || dnsSubdomainFault(name) !== undefined) return undefined;
  if (kind === 'Namespace') return { kind, key: name };
  if (namespace === '') return { kind, key: namespacedKey(DEFAULT_NAMESPACE, name) };
  if (typeof namespace !== 'string' || dnsLabelFault(namespace) !== undefined) return undefined;
  return { kind, key: namespacedKey(namespace, name) };
}

function problemAt(manifest: Manifest, path: FieldFault['path'], message: string, id?: ObjectId): Problem {
  return {
    severity: 'error',
    file: manifest.file,
    line: manifest.lineOf(path),
    field: fieldText(path),
    message,
    ...(id === undefined ? {} : { object: idText(id) }),
  };
}

function isPolicy(kind: string): kind is PolicyKind {
  return (POLICY_KINDS as readonly string[]).includes(kind);
}

function isCoreKind(kind: string): kind is keyof typeof CORE_PARSERS {
  return Object.hasOwn(CORE_PARSERS, kind);
}
