import { ConnectionError, ErrorCode } from './errors.ts';
import { Flag, FrameType } from './frames.ts';
import type { FieldSink, HeaderDecoder } from './header-decoder.ts';

/** What a HEADERS and its CONTINUATIONs may carry together. */
const MAX_ENCODED_BYTES = 16_384;
/**
 * Each one copies what came before it. All that may come fits into two, but for a client that cuts it small; and
 * before a connection is decided, nothing else bounds them.
 */
const MAX_CONTINUATIONS = 8;

/** Begins with the priority that is not used any more. */
const PRIORITY_BYTES = 5;

/** Where the padding of a DATA or HEADERS begins. @throws {ConnectionError} PROTOCOL_ERROR: it is longer than the frame */
export function contentEnd(bytes: Buffer, start: number, end: number, flags: number): number {
  if ((flags & Flag.PADDED) === 0) return end;
  if (start === end) throw new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, 'padding that is not there');
  const contentEndsAt = end - (bytes[start] ?? 0);
  if (contentEndsAt <= start) {
    throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'padding that is longer than its frame');
  }
  return contentEndsAt;
}

/** Header blocks, each whole or in several frames that nothing may come between (RFC 9113 section 4.3). */
export class HeaderBlock {
  /** Of the block that is not whole yet; 0: there is none. */
  stream = 0;
  endsStream = false;
  /** The block, once it is whole. */
  #bytes: Buffer = Buffer.alloc(0);
  #start = 0;
  #end = 0;
  #continuations = 0;

  /** @returns whether the block is whole */
  headers(flags: number, stream: number, bytes: Buffer, start: number, end: number): boolean {
    const content = contentEnd(bytes, start, end, flags);
    let from = (flags & Flag.PADDED) === 0 ? start : start + 1;
    if ((flags & Flag.PRIORITY) !== 0) from += PRIORITY_BYTES;
    if (from > content) throw new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, 'HEADERS that are too short');
    this.endsStream = (flags & Flag.END_STREAM) !== 0;
    if ((flags & Flag.END_HEADERS) !== 0) {
      this.#bytes = bytes;
      this.#start = from;
      this.#end = content;
      return true;
    }
    this.stream = stream;
    this.#continuations = 0;
    this.#bytes = Buffer.from(bytes.subarray(from, content));
    return false;
  }

  /** @returns whether the block is whole */
  continuation(flags: number, bytes: Buffer, start: number, end: number): boolean {
    if (this.#bytes.length + end - start > MAX_ENCODED_BYTES) {
      throw new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, 'a header block of more than 16 KiB');
    }
    this.#continuations += 1;
    if (this.#continuations > MAX_CONTINUATIONS) {
      throw new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, 'a header block in more than nine frames');
    }
    this.#bytes = Buffer.concat([this.#bytes, bytes.subarray(start, end)]);
    if ((flags & Flag.END_HEADERS) === 0) return false;
    this.stream = 0;
    this.#start = 0;
    this.#end = this.#bytes.length;
    return true;
  }

  /** @throws {ConnectionError} that something else came between its frames */
  mustGoOn(type: number, stream: number): void {
    const continues = type === FrameType.CONTINUATION;
    if (this.stream === 0 ? !continues : continues && stream === this.stream) return;
    throw new ConnectionError(
      ErrorCode.PROTOCOL_ERROR,
      'CONTINUATION has to follow a header block, and does not',
    );
  }

  decode(decoder: HeaderDecoder, sink: FieldSink): void {
    const bytes = this.#bytes;
    this.#bytes = Buffer.alloc(0);
    decoder.decode(bytes, this.#start, this.#end, sink);
  }
}
