import { stringify } from 'yaml';

/** A policy as YAML: `spec` in full, `name` as `namespace/name`. */
export function policyYaml(name: string, spec: Readonly<Record<string, unknown>>): string {
  const [namespace, short] = name.split('/');
  return stringify({
    apiVersion: 'security.countersign.dev/v1',
    kind: 'AuthorizationPolicy',
    metadata: { namespace, name: short },
    spec,
  });
}

/** Several documents of one file. */
export function documents(...texts: readonly string[]): string {
  return texts.join('---\n');
}

/** Allows everything to the pods with this `app` label. */
export function allowAll(name: string, app: string): string {
  return policyYaml(name, { selector: { matchLabels: { app } }, rules: [{}] });
}
