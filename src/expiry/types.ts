/** One thing that has to be good for the mesh to go on, by what it is. */
export type LinkKind =
  /** The root that signs. */
  | 'root'
  /** A root that is trusted beside it. */
  | 'trusted-root'
  /** An operator's CA below the root. */
  | 'ca'
  | 'intermediate'
  /** The control plane's own certificate. */
  | 'serving'
  | 'webhook'
  /** What other trust domains see when they fetch the bundle. */
  | 'bundle-endpoint'
  /** The SVID of a connected Envoy that ends first. */
  | 'svid'
  /** What callers' tokens are verified with. */
  | 'token-keys'
  /** What sidecars verify requests' tokens with. */
  | 'jwks'
  /** The bundle of another trust domain, and the root in it that ends last. */
  | 'federated-bundle'
  | 'federated-root';

/** How long a thing is good. Times in ms since the epoch. */
export type Term =
  /** A certificate. */
  | { readonly kind: 'until'; readonly fromMs: number; readonly untilMs: number }
  /** What others may replace at any time, and what is therefore looked at again and again. */
  | {
      readonly kind: 'fetched';
      /** The last time that it was had; undefined: never. */
      readonly atMs: number | undefined;
      /** How often it is looked at. */
      readonly everyMs: number;
    }
  | { readonly kind: 'endless' };

/** A link as its owner knows it. */
export interface LinkFacts {
  readonly kind: LinkKind;
  /** Which one of its kind; for people. */
  readonly name: string;
  /** What fails when it ends. */
  readonly serves: string;
  readonly term: Term;
  /** What to run when less is left than there should be. */
  readonly run: string;
  /** What to run when it has ended; absent: the same. */
  readonly runExpired?: string;
}

/** `unknown`: it cannot be told whether it is good. */
export type LinkState = 'ok' | 'soon' | 'expired' | 'unknown';

/** A link, judged at one moment. */
export interface Link {
  readonly kind: LinkKind;
  readonly name: string;
  readonly serves: string;
  readonly state: LinkState;
  /** ms since the epoch; undefined: it has no end, or none that is known. */
  readonly endsMs: number | undefined;
  /** How much is left, or how old it is, for people. */
  readonly detail: string;
  /** What to run; empty: nothing. */
  readonly run: string;
}
