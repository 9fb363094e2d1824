import { X509Certificate } from 'node:crypto';
import {
  parseTime,
  type Decision,
  type PeerCertificate,
  type QuarantinedCallers,
  type QuarantineRule,
  type Request,
} from '../src/policy/index.ts';
import { readMappingFile, readSmallFile } from './mapping.ts';

type Fields = Readonly<Record<string, unknown>>;

/** What `countersign quarantine list -o json` (or yaml) printed. @throws Error where it is something else */
export async function readQuarantine(file: string): Promise<readonly QuarantineRule[]> {
  const { entries } = await readMappingFile(file, '--quarantine');
  const rules = Array.isArray(entries)
    ? entries.map((entry: unknown) => ruleOf({ ...Object(entry) }))
    : undefined;
  if (rules === undefined || rules.includes(undefined)) {
    throw new Error(`--quarantine: ${file} is not what countersign quarantine list -o json prints`);
  }
  return rules.filter((rule) => rule !== undefined);
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

function ruleOf(entry: Fields): QuarantineRule | undefined {
  const { name, reason } = entry;
  const callers = callersOf(entry);
  if (typeof name !== 'string' || name === '' || typeof reason !== 'string') return undefined;
  return callers && { entry: name, reason, callers };
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
