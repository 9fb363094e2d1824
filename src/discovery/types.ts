/**
 * The seams of the xDS engine. It moves named, versioned, already encoded resources; what they mean,
 * and who may have them, is decided by the `Session` that the authenticator hands out.
 */

/** One resource as it goes on the wire. Immutable; the same object is shared by every stream that sends it. */
export interface Resource {
  readonly name: string;
  readonly typeUrl: string;
  /** Changes exactly when `body` changes. */
  readonly version: string;
  /** The encoded message (the `value` of its `google.protobuf.Any`). */
  readonly body: Uint8Array;
}

/** What a client is told about one name it asked for. */
export type Lookup =
  | { readonly kind: 'found'; readonly resource: Resource }
  /** The name could exist, but there is nothing under it now. */
  | { readonly kind: 'absent' }
  /** It is being made: say nothing yet, a change notice follows. (Delta would otherwise say that there is nothing.) */
  | { readonly kind: 'pending' }
  /** The name is unknown, or another's. The reason goes to the client: no secrets, nothing about others. */
  | { readonly kind: 'refused'; readonly code: 'NOT_FOUND' | 'PERMISSION_DENIED'; readonly reason: string };

/** What one authenticated client may see. Streams of one workload may share a view. */
export interface View {
  /** Cheap and synchronous: it is called for each name at each push. */
  lookup(typeUrl: string, name: string): Lookup;
  /** The names that a wildcard subscription means; `undefined` where the type has no wildcard. */
  wildcard(typeUrl: string): readonly string[] | undefined;
  /**
   * Calls back, synchronously, when what `lookup` answers may have changed. The engine coalesces.
   * @returns the function that stops it.
   */
  watch(listener: (changes: ViewChange) => void): () => void;
}

/** Changed names by type URL; `undefined` names: any name of the type. */
export interface ViewChange {
  readonly typeUrl: string;
  readonly names?: ReadonlySet<string>;
}

/** What a caller showed when it opened a stream. */
export interface Credentials {
  /** From `authorization: Bearer ...`. Never logged. */
  readonly bearer: string | undefined;
  /** The peer's IP address without port, where the transport knows it. */
  readonly peerAddress: string | undefined;
}

/** A stream's authenticated end. */
export interface Session {
  /** For logs, metrics and the stream bound of one client: stable per workload, no secret. */
  readonly client: string;
  readonly view: View;
  /** When what was proven stops being proven (ms since the epoch). The stream ends before that. */
  readonly expiresAtMs: number;
  /** Aborted with a `StreamEnd` reason when the workload loses its right to be here. */
  readonly revoked: AbortSignal;
  /** Called once, when the stream is over, however it ended. */
  closed?(): void;
}

/** Why the server ends a stream, as gRPC says it. The message goes to the client: no detail of what failed. */
export interface StreamEnd {
  readonly code:
    | 'UNAUTHENTICATED'
    | 'PERMISSION_DENIED'
    | 'RESOURCE_EXHAUSTED'
    | 'UNAVAILABLE'
    | 'INVALID_ARGUMENT';
  readonly message: string;
  /** When the client should come back, ms from now; absent: as it likes. */
  readonly retryAfterMs?: number | undefined;
}

export type Admission =
  | { readonly ok: true; readonly session: Session }
  | { readonly ok: false; readonly end: StreamEnd };

/** Proves who is calling. Called once for each stream, before anything that it sent is looked at. */
export interface Authenticator {
  admit(credentials: Credentials, signal: AbortSignal): Promise<Admission>;
}

/** What happened on streams, as data that flows back: status, metrics, audit. Must not throw or block. */
export interface DiscoveryObserver {
  streamOpened?(event: StreamEvent): void;
  streamClosed?(event: StreamEvent & { readonly reason: string }): void;
  pushed?(event: PushEvent): void;
  acked?(event: AckEvent): void;
  nacked?(event: AckEvent & { readonly message: string }): void;
  /** A response refused names, on a stream that lives on. As often as the client asks: bound what you write. */
  refused?(event: StreamEvent & { readonly typeUrl: string; readonly names: readonly RefusedName[] }): void;
  /** A view or an authenticator threw; its stream was ended with UNAVAILABLE. */
  failed?(event: StreamEvent & { readonly error: unknown }): void;
}

/** As the client asked for it and as it was told. */
export interface RefusedName {
  readonly name: string;
  readonly reason: string;
}

export interface StreamEvent {
  readonly streamId: number;
  readonly client: string;
  readonly method: string;
  /** As the client claims it; never trusted. Empty before the first request. */
  readonly nodeId: string;
}

export interface PushEvent extends StreamEvent {
  readonly typeUrl: string;
  readonly nonce: string;
  /** Name to version, as just sent. */
  readonly resources: ReadonlyMap<string, string>;
  readonly removed: readonly string[];
  readonly bytes: number;
}

export interface AckEvent extends StreamEvent {
  readonly typeUrl: string;
  readonly nonce: string;
  /** Name to version, as they were sent under that nonce. */
  readonly resources: ReadonlyMap<string, string>;
  /** From the send to this answer. */
  readonly latencyMs: number;
}

/** Bounds that keep one client from costing others anything. */
export interface DiscoveryLimits {
  /** Bytes of one request message. */
  readonly maxMessageBytes: number;
  readonly maxStreamsPerClient: number;
  /** Subscribed names of one stream, all types together. */
  readonly maxNamesPerStream: number;
}

/** One stream as an operator sees it: a snapshot. */
export interface StreamStatus extends StreamEvent {
  readonly openedAtMs: number;
  /** When the server will end it, ahead of `Session.expiresAtMs`. */
  readonly endsAtMs: number;
  readonly types: readonly TypeStatus[];
}

/** One type on one stream. */
export interface TypeStatus {
  readonly typeUrl: string;
  readonly wildcard: boolean;
  /** Subscribed by name. */
  readonly names: readonly string[];
  /** What it was sent, and what it runs. */
  readonly resources: readonly ResourceStatus[];
  /** What became of the last response. `quiet`: none yet. */
  readonly state: 'quiet' | 'waiting' | 'acked' | 'nacked';
  /** The last response's nonce; empty before the first. */
  readonly nonce: string;
  /** When the response that is waited for was sent. */
  readonly waitingSinceMs: number | undefined;
  /** What the client said when it last NACKed; `undefined` once it ACKed all that it had rejected. */
  readonly rejection: string | undefined;
}

export interface ResourceStatus {
  readonly name: string;
  /** Last sent. */
  readonly version: string;
  /** Last ACKed: what the client runs. `undefined`: none yet. */
  readonly running: string | undefined;
  /** The client runs what it was last sent. */
  readonly acknowledged: boolean;
  /** What the client said when it NACKed a response with it; `undefined` once it ACKs one. */
  readonly rejection: string | undefined;
}
