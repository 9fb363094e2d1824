import { Budget } from './budget.ts';
import { Call, COMPRESSED, type Refusal } from './call.ts';
import { ConnectionError, ErrorCode } from './errors.ts';
import { FrameReader, type FrameSink } from './frame-reader.ts';
import { checkFrame, protocolError } from './frame-rules.ts';
import {
  Flag,
  FrameType,
  goAwayFrame,
  INITIAL_WINDOW,
  LARGEST_WINDOW,
  pingFrame,
  resetFrame,
  Setting,
  SETTINGS_ACK,
  settingsFrame,
  windowUpdateFrame,
} from './frames.ts';
import { isGrpc, parseTimeout, Status } from './grpc-message.ts';
import { contentEnd, HeaderBlock } from './header-block.ts';
import { HeaderDecoder } from './header-decoder.ts';
import { failure, httpStatus } from './header-encoder.ts';
import { applySettings } from './peer-settings.ts';
import { ReceiveWindow } from './receive-window.ts';
import { RequestHead, Trailers } from './request-head.ts';
import { Sender } from './sender.ts';
import { Streams } from './streams.ts';
import type { UnaryAnswer, UnaryHandler, UnaryOptions } from './types.ts';

/** What a connection is written to. */
export interface Wire {
  write(bytes: Buffer): void;
  /** Bytes that were written and did not leave. */
  unsent(): number;
  /** Nothing more is written: ends once all has left. */
  end(): void;
  destroy(): void;
}

export type ConnectionOptions = Pick<UnaryOptions, 'methods' | 'maxMessageBytes' | 'failed'> & {
  /** Monotonic, ms. */
  readonly ticks: () => number;
};

/** Calls of one connection at a time. */
const MAX_CALLS = 16;
const ANY_STREAM: number = 2 ** 31 - 1;
/** What a client may leave unread of our answers. */
const MAX_UNSENT_BYTES = 262_144;
/** A connection is asked whether it is alive after this long without a byte, and is gone this long after that. */
const SILENCE_MS = 30_000;
const PING_WAIT_MS = 10_000;
/** DATA that is smaller, and not the last, costs more to take than to send. */
const SMALL_DATA_BYTES = 64;
/** What costs more than one of the budget. */
const COST = { reset: 4, refused: 2, malformed: 4 } as const;
/** That we sent SETTINGS: at the opening, and when the connection became ours. */
const SETTINGS_SENT = 2;

const malformedTimeout: Refusal = { code: Status.INTERNAL, details: 'grpc-timeout is malformed' };
const handlerFailed: Refusal = { code: Status.INTERNAL, details: 'the server failed' };
const tooLate: Refusal = { code: Status.DEADLINE_EXCEEDED, details: 'the deadline is over' };

/** The server's side of HTTP/2 for unary calls, from the preface on: bytes come in, bytes go out. */
export class Connection implements FrameSink {
  readonly #wire: Wire;
  readonly #options: ConnectionOptions;
  readonly #peer: string | undefined;
  readonly #reader = new FrameReader(this);
  readonly #block = new HeaderBlock();
  readonly #decoder = new HeaderDecoder();
  readonly #sender = new Sender();
  readonly #incoming = new ReceiveWindow();
  readonly #streams = new Streams();
  readonly #budget: Budget;
  /** Handlers that did not answer yet, of calls that were reset, too. */
  #running = 0;
  #unacknowledged: number = SETTINGS_SENT;
  #settingsCame = false;
  #draining = false;
  #over = false;
  #reading = false;
  #heardAtMs: number;
  #asked = false;

  /** The client was sent SETTINGS already; here it is told of the calls that it may have at a time. */
  constructor(wire: Wire, options: ConnectionOptions, peer: string | undefined) {
    this.#wire = wire;
    this.#options = options;
    this.#peer = peer;
    this.#budget = new Budget(options.ticks);
    this.#heardAtMs = options.ticks();
    this.#sender.put(settingsFrame(Setting.MAX_CONCURRENT_STREAMS, MAX_CALLS));
  }

