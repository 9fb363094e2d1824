import { parseMeshConfig, type Issue, type MeshSettings } from '../src/policy/index.ts';
import { readMappingFile } from './mapping.ts';

/** The flag, the same for all commands that take it. */
export const meshConfigFlag: readonly [flags: string, description: string] = [
  '--mesh-config <file>',
  "the mesh's settings: trustDomain, trustDomainAliases, rootNamespace, defaultAction, extensionProviders",
];

/** What the file of `--mesh-config` says, and nothing else. Findings go to stderr. @throws Error it has errors */
export async function readMeshConfig(file: string): Promise<Partial<MeshSettings>> {
  const parsed = parseMeshConfig(await readMappingFile(file, '--mesh-config'));
  for (const issue of parsed.issues)
    process.stderr.write(`${issue.severity} ${placeOf(file, issue)}: ${issue.message}\n`);
  if (!parsed.ok) throw new Error(`${file} has errors: correct them, nothing was decided`);
  return parsed.settings;
}

/** `mesh.yaml extensionProviders[0].name` */
export function placeOf(file: string, { path }: Issue): string {
  return path === '' ? file : `${file} ${path}`;
}
