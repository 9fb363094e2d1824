import type { Duplex } from 'node:stream';

/** One call, whose message came whole. */
export interface UnaryRequest {
  /** `:path`. */
  readonly path: string;
  /** Each value of that header, as sent. */
  readonly authorization: readonly string[];
  /** The one gRPC message, without the five bytes before it. */
  readonly message: Buffer;
  /** The socket's remote address. */
  readonly peer: string | undefined;
  /** The client reset it, its connection is gone, or its deadline is over: nobody waits for an answer. */
  cancelled(): boolean;
}

export type UnaryAnswer =
  | { readonly message: Buffer }
  | {
      /** gRPC's, not 0. */
      readonly code: number;
      readonly details: string;
      /** A few short ones, of printable ASCII. */
      readonly metadata?: Readonly<Record<string, string>>;
    };

/** Answers once, at once or later, also calls that were cancelled. */
export type UnaryHandler = (request: UnaryRequest, answer: (answer: UnaryAnswer) => void) => void;

/** One timer. @returns the function that cancels it. */
export type After = (delayMs: number, run: () => void) => () => void;

export interface UnaryOptions {
  /** By `:path`. */
  readonly methods: ReadonlyMap<string, UnaryHandler>;
  /** Up to {@link MAX_MESSAGE_BYTES}. */
  readonly maxMessageBytes: number;
  /**
   * The connection's first request is for none of `methods`, or none came in time: it is somebody else's. `received`
   * is all that came, from the preface on, but for the acknowledgement of our SETTINGS. Nothing listens on the
   * socket any more, which is paused.
   */
  readonly handOver: (socket: Duplex, received: Buffer) => void;
  /** As the server says it that connections are handed over to. */
  readonly maxConcurrentStreams: number;
  /** A handler threw; its caller was told INTERNAL. */
  readonly failed: (error: unknown) => void;
  /** Monotonic, ms. Default: the process's. */
  readonly ticks?: () => number;
  /** Default: `setTimeout`. */
  readonly after?: After;
}

/** A connection that is served. */
export interface UnaryConnection {
  /** Takes no more calls and says so (GOAWAY); ends after the calls in flight. */
  close(): void;
  /** Ends at once. Nothing once it was handed over. */
  destroy(): void;
  /** It is gone, or was handed over. */
  readonly closed: Promise<void>;
}
