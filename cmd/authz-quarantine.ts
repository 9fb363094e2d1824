import { X509Certificate } from 'node:crypto';
import {
  parseTime,
  type Decision,
  type PeerCertificate,
  type QuarantinedCallers,
  type QuarantineRule,
  type Request,
} from '../src/policy/index.ts';
import type { InputPod } from './authz-input.ts';
import { readMappingFile, readSmallFile } from './mapping.ts';

type Fields = Readonly<Record<string, unknown>>;

/** An entry of the list. */
export interface Listed {
  readonly rule: QuarantineRule;
  /** Of kind pod: NAMESPACE/NAME; else empty. */
  readonly pod: string;
}

/** What `countersign quarantine list -o json` (or yaml) printed. @throws Error where it is something else */
export async function readQuarantine(file: string): Promise<readonly Listed[]> {
  const { entries } = await readMappingFile(file, '--quarantine');
  const listed = Array.isArray(entries)
    ? entries.map((entry: unknown) => listedOf({ ...Object(entry) }))
    : undefined;
  if (listed === undefined || listed.includes(undefined)) {
    throw new Error(`--quarantine: ${file} is not what countersign quarantine list -o json prints`);
  }
  return listed.filter((each) => each !== undefined);
}

/** The first certificate of a PEM file. @throws Error where there is none */
export async function readCertificate(file: string): Promise<PeerCertificate> {
  try {
    const { fingerprint256, subject } = new X509Certificate(await readSmallFile(file));
    // Envoy writes the last part first (RFC 2253). Nothing in a Subject of ours needs an escape.
    const parts = subject === '' || subject === undefined ? [] : subject.split('\n');
    return {
      digest: fingerprint256.replaceAll(':', '').toLowerCase(),
      subject: parts.toReversed().join(','),
    };
  } catch (error) {
    throw new Error(
      `--from-certificate: ${file} cannot be read as a PEM certificate: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  }
}

/** An entry that could turn an ALLOW into a denial, if the caller's certificate were known. */
export function undecidedEntry(
  rules: readonly QuarantineRule[],
  { principal, certificate }: Request,
  { verdict }: Decision,
): string | undefined {
  if (verdict === 'DENY' || certificate !== undefined || principal === undefined) return undefined;
  return rules.find(({ callers }) => {
    if (callers.kind === 'id' || callers.kind === 'everyone') return false;
    return callers.kind !== 'issued-before' || callers.id === undefined || callers.id === principal;
  })?.entry;
}

/** The called workload. `pod`: undefined where the manifests do not have it. */
export interface Target {
  readonly namespace: string;
  readonly name: string;
  readonly pod: InputPod | undefined;
  readonly trustDomain: string;
}

/**
 * Whether the called workload is in quarantine itself, and so denies everybody.
 * @returns the first entry that is about it; with none, the first that may be: the manifests do not say
 */
export function entryAboutTarget(
  listed: readonly Listed[],
  target: Target,
): { readonly rule: QuarantineRule; readonly certain: boolean } | undefined {
  const told = listed.map((each) => ({ rule: each.rule, certain: isAbout(each, target) }));
  const { rule, certain = false } =
    told.find((each) => each.certain === true) ?? told.find((each) => each.certain === undefined) ?? {};
  return rule && { rule, certain };
}

/** As the control plane decides it of a pod that it knows. Undefined: it cannot be told. */
function isAbout(
  { rule: { callers }, pod: named }: Listed,
  { namespace, name, pod, trustDomain }: Target,
): boolean | undefined {
  switch (callers.kind) {
    case 'id': {
      const ids = `spiffe://${trustDomain}/ns/${namespace}/sa/`;
      if (pod !== undefined) return callers.uri === `${ids}${pod.serviceAccount}`;
      return callers.uri.startsWith(ids) ? undefined : false;
    }
    case 'pod':
      if (pod?.uid !== undefined) return callers.uid === pod.uid;
      return named === `${namespace}/${name}` || named === '' ? undefined : false;
    case 'node':
      return pod?.nodeName === undefined ? undefined : callers.node === pod.nodeName;
    case 'certificate':
    case 'issued-before':
    case 'everyone':
      return false;
    default:
      return callers satisfies never;
  }
}

function listedOf(entry: Fields): Listed | undefined {
  const { name, reason, pod } = entry;
  const callers = callersOf(entry);
  if (typeof name !== 'string' || name === '' || typeof reason !== 'string') return undefined;
  return callers && { rule: { entry: name, reason, callers }, pod: typeof pod === 'string' ? pod : '' };
}

function callersOf(entry: Fields): QuarantinedCallers | undefined {
  const text = (field: string): string => (typeof entry[field] === 'string' ? entry[field] : '');
  switch (entry['kind']) {
    case 'id':
      return text('id') === '' ? undefined : { kind: 'id', uri: text('id') };
    case 'pod':
      return text('pod_uid') === '' ? undefined : { kind: 'pod', uid: text('pod_uid') };
    case 'node':
      return text('node') === '' ? undefined : { kind: 'node', node: text('node') };
    case 'certificate':
      return text('certificate') === '' ? undefined : { kind: 'certificate', digest: text('certificate') };
    case 'issued-before': {
      const atMs = parseTime(text('issued_before'));
      const id = text('id');
      return atMs === undefined ? undefined : { kind: 'issued-before', atMs, ...(id !== '' && { id }) };
    }
    default:
      return undefined;
  }
}