  receive(piece: Buffer): void {
    if (this.#over) return;
    this.#heardAtMs = this.#options.ticks();
    this.#asked = false;
    this.#reading = true;
    try {
      this.#reader.receive(piece);
      this.#giveBack();
    } catch (error) {
      if (!(error instanceof ConnectionError)) throw error;
      this.#fail(error.code);
    } finally {
      this.#reading = false;
    }
    this.#endIfDone();
    this.#flush();
  }

  /** Takes no more calls; ends after those in flight. */
  close(): void {
    if (this.#over) return;
    this.#goAway();
    this.#endIfDone();
    this.#flush();
  }

  /** The socket is gone. */
  lost(): void {
    this.#over = true;
    this.#reader.stop();
    for (const call of this.#streams.open.values()) call.gone = true;
    this.#streams.open.clear();
  }

  /** Asks a client that says nothing, and gives it up. @returns after how many ms to ask again; 0: not any more */
  checkSilence(): number {
    if (this.#over) return 0;
    const silentMs = this.#options.ticks() - this.#heardAtMs;
    if (silentMs < SILENCE_MS) return SILENCE_MS - silentMs;
    if (this.#asked) {
      this.#wire.destroy();
      return 0;
    }
    this.#asked = true;
    this.#sender.put(pingFrame(0, Buffer.alloc(8)));
    this.#flush();
    return PING_WAIT_MS;
  }

  frame(
    type: number,
    flags: number,
    stream: number,
    bytes: Buffer,
    start: number,
    end: number,
    lasting: boolean,
  ): void {
    this.#block.mustGoOn(type, stream);
    if (!this.#settingsCame) {
      if (type !== FrameType.SETTINGS || (flags & Flag.ACK) !== 0) {
        throw protocolError('SETTINGS has to be the first frame');
      }
      this.#settingsCame = true;
    }
    checkFrame(type, flags, stream, end - start);
    switch (type) {
      case FrameType.DATA:
        this.#data(flags, stream, bytes, start, end, lasting);
        break;
      case FrameType.HEADERS:
        this.#headers(flags, stream, bytes, start, end);
        break;
      case FrameType.CONTINUATION:
        this.#spend(1);
        if (this.#block.continuation(flags, bytes, start, end)) this.#blockCame(stream);
        break;
      case FrameType.SETTINGS:
        this.#settings(flags, bytes, start, end);
        break;
      case FrameType.WINDOW_UPDATE:
        this.#windowUpdate(stream, bytes.readUInt32BE(start) & 0x7fffffff);
        break;
      case FrameType.RST_STREAM:
        this.#resetCame(stream);
        break;
      case FrameType.PING:
        this.#spend(1);
        if ((flags & Flag.ACK) === 0) this.#sender.put(pingFrame(Flag.ACK, bytes.subarray(start, end)));
        break;
      case FrameType.GOAWAY:
        this.#spend(1);
        this.#draining = true;
        break;
      default:
        this.#spend(1);
    }
  }

  #data(flags: number, stream: number, bytes: Buffer, start: number, end: number, lasting: boolean): void {
    const contentEndsAt = contentEnd(bytes, start, end, flags);
    const from = (flags & Flag.PADDED) === 0 ? start : start + 1;
    const last = (flags & Flag.END_STREAM) !== 0;
    this.#incoming.take(end - start);
    if (!last && contentEndsAt - from < SMALL_DATA_BYTES) this.#spend(1);
    const call = this.#streams.open.get(stream);
    if (call === undefined) {
      this.#dataOfNone(stream, end - start, last);
      return;
    }
    call.received += end - start;
    if (call.requestEnded) {
      this.#drop(call, ErrorCode.STREAM_CLOSED);
    } else if (call.received > INITIAL_WINDOW) {
      this.#drop(call, ErrorCode.FLOW_CONTROL_ERROR);
    } else {
      const { maxMessageBytes } = this.#options;
      const refusal = call.add(bytes, from, contentEndsAt, { last, lasting, maxMessageBytes });
      if (last) this.#requestEnded(call, refusal);
      else if (refusal !== undefined) this.#refuse(call, refusal);
    }
    this.#giveBack();
    if (!this.#incoming.stalled) return;
    const youngest = this.#streams.youngestOfTheUnfinished();
    if (youngest !== undefined) this.#drop(youngest, ErrorCode.REFUSED_STREAM);
  }

  #dataOfNone(stream: number, bytes: number, last: boolean): void {
    this.#incoming.release(bytes);
    this.#mustHaveBeenLeft(stream);
    this.#spend(1);
    if (last) this.#streams.left.delete(stream);
  }

  #headers(flags: number, stream: number, bytes: Buffer, start: number, end: number): void {
    if (this.#block.headers(flags, stream, bytes, start, end)) this.#blockCame(stream);
    else this.#spend(1);
  }

  #blockCame(stream: number): void {
    const ended = this.#block.endsStream;
    if (stream > this.#streams.last) {
      this.#streams.last = stream;
      const head = new RequestHead();
      this.#block.decode(this.#decoder, head);
      this.#request(stream, head, ended);
      return;
    }
    const call = this.#streams.open.get(stream);
    if (call === undefined) this.#mustHaveBeenLeft(stream);
    const trailers = new Trailers();
    this.#block.decode(this.#decoder, trailers);
    if (call === undefined) {
      this.#spend(COST.refused);
      if (ended) this.#streams.left.delete(stream);
    } else if (call.requestEnded) this.#drop(call, ErrorCode.STREAM_CLOSED);
    else if (!ended || trailers.malformed) this.#drop(call, ErrorCode.PROTOCOL_ERROR);
    else this.#requestEnded(call, undefined);
  }

  /** @throws {ConnectionError} the stream was never opened, or the client ended it */
  #mustHaveBeenLeft(stream: number): void {
    if (this.#streams.left.has(stream)) return;
    if (stream > this.#streams.last || stream % 2 === 0)
      throw protocolError('a frame of a stream that is none');
    throw new ConnectionError(ErrorCode.STREAM_CLOSED, 'a frame of a stream that ended');
  }

  #request(stream: number, head: RequestHead, ended: boolean): void {
    if (head.malformed) {
      this.#spend(COST.malformed);
      this.#reset(stream, ErrorCode.PROTOCOL_ERROR, ended);
      return;
    }
    const handler = this.#options.methods.get(head.path ?? '');
    const full = this.#streams.open.size >= MAX_CALLS || this.#running >= MAX_CALLS;
    if (handler === undefined || full || this.#draining) {
      this.#spend(COST.refused);
      // Said first, so that the client does not repeat the call on this connection.
      if (handler === undefined && !this.#draining) this.#goAway();
      this.#reset(stream, ErrorCode.REFUSED_STREAM, ended);
      return;
    }
    this.#streams.lastTaken = stream;
    if (head.method !== 'POST') this.#end(stream, httpStatus(405), ended);
    else if (!isGrpc(head.contentType)) this.#end(stream, httpStatus(415), ended);
    else this.#call(stream, head, handler, ended);
  }

  #call(stream: number, head: RequestHead, handler: UnaryHandler, ended: boolean): void {
    const timeoutMs = head.timeout === undefined ? Number.POSITIVE_INFINITY : parseTimeout(head.timeout);
    const isCompressed = head.encoding !== undefined && head.encoding !== 'identity';
    if (timeoutMs === undefined || isCompressed) {
      const { code, details, metadata } = isCompressed ? COMPRESSED : malformedTimeout;
      this.#end(stream, failure(code, details, metadata), ended);
      return;
    }
    const { ticks } = this.#options;
    const window = this.#sender.initialWindow;
    const call = new Call(stream, head, handler, { peer: this.#peer, window, timeoutMs, ticks });
    this.#streams.open.set(stream, call);
    if (ended) this.#requestEnded(call, undefined);
  }

  #requestEnded(call: Call, refused: Refusal | undefined): void {
    call.requestEnded = true;
    this.#incoming.release(call.received);
    call.received = 0;
    const refusal = refused ?? call.complete();
    if (!call.hasSaidLength()) this.#drop(call, ErrorCode.PROTOCOL_ERROR);
    else if (refusal === undefined) this.#run(call);
    else this.#refuse(call, refusal);
  }

  #run(call: Call): void {
    this.#running += 1;
    try {
      call.handler(call, (answer) => this.#answered(call, answer));
    } catch (error) {
      this.#answered(call, handlerFailed);
      this.#options.failed(error);
    }
  }

  #answered(call: Call, answer: UnaryAnswer): void {
    if (call.answered) return;
    call.answered = true;
    this.#running -= 1;
    if (call.gone) return;
    this.#budget.callFinished();
    if (call.late()) this.#refuse(call, tooLate);
    else if (!('message' in answer)) this.#refuse(call, answer);
    else if (this.#sender.answer(call, answer.message)) this.#finish(call);
    if (this.#reading) return;
    this.#endIfDone();
    this.#flush();
  }

  #refuse(call: Call, { code, details, metadata }: Refusal): void {
    this.#sender.headers(call.stream, failure(code, details, metadata), Flag.END_STREAM);
    this.#finish(call);
  }

  /** All of the answer went. */
  #finish(call: Call): void {
    this.#remove(call);
    if (!call.requestEnded) this.#reset(call.stream, ErrorCode.NO_ERROR, false);
  }

  /** A stream error (RFC 9113 section 5.4.2). */
  #drop(call: Call, code: ErrorCode): void {
    this.#spend(COST.malformed);
    this.#remove(call);
    this.#reset(call.stream, code, call.requestEnded);
  }

  #remove(call: Call): void {
    call.gone = true;
    call.unsent = undefined;
    this.#streams.open.delete(call.stream);
    this.#incoming.release(call.received);
    call.received = 0;
  }

  /** Answers a stream that is no call. */
  #end(stream: number, block: Buffer, ended: boolean): void {
    this.#spend(COST.refused);
    this.#sender.headers(stream, block, Flag.END_STREAM);
    if (!ended) this.#reset(stream, ErrorCode.NO_ERROR, false);
  }

