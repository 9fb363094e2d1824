import { constants } from 'node:http2';
import type * as grpc from '@grpc/grpc-js';
import type { After } from './lifetime.ts';
import { statusObject, statusOf } from './status.ts';
import type { Transport } from './stream.ts';
import type { StreamEnd } from './types.ts';

export type BytesCall = grpc.ServerDuplexStream<Buffer, Buffer>;

/** How long an ended stream may take to deliver its status before it is reset. */
const LINGER_MS = 5_000;

/** A grpc-js call as the engine's sending side. */
export class GrpcTransport implements Transport {
  readonly #call: BytesCall;
  readonly #after: After;
  readonly #drained: () => void;
  #unsent = 0;
  #ended = false;

  /** @param drained called each time when all that was sent has left. */
  constructor(call: BytesCall, after: After, drained: () => void) {
    this.#call = call;
    this.#after = after;
    this.#drained = drained;
  }

  ready(): boolean {
    return this.#unsent === 0 && !this.#ended;
  }

  send(bytes: Buffer): void {
    if (this.#ended) return;
    this.#unsent += 1;
    // The callback comes when HTTP/2 took the bytes, which it does as fast as the client reads.
    this.#call.write(bytes, () => {
      this.#unsent -= 1;
      if (this.#unsent === 0) this.#drained();
    });
  }

  end(end: StreamEnd): void {
    this.#finish(statusObject(statusOf(end)));
  }

  /** The client closed its side: so does the server, with OK. */
  complete(): void {
    this.#finish(undefined);
  }

  #finish(error: Partial<grpc.StatusObject> | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    const call = this.#call;
    if (call.destroyed) return;
    // The status leaves behind what was sent before; a client that does not read would keep it for ever.
    const cancel = this.#after(LINGER_MS, () => resetStream(call));
    call.once('close', cancel);
    if (error === undefined) call.end();
    else call.emit('error', error);
    call.resume();
  }
}

/**
 * grpc-js has no call to reset a stream from the server; this walks its interceptor chain to the HTTP/2 stream.
 * Where its shape should change, the stream ends with its connection instead.
 */
function resetStream(call: BytesCall): void {
  let link: unknown = property(call, 'call');
  while (property(link, 'nextCall') !== undefined) link = property(link, 'nextCall');
  const stream = property(link, 'stream');
  const close = property(stream, 'close');
  if (typeof close === 'function') close.call(stream, constants.NGHTTP2_CANCEL);
}

function property(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}
