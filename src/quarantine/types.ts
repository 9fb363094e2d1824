/** Who is in quarantine. */
export type Subject =
  | { readonly kind: 'id'; readonly id: string }
  | { readonly kind: 'pod'; readonly pod: PodRef }
  /** Whatever pods it runs, or has run. */
  | { readonly kind: 'node'; readonly node: string }
  /** SHA-256 of a certificate's DER, lower-case hex. */
  | { readonly kind: 'certificate'; readonly digest: string }
  /** Certificates issued before a time, ms since the epoch; of all identities of the trust domain, or of one. */
  | { readonly kind: 'issued-before'; readonly atMs: number; readonly id?: string };

export interface PodRef {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

/** One decision of an operator. */
export interface Entry {
  /** `q-` and 10 hex digits. */
  readonly name: string;
  readonly subject: Subject;
  readonly reason: string;
  /** Who decided, as far as it is known. */
  readonly by: string;
  readonly addedAtMs: number;
  /** Undefined: it ends when somebody removes it. */
  readonly expiresAtMs: number | undefined;
}

/** That an entry was removed: otherwise a replica that was away would bring it back. */
export interface Removal {
  readonly name: string;
  /** Until when it is remembered, ms since the epoch. */
  readonly untilMs: number;
}

/** All that was decided. Immutable. Two of them can be merged in any order, and as often as one likes. */
export interface Ledger {
  readonly entries: readonly Entry[];
  readonly removals: readonly Removal[];
}

/** A workload, as attestation proved it. */
export interface Suspect {
  readonly id: string;
  readonly pod: PodRef & { readonly nodeName: string };
}
