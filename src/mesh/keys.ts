import { POLICY_KINDS } from './policy-index.ts';
import type { MeshKind, MeshObject, ObjectKey } from './types.ts';

/** Every kind, in the order in which sources best apply them: what others refer to comes first. */
export const MESH_KINDS: readonly MeshKind[] = [
  'Namespace',
  'ServiceAccount',
  'Pod',
  'Service',
  ...POLICY_KINDS,
];

/** `namespace/name`; of cluster-scoped kinds just the name. */
export function keyOf(object: MeshObject): ObjectKey {
  return object.kind === 'Namespace' ? object.name : namespacedKey(object.namespace, object.name);
}

/** The key of any namespaced object. */
export function namespacedKey(namespace: string, name: string): ObjectKey {
  return `${namespace}/${name}`;
}
