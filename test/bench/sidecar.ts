import { connect, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import { connect as connectTls, type ConnectionOptions, type SecureContext } from 'node:tls';
import { deltaMethod } from './bare.ts';
import { monotonicMs } from './clock.ts';
import { frame, FrameReader } from './grpc-frames.ts';
import { subscriptions, type DeltaMessages } from './xds-messages.ts';

/** Who a sidecar is: its token, and the address that it connects from. */
export interface SidecarIdentity {
  readonly name: string;
  readonly token: string;
  readonly address: string;
}

export interface SidecarTarget {
  readonly port: number;
  readonly serverName: string;
  readonly context: SecureContext;
}

export interface SidecarListener {
  message(bytes: Buffer, atMs: number): void;
  /** It holds everything that it asked for. */
  complete(atMs: number): void;
  failed(why: string): void;
}

/**
 * The control plane's side of an Envoy: one TLS connection, one delta ADS stream, every response acknowledged.
 * Plain HTTP/2 with gRPC's framing: a client that costs little, so that what is measured is the server.
 */
export class Sidecar {
  readonly #session: ClientHttp2Session;
  readonly #stream: ClientHttp2Stream;
  readonly #missing: Set<string>;
  readonly #reader = new FrameReader();
  readonly #messages: DeltaMessages;
  readonly #listener: SidecarListener;
  #closed = false;

  constructor(
    identity: SidecarIdentity,
    target: SidecarTarget,
    messages: DeltaMessages,
    listener: SidecarListener,
  ) {
    this.#messages = messages;
    this.#listener = listener;
    this.#missing = new Set(subscriptions.flatMap(([, names]) => names));
    const options: ConnectionOptions & { readonly localAddress: string } = {
      host: '127.0.0.1',
      port: target.port,
      localAddress: identity.address,
      secureContext: target.context,
      servername: target.serverName,
      ALPNProtocols: ['h2'],
    };
    this.#session = connect(`https://${target.serverName}`, { createConnection: () => connectTls(options) });
    this.#session.on('error', (error) => this.#fail(error.message));
    this.#stream = this.#session.request({
      ':method': 'POST',
      ':path': deltaMethod,
      'content-type': 'application/grpc',
      te: 'trailers',
      authorization: `Bearer ${identity.token}`,
    });
    this.#stream.on('error', (error) => this.#fail(error.message));
    this.#stream.on('trailers', (trailers) => this.#fail(`ended: ${JSON.stringify(trailers)}`));
    this.#stream.on('close', () => this.#fail('closed'));
    this.#stream.on('data', (piece: Buffer) => this.#receive(piece));
    for (const [typeUrl, names] of subscriptions) {
      this.#stream.write(frame(messages.subscribe(identity.name, typeUrl, names)));
    }
  }

  close(): void {
    this.#closed = true;
    this.#session.destroy();
  }

  #receive(piece: Buffer): void {
    for (const bytes of this.#reader.read(piece)) {
      const atMs = monotonicMs();
      this.#listener.message(bytes, atMs);
      const response = this.#messages.read(bytes);
      this.#stream.write(frame(this.#messages.acknowledge(response)));
      if (this.#missing.size === 0) continue;
      for (const { name } of response.resources) this.#missing.delete(name);
      if (this.#missing.size === 0) this.#listener.complete(atMs);
    }
  }

  #fail(why: string): void {
    if (this.#closed) return;
    this.close();
    this.#listener.failed(why);
  }
}
