import { INITIAL_WINDOW } from './frames.ts';
import { PREFIX_BYTES, Status } from './grpc-message.ts';
import type { RequestHead } from './request-head.ts';
import type { UnaryHandler, UnaryRequest } from './types.ts';

/** The largest message that fits into a stream's window, which is not enlarged. */
export const MAX_MESSAGE_BYTES: number = INITIAL_WINDOW - PREFIX_BYTES;

/** Why a request is answered without its handler. */
export interface Refusal {
  readonly code: number;
  readonly details: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

export const COMPRESSED: Refusal = {
  code: Status.UNIMPLEMENTED,
  details: 'messages are taken uncompressed only',
  metadata: { 'grpc-accept-encoding': 'identity' },
};
const NO_MESSAGE: Refusal = {
  code: Status.UNIMPLEMENTED,
  details: 'the request has no message; the method takes one',
};
const SECOND_MESSAGE: Refusal = {
  code: Status.UNIMPLEMENTED,
  details: 'the request has a second message; the method takes one',
};
const CUT_OFF: Refusal = { code: Status.INTERNAL, details: 'the request ends within its message' };

const NOTHING: Buffer = Buffer.alloc(0);

/** One stream: its request as it comes, and its answer as it goes. */
export class Call implements UnaryRequest {
  readonly stream: number;
  readonly handler: UnaryHandler;
  readonly peer: string | undefined;
  readonly #head: RequestHead;
  /** Monotonic, ms. */
  readonly #deadlineMs: number;
  readonly #ticks: () => number;

  message: Buffer = NOTHING;
  /** What came of it while it is not whole. */
  #body: Buffer = NOTHING;
  #bodyBytes = 0;
  /** Of DATA frames, padding and all, that windows were not given back for. */
  received = 0;
  requestEnded = false;
  answered = false;
  gone = false;

  /** How much of the answer the client takes. */
  window: number;
  /** The framed answer, while part of it waits for a window. */
  unsent: Buffer | undefined;

  constructor(
    stream: number,
    head: RequestHead,
    handler: UnaryHandler,
    {
      peer,
      window,
      timeoutMs,
      ticks,
    }: { peer: string | undefined; window: number; timeoutMs: number; ticks: () => number },
  ) {
    this.stream = stream;
    this.handler = handler;
    this.peer = peer;
    this.window = window;
    this.#head = head;
    this.#ticks = ticks;
    this.#deadlineMs = timeoutMs === Number.POSITIVE_INFINITY ? timeoutMs : ticks() + timeoutMs;
  }

  get path(): string {
    return this.#head.path ?? '';
  }

  get authorization(): readonly string[] {
    return this.#head.authorization;
  }

  cancelled(): boolean {
    return this.gone || this.late();
  }

  late(): boolean {
    return this.#deadlineMs !== Number.POSITIVE_INFINITY && this.#ticks() >= this.#deadlineMs;
  }

  /**
   * Takes the content of a DATA frame.
   * @param last it is the last one
   * @param lasting nobody writes into `bytes` again
   */
  add(
    bytes: Buffer,
    start: number,
    end: number,
    { last, lasting, maxMessageBytes }: { last: boolean; lasting: boolean; maxMessageBytes: number },
  ): Refusal | undefined {
    if (last && lasting && this.#bodyBytes === 0) {
      this.#body = bytes.subarray(start, end);
      this.#bodyBytes = end - start;
    } else if (end > start) this.#append(bytes, start, end);
    if (this.#bodyBytes < PREFIX_BYTES) return undefined;
    if (this.#body[0] !== 0) return COMPRESSED;
    const length = this.#body.readUInt32BE(1);
    if (length > maxMessageBytes) {
      return {
        code: Status.RESOURCE_EXHAUSTED,
        details: `the message is of ${length} bytes; at most ${maxMessageBytes} are taken`,
      };
    }
    return this.#bodyBytes > PREFIX_BYTES + length ? SECOND_MESSAGE : undefined;
  }

  /** The request ended. */
  complete(): Refusal | undefined {
    if (this.#bodyBytes === 0) return NO_MESSAGE;
    if (this.#bodyBytes < PREFIX_BYTES || this.#bodyBytes < PREFIX_BYTES + this.#body.readUInt32BE(1)) {
      return CUT_OFF;
    }
    this.message = this.#body.subarray(PREFIX_BYTES, this.#bodyBytes);
    return undefined;
  }

  /** `content-length` is not there, or true. */
  hasSaidLength(): boolean {
    const { contentLength } = this.#head;
    return contentLength === undefined || contentLength === String(this.#bodyBytes);
  }

  #append(bytes: Buffer, start: number, end: number): void {
    const length = this.#bodyBytes + end - start;
    if (length > this.#body.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(512, 2 * length));
      this.#body.copy(larger, 0, 0, this.#bodyBytes);
      this.#body = larger;
    }
    bytes.copy(this.#body, this.#bodyBytes, start, end);
    this.#bodyBytes = length;
  }
}
