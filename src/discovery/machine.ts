import type { NameError, Outgoing } from './messages.ts';
import type { TypeStatus } from './types.ts';

/** What was sent under one nonce. */
export interface Push {
  readonly nonce: string;
  /** Name to version. */
  readonly resources: ReadonlyMap<string, string>;
  readonly removed: readonly string[];
  readonly errors: readonly NameError[];
  readonly sentAtMs: number;
}

/** What a request said about responses. */
export type Verdict =
  /** Nothing: it only subscribes, or its nonce is not the one that is waited for. */
  | { readonly kind: 'none' }
  | { readonly kind: 'stale' }
  | { readonly kind: 'ack'; readonly push: Push }
  | { readonly kind: 'nack'; readonly push: Push; readonly message: string };

/** What a request did: its verdict, and the names that the client asks for from now on. */
export interface Reception {
  readonly verdict: Verdict;
  readonly added: readonly string[];
}

/**
 * The protocol's state for one type on one stream, without transport.
 *
 * Requests and view changes only mark what is due; `next` hands out the one response that brings the client up
 * to date, when asked, which is when the transport can take it. So whatever happens in between costs a mark.
 * At most one response of a type is unanswered: while the client has not judged the last one, the newest state
 * waits as that mark. The nonces then stay unambiguous, a client that stopped reading holds nothing but its
 * marks, and one that applies slowly gets the latest state next instead of each one on the way.
 */
export interface Machine<Request> {
  receive(request: Request): Reception;
  /** The view changed. @param names `undefined`: any name. */
  changed(names: ReadonlySet<string> | undefined): void;
  next(nonce: () => string, nowMs: number): Outgoing | undefined;
  /** Subscribed by name. */
  readonly names: ReadonlySet<string>;
  status(): TypeStatus;
}

/** The name that subscribes to everything of a type, where the type has a wildcard. */
export const WILDCARD = '*';
