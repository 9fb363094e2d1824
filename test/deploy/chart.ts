import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseAllDocuments, stringify } from 'yaml';
import type { KubeObject } from '../cluster/api-client.ts';
import { clusterTool } from '../cluster/tools.ts';
import { root } from '../harness/paths.ts';
import { run } from '../harness/process.ts';

export const chart: string = `${root}deploy/charts/countersign`;
export const namespace = 'countersign-system';

export type Values = Readonly<Record<string, unknown>>;

/** The real helm, with nothing of the person who runs the tests. */
export async function helm(
  args: readonly string[],
  values: Values = {},
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const home = mkdtempSync(join(tmpdir(), 'countersign-helm-'));
  const env = { HELM_CACHE_HOME: home, HELM_CONFIG_HOME: home, HELM_DATA_HOME: home, KUBECONFIG: '' };
  try {
    return await run(clusterTool('helm'), [...args, '--values', '-'], { env, input: stringify(values) });
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

/** Every object of the release. @throws Error with helm's own words */
export async function render(values: Values = {}): Promise<readonly KubeObject[]> {
  const { code, stdout, stderr } = await helm(
    ['template', 'countersign', chart, '--namespace', namespace],
    values,
  );
  if (code !== 0) throw new Error(stderr);
  return objectsIn(stdout);
}

export function objectsIn(text: string): readonly KubeObject[] {
  return parseAllDocuments(text, { merge: true })
    .map((document) => document.toJS({ maxAliasCount: 1_000 }) as KubeObject | null)
    .filter((object) => object !== null);
}

/** @throws Error where there is none, or more than one */
export function only(objects: readonly KubeObject[], kind: string, name?: string): KubeObject {
  const found = objects.filter(
    (object) => object.kind === kind && (name === undefined || object.metadata.name === name),
  );
  const [first] = found;
  if (first === undefined || found.length > 1) throw new Error(`${found.length} of ${kind} ${name ?? ''}`);
  return first;
}

/** The pod that a Deployment's controller would create: there is none in a test's cluster. */
export function podOf(deployment: KubeObject, name: string, node?: string): object {
  const { template } = deployment['spec'] as { template: { metadata: object; spec: object } };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { ...template.metadata, name },
    spec: { ...template.spec, ...(node !== undefined && { nodeName: node }) },
  };
}

const plurals = ['authorizationpolicies', 'peerauthentications', 'requestauthentications'] as const;

export function crdFiles(): readonly string[] {
  return plurals.map((plural) => `${chart}/files/crds/${plural}.yaml`);
}

export function readCrds(): readonly KubeObject[] {
  return crdFiles().flatMap((file) => objectsIn(readFileSync(file, 'utf8')));
}
