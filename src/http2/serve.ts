import type { Duplex } from 'node:stream';
import { MAX_MESSAGE_BYTES } from './call.ts';
import { Connection, type Wire } from './connection.ts';
import { ErrorCode } from './errors.ts';
import { goAwayFrame, Setting, settingsFrame } from './frames.ts';
import { Opening } from './opening.ts';
import type { After, UnaryConnection, UnaryOptions } from './types.ts';

/** For the preface, and the acknowledgement of our SETTINGS. */
const OPENING_MS = 10_000;
/** For the first request after those, before the connection is somebody else's. */
const FIRST_REQUEST_MS = 5_000;
/** What a client has to end its side once we ended ours. */
const LINGER_MS = 1_000;

const timerAfter: After = (delayMs, run) => {
  const timer = setTimeout(run, delayMs);
  return (): void => clearTimeout(timer);
};

/**
 * Serves gRPC's unary calls on a connection that speaks HTTP/2 (RFC 9113), from its first byte on.
 * @throws {RangeError} `maxMessageBytes` is more than a stream's window holds
 */
export function serveUnary(socket: Duplex, options: UnaryOptions): UnaryConnection {
  if (!(options.maxMessageBytes >= 0 && options.maxMessageBytes <= MAX_MESSAGE_BYTES)) {
    throw new RangeError(`maxMessageBytes is ${options.maxMessageBytes}: it is up to ${MAX_MESSAGE_BYTES}`);
  }
  return new ServedSocket(socket, options);
}

class ServedSocket implements UnaryConnection, Wire {
  readonly #socket: Duplex;
  readonly #options: UnaryOptions;
  readonly #ticks: () => number;
  readonly #after: After;
  #opening: Opening | undefined;
  #connection: Connection | undefined;
  /** Since when only the first request is missing. */
  #awaiting = false;
  /** Our SETTINGS are no longer in this process. */
  #settingsLeft = false;
  /** Is handed over as soon as they are not. */
  #theirs = false;
  #ended = false;
  #gone = false;
  #cancelTimer: () => void = () => undefined;
  readonly closed: Promise<void>;
  #resolve: () => void = () => undefined;

  constructor(socket: Duplex, options: UnaryOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#ticks = options.ticks ?? ((): number => performance.now());
    this.#after = options.after ?? timerAfter;
    this.closed = new Promise((resolve) => (this.#resolve = resolve));
    this.#opening = new Opening((path) => options.methods.has(path));
    socket.on('data', this.#received);
    socket.on('end', this.#lost);
    socket.on('error', this.#lost);
    socket.on('close', this.#lost);
    this.#arm(OPENING_MS, () => this.destroy());
    socket.write(
      settingsFrame(Setting.MAX_CONCURRENT_STREAMS, options.maxConcurrentStreams),
      this.#settingsWent,
    );
    if (socket.destroyed) this.#lost();
  }

  close(): void {
    if (this.#connection !== undefined) this.#connection.close();
    else if (this.#opening !== undefined) {
      this.write(goAwayFrame(0, ErrorCode.NO_ERROR));
      this.end();
    }
  }

  destroy(): void {
    if (this.#gone) return;
    this.#socket.destroy();
    this.#lost();
  }

  write(bytes: Buffer): void {
    if (!this.#ended && this.#socket.writable) this.#socket.write(bytes);
  }

  unsent(): number {
    return this.#socket.writableLength;
  }

  end(): void {
    if (this.#ended || this.#gone) return;
    this.#ended = true;
    this.#opening = undefined;
    this.#socket.end();
    this.#arm(LINGER_MS, () => this.destroy());
  }

  readonly #received = (piece: Buffer): void => {
    // What a client says after the end is read, so that it can read what we said last.
    if (this.#ended) return;
    try {
      if (this.#connection !== undefined) this.#connection.receive(piece);
      else if (this.#opening !== undefined) this.#open(this.#opening, piece);
    } catch (error) {
      this.destroy();
      this.#options.failed(error);
    }
  };

  #open(opening: Opening, piece: Buffer): void {
    const verdict = opening.receive(piece);
    if (verdict === 'ours') this.#take(opening.received());
    else if (verdict === 'theirs') this.#leaveTo(opening);
    else if (verdict === 'too-much') this.destroy();
    else if (opening.acknowledged && !this.#awaiting) {
      this.#awaiting = true;
      this.#arm(FIRST_REQUEST_MS, () => (this.#settingsLeft ? this.#handOver(opening) : this.destroy()));
    }
  }

  #take(received: Buffer): void {
    const { methods, maxMessageBytes, failed } = this.#options;
    const options = { methods, maxMessageBytes, failed, ticks: this.#ticks };
    const connection = new Connection(this, options, remoteAddress(this.#socket));
    this.#opening = undefined;
    this.#connection = connection;
    this.#cancelTimer();
    connection.receive(received);
    this.#watch(connection);
  }

  readonly #watch = (connection: Connection): void => {
    if (this.#ended || this.#gone) return;
    const nextMs = connection.checkSilence();
    if (nextMs > 0) this.#arm(nextMs, () => this.#watch(connection));
  };

  /**
   * Not before our SETTINGS have left: a client may acknowledge them before they do, and Node's HTTP/2 aborts the
   * process where it writes to a TLS socket that is writing already.
   */
  #leaveTo(opening: Opening): void {
    this.#theirs = true;
    if (this.#settingsLeft) this.#handOver(opening);
  }

  readonly #settingsWent = (error?: Error | null): void => {
    this.#settingsLeft = true;
    if (this.#theirs && this.#opening !== undefined && !error) this.#handOver(this.#opening);
  };

  #handOver(opening: Opening): void {
    this.#socket.pause();
    this.#leave();
    try {
      this.#options.handOver(this.#socket, opening.withoutAcknowledgement());
    } catch (error) {
      this.#socket.destroy();
      this.#options.failed(error);
    }
  }

  readonly #lost = (): void => {
    if (this.#gone) return;
    this.#leave();
    // What is said of a socket that is destroyed is of no use to anybody.
    this.#socket.on('error', () => undefined);
    this.#socket.destroy();
  };

  #leave(): void {
    this.#gone = true;
    this.#cancelTimer();
    this.#socket.off('data', this.#received);
    this.#socket.off('end', this.#lost);
    this.#socket.off('error', this.#lost);
    this.#socket.off('close', this.#lost);
    this.#opening = undefined;
    this.#connection?.lost();
    this.#connection = undefined;
    this.#resolve();
  }

  #arm(delayMs: number, run: () => void): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#after(delayMs, run);
  }
}

function remoteAddress(socket: Duplex): string | undefined {
  const address: unknown = 'remoteAddress' in socket ? socket.remoteAddress : undefined;
  return typeof address === 'string' ? address : undefined;
}
