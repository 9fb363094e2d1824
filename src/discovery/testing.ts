import { readFileSync } from 'node:fs';
import http2 from 'node:http2';
import * as grpc from '@grpc/grpc-js';
import protobuf from 'protobufjs';
import type { After } from './lifetime.ts';
import { discoveryServices } from './server.ts';
import type { DiscoveryServices, DiscoveryOptions } from './server.ts';
import type { Credentials, DiscoveryLimits, Lookup, Resource, Session, View, ViewChange } from './types.ts';

/** Fakes and clients that this room's tests share. */

export const SECRET = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret';
export const EXTENSION = 'type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig';
export const CLUSTER = 'type.googleapis.com/envoy.config.cluster.v3.Cluster';

export const root: protobuf.Root = protobuf.Root.fromJSON(
  JSON.parse(readFileSync(new URL('../../proto/gen/envoy.json', import.meta.url), 'utf8')),
);

export const LIMITS: DiscoveryLimits = {
  maxMessageBytes: 64 * 1024,
  maxStreamsPerClient: 4,
  maxNamesPerStream: 50,
};

export function resource(typeUrl: string, name: string, version: string, body?: Uint8Array): Resource {
  return { typeUrl, name, version, body: body ?? Buffer.from(`${name}@${version}`) };
}

/** A view that tests change by hand. Names that were never set are absent. */
export class FakeView implements View {
  readonly answers: Map<string, Lookup> = new Map();
  readonly wildcards: Map<string, readonly string[]> = new Map();
  readonly listeners: Set<(change: ViewChange) => void> = new Set();

  lookup(typeUrl: string, name: string): Lookup {
    return this.answers.get(`${typeUrl} ${name}`) ?? { kind: 'absent' };
  }

  wildcard(typeUrl: string): readonly string[] | undefined {
    return this.wildcards.get(typeUrl);
  }

  watch(listener: (change: ViewChange) => void): () => void {
    this.listeners.add(listener);
    return (): void => void this.listeners.delete(listener);
  }

  set(typeUrl: string, name: string, answer: Lookup | string): void {
    const lookup: Lookup =
      typeof answer === 'string' ? { kind: 'found', resource: resource(typeUrl, name, answer) } : answer;
    this.answers.set(`${typeUrl} ${name}`, lookup);
    this.notify({ typeUrl, names: new Set([name]) });
  }

  notify(change: ViewChange): void {
    for (const listener of this.listeners) listener(change);
  }
}

export function sessionOf(view: View, client = 'shop/web', expiresAtMs = 4e12): Session {
  return { client, view, expiresAtMs, revoked: new AbortController().signal };
}

export interface TestServer {
  readonly discovery: DiscoveryServices;
  readonly port: number;
  client(): grpc.Client;
  close(): Promise<void>;
}

export async function serve(
  admit: (credentials: Credentials) => Session,
  more: Partial<DiscoveryOptions> = {},
): Promise<TestServer> {
  const discovery = discoveryServices({
    root,
    authenticator: { admit: async (credentials) => ({ ok: true, session: admit(credentials) }) },
    limits: LIMITS,
    nowMs: Date.now,
    random: () => 0.5,
    ...more,
  });
  const server = new grpc.Server();
  for (const service of discovery.services) server.addService(service.definition, service.implementation);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  const clients: grpc.Client[] = [];
  return {
    discovery,
    port,
    client: (): grpc.Client => {
      const options = { 'grpc.use_local_subchannel_pool': 1 };
      const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), options);
      clients.push(client);
      return client;
    },
    close: async (): Promise<void> => {
      for (const client of clients) client.close();
      server.forceShutdown();
      await discovery.stop(0);
    },
  };
}

export interface AnyResponse {
  readonly version_info: string;
  readonly nonce: string;
  readonly type_url: string;
  readonly resources: readonly {
    readonly type_url: string;
    readonly value: Uint8Array;
    readonly name: string;
    readonly version: string;
    readonly resource: { readonly type_url: string; readonly value: Uint8Array };
  }[];
  readonly removed_resources: readonly string[];
  readonly resource_errors: readonly {
    readonly resource_name: { readonly name: string };
    readonly error_detail: { readonly code: number; readonly message: string };
  }[];
}

