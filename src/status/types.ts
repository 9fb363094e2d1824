/** What an operator reads on a policy: how it was taken, and where it is enforced. */

/** A condition by Kubernetes' conventions (`metav1.Condition`). */
export interface Condition {
  readonly type: ConditionType;
  readonly status: 'True' | 'False' | 'Unknown';
  /** `metadata.generation` that it speaks of. */
  readonly observedGeneration: number;
  /** RFC 3339, whole seconds: when `status` last became what it is. */
  readonly lastTransitionTime: string;
  readonly reason: string;
  readonly message: string;
}

/**
 * Accepted: it can be read and is in force. Programmed: every live Envoy that needs it runs it. Warning: it is legal
 * and hardly meant (only there while True).
 */
export type ConditionType = 'Accepted' | 'Programmed' | 'Warning';

/** How far one generation of one policy has come, on one replica or on all. */
export interface Progress {
  /** Connected proxies that it concerns. */
  readonly proxies: number;
  /** Of those, the ones that run what they should. */
  readonly current: number;
  /** One that refused its configuration, and Envoy's words. */
  readonly rejected?: { readonly proxy: string; readonly message: string } | undefined;
}

/** How one connected proxy stands to what it should run. */
export type ProxyState =
  | { readonly kind: 'current' }
  | { readonly kind: 'behind' }
  | { readonly kind: 'rejected'; readonly message: string };

/** A version of a policy object, as the API server counts. */
export interface ObjectVersion {
  readonly uid: string;
  readonly generation: number;
}
