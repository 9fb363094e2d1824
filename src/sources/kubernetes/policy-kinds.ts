import type { MeshObject } from '../../mesh/index.ts';
import { parseAuthorizationPolicy } from '../../policy/index.ts';
import type { Issue, ParseOptions } from '../../policy/index.ts';

/** What a document of the policy language comes to. */
export type ReadPolicy =
  | { readonly ok: true; readonly object: PolicyMeshObject; readonly issues: readonly Issue[] }
  | { readonly ok: false; readonly issues: readonly Issue[] };

/** The mesh's objects that come from documents of the policy language. */
export type PolicyMeshObject = Extract<MeshObject, { readonly policy: unknown }>;

export interface PolicyKind {
  readonly kind: PolicyMeshObject['kind'];
  /** As in the path of the API. */
  readonly plural: string;
  readonly read: (document: unknown, options: ParseOptions) => ReadPolicy;
}

/** One entry a kind: each is watched in both groups. */
export const POLICY_KINDS: readonly PolicyKind[] = [
  {
    kind: 'AuthorizationPolicy',
    plural: 'authorizationpolicies',
    read: (document, options) => {
      const parsed = parseAuthorizationPolicy(document, options);
      if (!parsed.ok) return parsed;
      const { policy, issues } = parsed;
      const { namespace, name } = policy;
      return { ok: true, object: { kind: 'AuthorizationPolicy', namespace, name, policy }, issues };
    },
  },
];

/** The own group first: an object of the other that has the same name is known by another. */
export const POLICY_GROUPS = ['security.countersign.dev', 'security.istio.io'] as const;
export type PolicyGroup = (typeof POLICY_GROUPS)[number];
