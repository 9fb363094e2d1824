/** One delayed call. @returns the function that cancels it. */
export type After = (delayMs: number, run: () => void) => () => void;

/** All addresses of a host name, as the system resolves it. */
export type Resolve = (host: string) => Promise<readonly ResolvedAddress[]>;

export interface ResolvedAddress {
  readonly address: string;
  readonly family: number;
}

/** A good fetch. Keys that are spoken of are named by their place in the set: `keys[1]`. */
export interface JwksFetched {
  /** Usable ones. */
  readonly keys: number;
  /** Other keys than before, or the first ones. */
  readonly changed: boolean;
  /** Keys whose secret part was published: their owner must replace them. */
  readonly secrets: readonly string[];
  /** Keys that are left out, with the reason: often those that encrypt. */
  readonly unused: readonly string[];
}

/** What the keeper tells. Synchronous; must not throw. */
export interface JwksObserver {
  fetched(uri: string, result: JwksFetched): void;
  /** @param message what was wrong; the last good keys, where there are any, stay in force */
  failed(
    uri: string,
    message: string,
    state: { readonly lastGoodAtMs: number | undefined; readonly nextTryMs: number },
  ): void;
  /** Keys could not be read from the directory, or not be kept there for the next start. */
  notKept(error: Error): void;
  /** A listener of `onChange` threw; the others were called. */
  listenerFailed(error: Error): void;
}

export interface JwksLimits {
  /** Between two good fetches where the server names no time, ms. Default 20 min. */
  readonly refreshMs?: number;
  /** Bounds of the time that the server names (`Cache-Control: max-age`), ms. Default 1 min and 1 h. */
  readonly minRefreshMs?: number;
  readonly maxRefreshMs?: number;
  /** Before the first new try after a failure; doubled with each further one, up to `maxRetryMs`. Default 1 s, 5 min. */
  readonly retryMs?: number;
  readonly maxRetryMs?: number;
  /** No rule's timeout is longer, ms. Default 60 s. */
  readonly maxTimeoutMs?: number;
  /** Default 1 MiB. */
  readonly maxBytes?: number;
  /** Fetches at one time. Default 16. */
  readonly maxConcurrent?: number;
}

export interface JwksKeeperOptions extends JwksLimits {
  /** Where the last good keys are kept, so that a restart has them; made where missing (0700). Undefined: in memory only. */
  readonly directory?: string;
  readonly nowMs: () => number;
  /** In [0, 1). */
  readonly random: () => number;
  readonly observer: JwksObserver;
  /** Whether URIs may lead to this machine itself. Default false. */
  readonly allowLoopback?: boolean;
  /** Authorities (PEM) that are trusted besides the system's. */
  readonly trustedCa?: readonly string[];
  /** Default: the system's resolver. */
  readonly resolve?: Resolve;
  /** One timer; default `setTimeout`, which keeps no process alive. */
  readonly after?: After;
}

/** One URI, for status output. */
export interface JwksStatus {
  readonly uri: string;
  /** In force now; 0: none yet. */
  readonly keys: number;
  /** When they were last fetched, ms since the epoch; also before a restart. */
  readonly lastGoodAtMs: number | undefined;
  /** Why the last fetch failed. Undefined: it did not. */
  readonly failure: { readonly atMs: number; readonly message: string } | undefined;
  /** ms since the epoch; not after now: waiting for its turn, or under way. */
  readonly nextTryMs: number;
}