/** The grpc-js side of one stream; responses and the end are awaited in order. */
export class XdsClient {
  readonly call: grpc.ClientDuplexStream<Buffer, Buffer>;
  readonly #request: protobuf.Type;
  readonly #response: protobuf.Type;
  readonly #received: AnyResponse[] = [];
  #wanted: (() => void) | undefined;
  #end: grpc.StatusObject | undefined;

  constructor(client: grpc.Client, path: string, metadata: grpc.Metadata = new grpc.Metadata()) {
    const delta = path.includes('/Delta') ? 'Delta' : '';
    this.#request = root.lookupType(`envoy.service.discovery.v3.${delta}DiscoveryRequest`);
    this.#response = root.lookupType(`envoy.service.discovery.v3.${delta}DiscoveryResponse`);
    const same = (bytes: Buffer): Buffer => bytes;
    this.call = client.makeBidiStreamRequest(path, same, same, metadata);
    this.call.on('data', (bytes: Buffer) => {
      this.#received.push(this.#response.decode(bytes) as unknown as AnyResponse);
      this.#wanted?.();
    });
    this.call.on('error', () => undefined);
    this.call.on('status', (end: grpc.StatusObject) => {
      this.#end = end;
      this.#wanted?.();
    });
  }

  send(request: Record<string, unknown>): void {
    this.call.write(Buffer.from(this.#request.encode(request).finish()));
  }

  async next(): Promise<AnyResponse> {
    for (;;) {
      const response = this.#received.shift();
      if (response !== undefined) return response;
      if (this.#end !== undefined) throw new Error(`ended with ${this.#end.code} ${this.#end.details}`);
      await new Promise<void>((resolve) => (this.#wanted = resolve));
    }
  }

  async end(): Promise<grpc.StatusObject> {
    while (this.#end === undefined) await new Promise<void>((resolve) => (this.#wanted = resolve));
    return this.#end;
  }

  /** Responses that came and were not taken. */
  get unread(): number {
    return this.#received.length;
  }
}

/** A delta stream over bare HTTP/2, which reads exactly when told: grpc-js reads ahead. */
export class RawClient {
  readonly received: AnyResponse[] = [];
  readonly #session: http2.ClientHttp2Session;
  readonly #stream: http2.ClientHttp2Stream;
  #bytes: Buffer = Buffer.alloc(0);

  constructor(port: number, path: string) {
    this.#session = http2.connect(`http://127.0.0.1:${port}`);
    this.#stream = this.#session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    for (const each of [this.#session, this.#stream]) each.on('error', () => undefined);
  }

  send(request: Record<string, unknown>): void {
    const message = root
      .lookupType('envoy.service.discovery.v3.DeltaDiscoveryRequest')
      .encode(request)
      .finish();
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(message.length, 1);
    this.#stream.write(Buffer.concat([prefix, message]));
  }

  read(): void {
    this.#stream.on('data', (chunk: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
      while (this.#bytes.length >= 5 && this.#bytes.length >= 5 + this.#bytes.readUInt32BE(1)) {
        const end = 5 + this.#bytes.readUInt32BE(1);
        const type = root.lookupType('envoy.service.discovery.v3.DeltaDiscoveryResponse');
        this.received.push(type.decode(this.#bytes.subarray(5, end)) as unknown as AnyResponse);
        this.#bytes = this.#bytes.subarray(end);
      }
    });
  }

  pause(): void {
    this.#stream.pause();
  }

  close(): void {
    this.#session.destroy();
  }
}

export const ADS = '/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources';
export const ADS_DELTA = '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources';
export const SDS = '/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets';
export const SDS_DELTA = '/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets';
export const ECDS_DELTA = '/envoy.service.extension.v3.ExtensionConfigDiscoveryService/DeltaExtensionConfigs';

/** Timers that fire when told. */
export class FakeTimers {
  #timers: Set<{ readonly delayMs: number; readonly run: () => void }> = new Set();

  readonly after: After = (delayMs, run) => {
    const timer = { delayMs, run };
    this.#timers.add(timer);
    return (): void => void this.#timers.delete(timer);
  };

  get delays(): number[] {
    return [...this.#timers].map((timer) => timer.delayMs);
  }

  /** Fires all that are set now. */
  fire(): void {
    const timers = this.#timers;
    this.#timers = new Set();
    for (const { run } of timers) run();
  }
}

/** Waits, over turns of the event loop, until it holds; the test's own timeout ends it otherwise. */
export async function eventually(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise<void>((resolve) => setTimeout(resolve, 1));
}
