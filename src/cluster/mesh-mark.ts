import { fieldsAt, textAt, type Fields } from '../kubernetes/index.ts';

/** Whose an object is: one cluster may hold several meshes, and their objects bear the same names. */
export interface MeshMark {
  readonly trustDomain: string;
  /** Of the control plane. */
  readonly namespace: string;
}

const TRUST_DOMAIN = 'countersign.dev/trust-domain';
const CONTROL_PLANE = 'countersign.dev/control-plane';

/** What stands in the metadata of each object that the control plane makes. */
export function markOf({ trustDomain, namespace }: MeshMark): {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
} {
  return {
    labels: { 'app.kubernetes.io/managed-by': 'countersign' },
    annotations: { [TRUST_DOMAIN]: trustDomain, [CONTROL_PLANE]: namespace },
  };
}

/** The other mesh whose mark an object bears, for people. Undefined: it is ours, or bears none. */
export function otherMesh(object: Fields, mark: MeshMark): string | undefined {
  const annotations = fieldsAt(fieldsAt(object, 'metadata'), 'annotations');
  const trustDomain = textAt(annotations, TRUST_DOMAIN) ?? mark.trustDomain;
  const namespace = textAt(annotations, CONTROL_PLANE) ?? mark.namespace;
  if (trustDomain === mark.trustDomain && namespace === mark.namespace) return undefined;
  return `${trustDomain}, control plane in ${namespace}`;
}
