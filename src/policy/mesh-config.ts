import { readFederation } from './federation.ts';
import { Findings } from './findings.ts';
import { readProviders } from './providers.ts';
import { describe, quote, readFields, readList } from './shape.ts';
import type { Issue, MeshSettings } from './types.ts';

export type ParsedMeshConfig =
  | { readonly ok: true; readonly settings: Partial<MeshSettings>; readonly issues: readonly Issue[] }
  | { readonly ok: false; readonly issues: readonly Issue[] };

const KNOWN = [
  'trustDomain',
  'trustDomainAliases',
  'rootNamespace',
  'defaultAction',
  'extensionProviders',
  'federation',
];

/**
 * Checks a mesh's configuration, given as the value that its YAML or JSON stands for. What it does not name is left
 * to whoever asked. Never throws.
 */
export function parseMeshConfig(document: unknown): ParsedMeshConfig {
  const findings = new Findings();
  const fields = readFields(document, '', { known: KNOWN }, findings) ?? {};
  const trustDomain = readTrustDomain(fields['trustDomain'], 'trustDomain', findings);
  const trustDomainAliases = readAliases(fields['trustDomainAliases'], findings);
  const rootNamespace = readNamespace(fields['rootNamespace'], findings);
  const defaultAction = readDefaultAction(fields['defaultAction'], findings);
  const authorizers = readProviders(fields['extensionProviders'], 'extensionProviders', findings);
  const federation = readFederation(fields['federation'], 'federation', findings);
  if (findings.failed) return { ok: false, issues: findings.issues };
  const settings: Partial<MeshSettings> = {
    ...(trustDomain !== undefined && { trustDomain }),
    ...(trustDomainAliases.length > 0 && { trustDomainAliases }),
    ...(rootNamespace !== undefined && { rootNamespace }),
    ...(defaultAction !== undefined && { defaultAction }),
    ...(authorizers.length > 0 && { authorizers }),
    ...(federation.length > 0 && { federation }),
  };
  return { ok: true, settings, issues: findings.issues };
}

function readTrustDomain(value: unknown, path: string, findings: Findings): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'string' && /^[a-z0-9._-]{1,255}$/.test(value)) return value;
  findings.error(path, `expected a trust domain such as cluster.local, found ${describe(value)}`);
  return undefined;
}

function readAliases(value: unknown, findings: Findings): readonly string[] {
  if (value === undefined) return [];
  const path = 'trustDomainAliases';
  const list = readList(value, path, findings, 'leave it out to have none') ?? [];
  return list.flatMap((entry, index) => readTrustDomain(entry, `${path}[${index}]`, findings) ?? []);
}

function readNamespace(value: unknown, findings: Findings): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'string' && /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(value)) return value;
  findings.error('rootNamespace', `expected a namespace, found ${describe(value)}`);
  return undefined;
}

function readDefaultAction(value: unknown, findings: Findings): 'allow' | 'deny' | undefined {
  if (value === undefined || value === 'deny') return value;
  if (value !== 'allow') {
    const found = typeof value === 'string' ? quote(value) : describe(value);
    findings.error('defaultAction', `expected deny or allow, found ${found}`);
    return undefined;
  }
  findings.warn('defaultAction', 'lets everyone in where no ALLOW policy selects a workload');
  return value;
}
