import type { Call } from './call.ts';
import { ConnectionError, ErrorCode } from './errors.ts';
import {
  Flag,
  FRAME_HEADER,
  FrameType,
  INITIAL_WINDOW,
  LARGEST_WINDOW,
  MAX_FRAME,
  writeHeader,
} from './frames.ts';
import { PREFIX_BYTES } from './grpc-message.ts';
import { EMPTY_TABLE, RESPONSE, STATUS_OK } from './header-encoder.ts';

const DATA_AT = FRAME_HEADER + RESPONSE.length;
const AROUND = DATA_AT + FRAME_HEADER + PREFIX_BYTES + FRAME_HEADER + STATUS_OK.length;

/** What goes to the client, as fast as its windows allow (RFC 9113 section 5.2). */
export class Sender {
  #frames: Buffer[] = [];
  #window: number = INITIAL_WINDOW;
  #tableWasShrunk = false;
  #tableIsEmpty = false;
  /** What a new stream's window is. */
  initialWindow: number = INITIAL_WINDOW;

  put(frame: Buffer): void {
    this.#frames.push(frame);
  }

  /** What is to be written. */
  take(): Buffer | undefined {
    const frames = this.#frames;
    if (frames.length === 0) return undefined;
    this.#frames = [];
    return frames.length === 1 ? frames[0] : Buffer.concat(frames);
  }

  /** The client's decoder keeps less than it did. */
  shrinkTable(): void {
    this.#tableWasShrunk = true;
  }

  /** The connection's window grows. */
  grow(increment: number): void {
    this.#window += increment;
    if (this.#window > LARGEST_WINDOW) {
      throw new ConnectionError(
        ErrorCode.FLOW_CONTROL_ERROR,
        "the connection's window is larger than it may be",
      );
    }
  }

  headers(stream: number, block: Buffer, flags: number): void {
    const size = this.#tableWasShrunk && !this.#tableIsEmpty ? EMPTY_TABLE.length : 0;
    const frame = Buffer.allocUnsafe(FRAME_HEADER + size + block.length);
    const at = writeHeader(
      frame,
      0,
      size + block.length,
      FrameType.HEADERS,
      flags | Flag.END_HEADERS,
      stream,
    );
    EMPTY_TABLE.copy(frame, at, 0, size);
    block.copy(frame, at + size);
    if (size > 0) this.#tableIsEmpty = true;
    this.put(frame);
  }

  /** @returns whether all of it went; else the rest goes with {@link Sender.resume} */
  answer(call: Call, message: Buffer): boolean {
    const length = PREFIX_BYTES + message.length;
    const fits = length <= MAX_FRAME && length <= this.#window && length <= call.window;
    if (fits && this.#tableWasShrunk === this.#tableIsEmpty) {
      this.#whole(call.stream, message, length);
      this.#window -= length;
      return true;
    }
    this.headers(call.stream, RESPONSE, 0);
    const framed = Buffer.allocUnsafe(length);
    framed[0] = 0;
    framed.writeUInt32BE(message.length, 1);
    message.copy(framed, PREFIX_BYTES);
    call.unsent = framed;
    return this.resume(call);
  }

  /** Sends what windows allow of what is left. @returns whether all of it went */
  resume(call: Call): boolean {
    for (;;) {
      const rest = call.unsent;
      if (rest === undefined) return true;
      const length = Math.min(rest.length, MAX_FRAME, this.#window, call.window);
      if (length <= 0) return false;
      const frame = Buffer.allocUnsafe(FRAME_HEADER + length);
      rest.copy(frame, writeHeader(frame, 0, length, FrameType.DATA, 0, call.stream), 0, length);
      this.put(frame);
      this.#window -= length;
      call.window -= length;
      call.unsent = length === rest.length ? undefined : rest.subarray(length);
      if (call.unsent === undefined) this.headers(call.stream, STATUS_OK, Flag.END_STREAM);
    }
  }

  /** Headers, message and trailers in one piece. */
  #whole(stream: number, message: Buffer, length: number): void {
    const bytes = Buffer.allocUnsafe(AROUND + message.length);
    let at = writeHeader(bytes, 0, RESPONSE.length, FrameType.HEADERS, Flag.END_HEADERS, stream);
    RESPONSE.copy(bytes, at);
    at = writeHeader(bytes, DATA_AT, length, FrameType.DATA, 0, stream);
    bytes[at] = 0;
    bytes.writeUInt32BE(message.length, at + 1);
    message.copy(bytes, at + PREFIX_BYTES);
    at += length;
    const flags = Flag.END_HEADERS | Flag.END_STREAM;
    at = writeHeader(bytes, at, STATUS_OK.length, FrameType.HEADERS, flags, stream);
    STATUS_OK.copy(bytes, at);
    this.put(bytes);
  }
}
