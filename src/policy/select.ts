import type { AuthorizationPolicy, MeshSettings, Target } from './types.ts';

/** Whether a policy is meant for a workload: by namespace (the root namespace reaches all), then by labels. */
export function selects(
  policy: AuthorizationPolicy,
  target: Target,
  settings: Pick<MeshSettings, 'rootNamespace'>,
): boolean {
  if (policy.namespace !== target.namespace && policy.namespace !== settings.rootNamespace) return false;
  return Object.entries(policy.selector).every(
    ([name, value]) => Object.hasOwn(target.labels, name) && target.labels[name] === value,
  );
}

/** The policies of one workload, by namespace and name. */
export function policiesFor(
  policies: readonly AuthorizationPolicy[],
  target: Target,
  settings: Pick<MeshSettings, 'rootNamespace'>,
): AuthorizationPolicy[] {
  return policies
    .filter((policy) => selects(policy, target, settings))
    .toSorted((a, b) => order(a.namespace, b.namespace) || order(a.name, b.name));
}

function order(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
