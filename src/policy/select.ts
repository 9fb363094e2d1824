import { satisfies } from './labels.ts';
import type { AuthorizationPolicy, MeshSettings, Target } from './types.ts';

/** What every document of the language says about whom it is meant for. */
export type Selecting = Pick<AuthorizationPolicy, 'namespace' | 'name' | 'selector'>;

/** Whether a policy is meant for a workload: by namespace (the root namespace reaches all), then by labels. */
export function selects(
  policy: Selecting,
  target: Target,
  settings: Pick<MeshSettings, 'rootNamespace'>,
): boolean {
  if (policy.namespace !== target.namespace && policy.namespace !== settings.rootNamespace) return false;
  return satisfies(target.labels, policy.selector);
}

/** The policies of one workload, by namespace and name. */
export function policiesFor<T extends Selecting>(
  policies: readonly T[],
  target: Target,
  settings: Pick<MeshSettings, 'rootNamespace'>,
): T[] {
  return policies
    .filter((policy) => selects(policy, target, settings))
    .toSorted((a, b) => order(a.namespace, b.namespace) || order(a.name, b.name));
}

function order(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
