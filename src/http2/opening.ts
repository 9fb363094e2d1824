import { ConnectionError } from './errors.ts';
import { FrameReader, type FrameSink } from './frame-reader.ts';
import { Flag, FrameType, FRAME_HEADER } from './frames.ts';
import { HeaderBlock } from './header-block.ts';
import { HeaderDecoder } from './header-decoder.ts';
import { RequestHead } from './request-head.ts';

/** `ours` is also what is wrong: the connection ends it where it reads it again. */
export type Verdict = 'undecided' | 'ours' | 'theirs' | 'too-much';

/** What is kept of a connection that is not decided yet. */
const MAX_KEPT_BYTES = 131_072;

/** Reads up to the first request without answering anything, so that whoever takes the connection can begin afresh. */
export class Opening implements FrameSink {
  readonly #isOurs: (path: string) => boolean;
  readonly #reader = new FrameReader(this);
  readonly #block = new HeaderBlock();
  #kept: Buffer = Buffer.alloc(0);
  #length = 0;
  #ackEndsAt: number | undefined;
  /** Whose its first request is, once that has come. */
  #owner: 'ours' | 'theirs' | undefined;

  constructor(isOurs: (path: string) => boolean) {
    this.#isOurs = isOurs;
  }

  /** The preface came, and the acknowledgement of our SETTINGS: it may be handed over. */
  get acknowledged(): boolean {
    return this.#ackEndsAt !== undefined;
  }

  receive(piece: Buffer): Verdict {
    if (this.#length + piece.length > MAX_KEPT_BYTES) return 'too-much';
    this.#keep(piece);
    try {
      this.#reader.receive(piece);
    } catch (error) {
      if (!(error instanceof ConnectionError)) throw error;
      return 'ours';
    }
    if (this.#owner === 'theirs') return this.acknowledged ? 'theirs' : 'undecided';
    return this.#owner ?? 'undecided';
  }

  /** All that came. */
  received(): Buffer {
    return this.#kept.subarray(0, this.#length);
  }

  /** All that came but for the acknowledgement. */
  withoutAcknowledgement(): Buffer {
    const received = this.received();
    const end = this.#ackEndsAt;
    return end === undefined
      ? received
      : Buffer.concat([received.subarray(0, end - FRAME_HEADER), received.subarray(end)]);
  }

  frame(type: number, flags: number, stream: number, bytes: Buffer, start: number, end: number): void {
    if (type === FrameType.SETTINGS && (flags & Flag.ACK) !== 0) {
      if (end === start) this.#ackEndsAt ??= this.#reader.position;
      return;
    }
    if (this.#owner === 'theirs') return;
    this.#block.mustGoOn(type, stream);
    if (type !== FrameType.HEADERS && type !== FrameType.CONTINUATION) return;
    const whole =
      type === FrameType.HEADERS
        ? this.#block.headers(flags, stream, bytes, start, end)
        : this.#block.continuation(flags, bytes, start, end);
    if (whole) this.#decide();
  }

  #decide(): void {
    const head = new RequestHead();
    this.#block.decode(new HeaderDecoder(), head);
    if (head.path === undefined || this.#isOurs(head.path)) {
      this.#owner = 'ours';
      this.#reader.stop();
    } else this.#owner = 'theirs';
  }

  #keep(piece: Buffer): void {
    const length = this.#length + piece.length;
    if (length > this.#kept.length) {
      const larger = Buffer.allocUnsafeSlow(Math.min(MAX_KEPT_BYTES, Math.max(1_024, 2 * length)));
      this.#kept.copy(larger, 0, 0, this.#length);
      this.#kept = larger;
    }
    piece.copy(this.#kept, this.#length);
    this.#length = length;
  }
}
