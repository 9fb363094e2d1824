import { ConnectionError, ErrorCode } from './errors.ts';
import { FRAME_HEADER, MAX_FRAME, PREFACE } from './frames.ts';

/** Takes what was read, in order. */
export interface FrameSink {
  /**
   * The payload is from `start` to `end`.
   * @param lasting nobody writes into `bytes` again
   */
  frame(
    type: number,
    flags: number,
    stream: number,
    bytes: Buffer,
    start: number,
    end: number,
    lasting: boolean,
  ): void;
}

/** Cuts what a client sends, in whatever pieces it comes, into frames; keeps one at most. */
export class FrameReader {
  readonly #sink: FrameSink;
  /** Of the preface. */
  #prefaceBytes = 0;
  /** A frame that came in pieces. */
  #partial: Buffer = Buffer.alloc(0);
  #have = 0;
  #stopped = false;
  /** Of all that came, where the frame ends that the sink was given last. */
  position = 0;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** Gives the sink nothing more, not even what is left of the piece. */
  stop(): void {
    this.#stopped = true;
    this.#partial = Buffer.alloc(0);
  }

  /** @throws {ConnectionError} PROTOCOL_ERROR: no preface; FRAME_SIZE_ERROR; and what the sink throws */
  receive(piece: Buffer): void {
    let at = this.#prefaceBytes === PREFACE.length ? 0 : this.#preface(piece);
    while (at < piece.length && !this.#stopped) {
      if (this.#have > 0 || piece.length - at < FRAME_HEADER) {
        at = this.#gather(piece, at);
        continue;
      }
      const end = at + FRAME_HEADER + lengthOf(piece, at);
      if (end > piece.length) at = this.#gather(piece, at);
      else {
        this.#give(piece, at, end, true);
        at = end;
      }
    }
  }

  #preface(piece: Buffer): number {
    const bytes = Math.min(PREFACE.length - this.#prefaceBytes, piece.length);
    if (PREFACE.compare(piece, 0, bytes, this.#prefaceBytes, this.#prefaceBytes + bytes) !== 0) {
      throw new ConnectionError(
        ErrorCode.PROTOCOL_ERROR,
        'the client does not begin with the preface of HTTP/2',
      );
    }
    this.#prefaceBytes += bytes;
    this.position += bytes;
    return bytes;
  }

  /** Takes what is missing of the frame. @returns how far the piece is used */
  #gather(piece: Buffer, from: number): number {
    let at = from;
    if (this.#have < FRAME_HEADER) at = this.#keep(piece, at, FRAME_HEADER);
    if (this.#have < FRAME_HEADER) return at;
    const whole = FRAME_HEADER + lengthOf(this.#partial, 0);
    at = this.#keep(piece, at, whole);
    if (this.#have < whole) return at;
    this.#have = 0;
    this.#give(this.#partial, 0, whole, false);
    return at;
  }

  #keep(piece: Buffer, at: number, upTo: number): number {
    const end = Math.min(piece.length, at + upTo - this.#have);
    const needed = this.#have + end - at;
    if (needed > this.#partial.length) {
      const size = Math.min(FRAME_HEADER + MAX_FRAME, Math.max(256, 2 * needed));
      const larger = Buffer.allocUnsafeSlow(size);
      this.#partial.copy(larger, 0, 0, this.#have);
      this.#partial = larger;
    }
    piece.copy(this.#partial, this.#have, at, end);
    this.#have = needed;
    return end;
  }

  #give(bytes: Buffer, at: number, end: number, lasting: boolean): void {
    this.position += end - at;
    const stream = bytes.readUInt32BE(at + 5) & 0x7fffffff;
    this.#sink.frame(bytes[at + 3] ?? 0, bytes[at + 4] ?? 0, stream, bytes, at + FRAME_HEADER, end, lasting);
  }
}

function lengthOf(bytes: Buffer, at: number): number {
  const length = ((bytes[at] ?? 0) << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0);
  if (length > MAX_FRAME) {
    throw new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, 'a frame of more than 16,384 bytes');
  }
  return length;
}
