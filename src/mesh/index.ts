export { canonicalIp } from './ip.ts';
export { keyOf, MESH_KINDS, namespacedKey } from './keys.ts';
export { Mesh } from './mesh.ts';
export { POLICY_KINDS, readPolicy, renamedPolicy, type ReadPolicy } from './policy-documents.ts';
export type {
  Labels,
  MeshChange,
  MeshKind,
  MeshNotice,
  MeshObject,
  MeshOptions,
  MeshUpdate,
  Namespace,
  ObjectKey,
  ObjectOf,
  Pod,
  PolicyKind,
  PolicyObject,
  PolicyOf,
  PolicySelector,
  PolicySubject,
  Service,
  ServiceAccount,
  ServicePort,
} from './types.ts';