  #reset(stream: number, code: ErrorCode, ended: boolean): void {
    this.#sender.put(resetFrame(stream, code));
    if (!ended) this.#streams.leave(stream);
  }

  #settings(flags: number, bytes: Buffer, start: number, end: number): void {
    this.#spend(1);
    if ((flags & Flag.ACK) !== 0) {
      if (this.#unacknowledged === 0) throw protocolError('SETTINGS were acknowledged that were not sent');
      this.#unacknowledged -= 1;
      return;
    }
    const growth = applySettings(this.#sender, bytes, start, end);
    for (const call of this.#streams.open.values()) this.#widen(call, growth);
    this.#sender.put(SETTINGS_ACK);
    this.#resumeAll();
  }

  #windowUpdate(stream: number, increment: number): void {
    this.#spend(1);
    if (stream === 0) {
      if (increment === 0) throw protocolError('WINDOW_UPDATE by nothing');
      this.#sender.grow(increment);
      this.#resumeAll();
      return;
    }
    const call = this.#streams.open.get(stream);
    if (call === undefined) this.#mustBeKnown(stream);
    else if (increment === 0) this.#drop(call, ErrorCode.PROTOCOL_ERROR);
    else if (call.window + increment > LARGEST_WINDOW) this.#drop(call, ErrorCode.FLOW_CONTROL_ERROR);
    else {
      call.window += increment;
      this.#resume(call);
    }
  }

  #widen(call: Call, growth: number): void {
    call.window += growth;
    if (call.window > LARGEST_WINDOW) {
      throw new ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "a stream's window is larger than it may be");
    }
  }

  #resumeAll(): void {
    for (const call of this.#streams.open.values()) this.#resume(call);
  }

  #resume(call: Call): void {
    if (call.unsent !== undefined && this.#sender.resume(call)) this.#finish(call);
  }

  #resetCame(stream: number): void {
    this.#mustBeKnown(stream);
    this.#spend(COST.reset);
    const call = this.#streams.open.get(stream);
    if (call !== undefined) this.#remove(call);
    this.#streams.left.delete(stream);
  }

  /** @throws {ConnectionError} the stream was never opened */
  #mustBeKnown(stream: number): void {
    if (stream === 0 || stream > this.#streams.last || stream % 2 === 0) {
      throw protocolError('a frame of a stream that is none');
    }
  }

  #giveBack(): void {
    const growth = this.#incoming.growth();
    if (growth > 0) this.#sender.put(windowUpdateFrame(0, growth));
  }

  /** @throws {ConnectionError} ENHANCE_YOUR_CALM */
  #spend(cost: number): void {
    if (!this.#budget.take(cost)) {
      throw new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, 'too much that is no call');
    }
  }

  /** First without saying which streams were taken, for some may be on their way (RFC 9113 section 6.8). */
  #goAway(): void {
    this.#draining = true;
    this.#sender.put(goAwayFrame(ANY_STREAM, ErrorCode.NO_ERROR));
  }

  #fail(code: ErrorCode): void {
    this.lost();
    this.#sender.put(goAwayFrame(this.#streams.lastTaken, code));
    this.#flush();
    this.#wire.end();
  }

  #endIfDone(): void {
    const { open, lastTaken } = this.#streams;
    if (!this.#draining || this.#over || this.#reading || open.size > 0) return;
    this.#over = true;
    this.#reader.stop();
    this.#sender.put(goAwayFrame(lastTaken, ErrorCode.NO_ERROR));
    this.#flush();
    this.#wire.end();
  }

  #flush(): void {
    const bytes = this.#sender.take();
    if (bytes === undefined) return;
    if (this.#wire.unsent() > MAX_UNSENT_BYTES) {
      this.lost();
      this.#wire.destroy();
    } else this.#wire.write(bytes);
  }
}
