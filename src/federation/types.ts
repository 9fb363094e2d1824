import type { TrustBundle } from '../identity/index.ts';

/** A trust domain that is trusted beside the own, as an operator has written it down (SPIFFE_Federation section 5.1). */
export interface FederatedDomain {
  readonly trustDomain: string;
  /** `https:`, without user name and password. */
  readonly url: string;
  readonly profile: EndpointProfile;
  /** What it is to begin with: a bundle in SPIFFE's JSON form. */
  readonly bootstrapBundle?: string;
}

/** How the bundle endpoint proves itself (SPIFFE_Federation section 5.2). */
export type EndpointProfile =
  | { readonly type: 'https_web' }
  | { readonly type: 'https_spiffe'; readonly endpointSpiffeId: string };

/** What the keeper tells. Synchronous; must not throw. */
export interface FederationObserver {
  /** @param bundle undefined: the trust domain is federated no more */
  changed(trustDomain: string, bundle: TrustBundle | undefined): void;
  /** The endpoint was asked, and all is well. */
  fetched(trustDomain: string, bundle: TrustBundle): void;
  /** The last good bundle, where there is one, stays in force. */
  failed(
    trustDomain: string,
    message: string,
    state: {
      /** As the time before. */
      readonly again: boolean;
      /** When the last good one was fetched, ms since the epoch; undefined: never. */
      readonly fetchedAtMs: number | undefined;
    },
  ): void;
  /** The state could not be read, or not be kept for the next start. */
  notKept(error: Error): void;
}

/** One delayed call. @returns the function that cancels it. */
export type After = (delayMs: number, run: () => void) => () => void;

export interface FederationOptions {
  /** Where the bundles are kept, so that a restart has them. */
  readonly stateFile: string;
  /** Of the own trust domain. */
  readonly ownBundle: () => TrustBundle;
  readonly nowMs: () => number;
  /** In [0, 1). */
  readonly random: () => number;
  readonly observer: FederationObserver;
  /** Default `setTimeout`, which keeps no process alive. */
  readonly after?: After;
  /** For one whole exchange, ms. Default 30 s. */
  readonly timeoutMs?: number;
}

/** One trust domain, for status output. */
export interface FederationStatus {
  readonly trustDomain: string;
  readonly url: string;
  readonly profile: EndpointProfile['type'];
  /** In force now; undefined: none yet, and nobody of that trust domain is trusted. */
  readonly bundle: TrustBundle | undefined;
  /** When it was fetched last, ms since the epoch; undefined: never. */
  readonly fetchedAtMs: number | undefined;
  /** Why the last fetch failed, or why the bundle is not in force. Undefined: all is well. */
  readonly failure: string | undefined;
  /** ms since the epoch. */
  readonly nextTryMs: number;
  /** Between two fetches. */
  readonly refreshMs: number;
}
