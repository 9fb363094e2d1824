import type { Issue } from '../policy/index.ts';

/** The part of an AdmissionReview request that is judged (admission.k8s.io/v1). */
export interface AdmissionRequest {
  readonly uid: string;
  readonly kind: { readonly group: string; readonly version: string; readonly kind: string };
  readonly operation: string;
  /** `status` and the like; empty: the object itself. */
  readonly subResource: string;
  readonly namespace: string;
  readonly name: string;
  /** Who sends the object. */
  readonly user: string;
  /** Nothing of it is stored, whatever is said. */
  readonly dryRun: boolean;
  readonly object: unknown;
  readonly oldObject: unknown;
}

/** What the webhook answers; becomes an AdmissionReview response. */
export interface Judgement {
  readonly allowed: boolean;
  /** Of a refusal: what was found, what is allowed, what to do. */
  readonly message?: string;
  /** What kubectl prints beside its own words. */
  readonly warnings: readonly string[];
}

/** What the policy language says of one document: its errors refuse, its warnings are passed on. */
export type DocumentJudge = (document: unknown) => readonly Issue[];
