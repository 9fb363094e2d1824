import type { ApiServerError } from '../../kubernetes/index.ts';
import type { MeshNotice, ObjectKey, PolicyKind } from '../../mesh/index.ts';
import type { Issue } from '../../policy/index.ts';

/** What became of one policy object of the API server: what its status should say. */
export interface PolicyStatus {
  /** `authorizationpolicies.security.countersign.dev`. */
  readonly resource: string;
  readonly kind: PolicyKind;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly generation: number;
  readonly resourceVersion: string;
  /** Whether it can be used as it is written. */
  readonly ok: boolean;
  /** With `ok`, warnings alone. */
  readonly issues: readonly Issue[];
  /** What is enforced under its name: this version, an earlier one, or nothing. */
  readonly inForce: 'this' | 'earlier' | 'none';
  /** The mesh's key of what is in force: another than `namespace/name` where both groups have an object of that name. */
  readonly key: ObjectKey;
}

/** Told as it happens. */
export type KubernetesReport =
  /** A resource cannot be listed or watched: what is known of it stays. Told once until it is recovered. */
  | { readonly kind: 'failing'; readonly resource: string; readonly error: ApiServerError }
  | { readonly kind: 'recovered'; readonly resource: string }
  /** Its CRD was installed, or is not there (any more). */
  | { readonly kind: 'served' | 'not-served'; readonly resource: string }
  /** Everything was listed once. */
  | { readonly kind: 'synced' }
  /** The API server is away: what an earlier run wrote down is in force until it is back. */
  | { readonly kind: 'remembered'; readonly objects: number }
  /** What is known could not be written down. */
  | { readonly kind: 'not-remembered'; readonly error: unknown }
  /** The mesh was changed. */
  | { readonly kind: 'applied'; readonly notice: MeshNotice }
  /** A policy is new, or what became of it has changed. */
  | { readonly kind: 'policy'; readonly status: PolicyStatus }
  | { readonly kind: 'policy-gone'; readonly status: PolicyStatus }
  /** An object of Kubernetes' own that cannot be what it says. It counts as absent. */
  | {
      readonly kind: 'unreadable';
      readonly resource: string;
      readonly key: ObjectKey;
      readonly message: string;
    };
