import { nearestName } from './nearest.ts';
import type { Findings } from './findings.ts';
import { describe, isFields, quote, readFields, readStrings } from './shape.ts';
import type { AuthorizationPolicy, Mode } from './types.ts';

type ApiGroup = AuthorizationPolicy['apiGroup'];

/** What every object of the language has around its spec. */
export interface Header {
  readonly apiGroup: ApiGroup;
  readonly namespace: string;
  readonly name: string;
  /** `istio.io/dry-run`; undefined: not annotated. */
  readonly dryRun: boolean | undefined;
  /** `metadata.creationTimestamp` as it stands. */
  readonly created: unknown;
  readonly spec: unknown;
}

const API_VERSIONS: ReadonlyMap<string, ApiGroup> = new Map<string, ApiGroup>([
  ['security.countersign.dev/v1', 'security.countersign.dev'],
  ['security.istio.io/v1', 'security.istio.io'],
  ['security.istio.io/v1beta1', 'security.istio.io'],
]);

const DRY_RUN = 'istio.io/dry-run';

/** The envelope of a document of one kind; undefined (and said so) where it cannot be read. */
export function readHeader(document: unknown, kind: string, findings: Findings): Header | undefined {
  const shape = { known: ['apiVersion', 'kind', 'metadata', 'spec', 'status'] };
  const fields = readFields(document, '', shape, findings);
  if (fields === undefined) return undefined;
  const apiGroup = readApiGroup(fields['apiVersion'], findings);
  if (fields['kind'] !== kind) findings.error('kind', `expected ${kind}, found ${describe(fields['kind'])}`);
  const metadata = fields['metadata'];
  if (!isFields(metadata)) {
    findings.error('metadata', `expected a mapping with name and namespace, found ${describe(metadata)}`);
    return undefined;
  }
  const namespace = metadata['namespace'] === undefined ? 'default' : metadata['namespace'];
  const name = metadata['name'];
  if (!isDnsName(namespace, 63, /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/)) {
    findings.error(
      'metadata.namespace',
      `${describe(namespace)} is no namespace: a-z, 0-9 and -, at most 63 characters`,
    );
    return undefined;
  }
  if (!isDnsName(name, 253, /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/)) {
    findings.error(
      'metadata.name',
      `${describe(name)} is no name: a-z, 0-9, - and ., at most 253 characters`,
    );
    return undefined;
  }
  const dryRun = readDryRun(metadata['annotations'], findings);
  if (apiGroup === undefined) return undefined;
  const created = metadata['creationTimestamp'];
  return { apiGroup, namespace, name, dryRun, created, spec: fields['spec'] };
}

/** `spec.mode`, or the annotation that means the same. */
export function readMode(mode: unknown, dryRun: boolean | undefined, findings: Findings): Mode {
  if (mode === undefined) return dryRun === true ? 'Shadow' : 'Enforce';
  if (mode !== 'Enforce' && mode !== 'Shadow') {
    findings.error('spec.mode', `expected Enforce or Shadow, found ${describe(mode)}`);
    return 'Enforce';
  }
  if (dryRun !== undefined && dryRun !== (mode === 'Shadow')) {
    findings.error(
      'spec.mode',
      `${mode} contradicts the annotation ${DRY_RUN}: "${dryRun}"; keep one of the two`,
    );
  }
  return mode;
}

/** `spec.selector.matchLabels`. */
export function readSelector(selector: unknown, findings: Findings): Record<string, string> {
  if (selector === undefined) return {};
  const fields = readFields(
    selector,
    'spec.selector',
    { known: ['matchLabels'], unsupported: ['matchExpressions'] },
    findings,
  );
  if (fields?.['matchLabels'] === undefined) return {};
  const path = 'spec.selector.matchLabels';
  const labels = readStrings(fields['matchLabels'], path, findings);
  for (const [name, value] of Object.entries(labels)) {
    if (!/^([a-z0-9.-]{1,253}\/)?[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?$/.test(name)) {
      findings.error(path, `${quote(name)} is no label name: no pod can have it`);
    }
    if (!/^([A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?)?$/.test(value)) {
      findings.error(
        path,
        `${quote(value)} is no label value: no pod can have it; a label is matched whole, without *`,
      );
    }
  }
  return labels;
}

function readApiGroup(apiVersion: unknown, findings: Findings): ApiGroup | undefined {
  const known = [...API_VERSIONS.keys()];
  const group = typeof apiVersion === 'string' ? API_VERSIONS.get(apiVersion) : undefined;
  if (group !== undefined) return group;
  const nearest = typeof apiVersion === 'string' ? nearestName(apiVersion, known) : undefined;
  const hint = nearest === undefined ? `allowed: ${known.join(', ')}` : `did you mean ${nearest}?`;
  findings.error('apiVersion', `unknown version, found ${describe(apiVersion)}; ${hint}`);
  return undefined;
}

function readDryRun(annotations: unknown, findings: Findings): boolean | undefined {
  if (!isFields(annotations) || !Object.hasOwn(annotations, DRY_RUN)) return undefined;
  const value = annotations[DRY_RUN];
  if (value === 'true' || value === 'false') return value === 'true';
  findings.error(
    `metadata.annotations["${DRY_RUN}"]`,
    `expected "true" or "false" in quotes, found ${describe(value)}`,
  );
  return undefined;
}

function isDnsName(value: unknown, maximum: number, form: RegExp): value is string {
  return typeof value === 'string' && value.length <= maximum && form.test(value);
}
