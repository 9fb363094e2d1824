import { readFileSync } from 'node:fs';
import * as grpc from '@grpc/grpc-js';
import protobuf from 'protobufjs';
import type { TestControlPlane } from '../harness/control-plane.ts';
import { root } from '../harness/paths.ts';

export const SECRET = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret';
export const EXTENSION = 'type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig';
export const ALLOW = 'countersign.authz.http.allow';
export const serverName = 'countersign.countersign-system.svc';

export const schema: protobuf.Root = protobuf.Root.fromJSON(
  JSON.parse(readFileSync(`${root}proto/gen/envoy.json`, 'utf8')) as protobuf.INamespace,
);
const requestType = schema.lookupType('envoy.service.discovery.v3.DeltaDiscoveryRequest');
const responseType = schema.lookupType('envoy.service.discovery.v3.DeltaDiscoveryResponse');

interface DeltaResponse {
  readonly type_url: string;
  readonly nonce: string;
  readonly resources: readonly {
    readonly name: string;
    readonly version: string;
    readonly resource: { readonly value: Uint8Array };
  }[];
  readonly removed_resources: readonly string[];
  readonly resource_errors: readonly {
    readonly resource_name: { readonly name: string };
    readonly error_detail: { readonly code: number; readonly message: string };
  }[];
}

/** Where a control plane serves, and the file of the bundle that it is verified with. */
type Served = Pick<TestControlPlane, 'address' | 'bundle'>;

/** Options that make grpc-js verify the control plane as a sidecar does. */
export function channel(controlPlane: Served): [string, grpc.ChannelCredentials, grpc.ClientOptions] {
  return [
    controlPlane.address,
    grpc.credentials.createSsl(readFileSync(controlPlane.bundle)),
    {
      'grpc.ssl_target_name_override': serverName,
      'grpc.default_authority': serverName,
      'grpc.use_local_subchannel_pool': 1,
    },
  ];
}

/** An Envoy as far as the control plane can tell: one aggregated delta stream that acknowledges what it gets. */
export class EnvoyClient {
  readonly client: grpc.Client;
  readonly call: grpc.ClientDuplexStream<Buffer, Buffer>;
  /** By type and name: what it runs. */
  readonly resources: Map<string, { readonly version: string; readonly body: Uint8Array }> = new Map();
  /** By name: why it was refused. */
  readonly errors: Map<string, string> = new Map();
  responses = 0;
  /** Answers with this error instead of acknowledging. */
  rejectWith: string | undefined;
  readonly #ownsClient: boolean;
  #end: grpc.StatusObject | undefined;
  #changed: (() => void) | undefined;

  /** @param shared a connection that others use too; absent: one of its own, which closes with the stream */
  constructor(controlPlane: Served, token: string | undefined, shared?: grpc.Client) {
    this.client = shared ?? new grpc.Client(...channel(controlPlane));
    this.#ownsClient = shared === undefined;
    const metadata = new grpc.Metadata();
    if (token !== undefined) metadata.set('authorization', `Bearer ${token}`);
    const same = (bytes: Buffer): Buffer => bytes;
    this.call = this.client.makeBidiStreamRequest(
      '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources',
      same,
      same,
      metadata,
    );
    this.call.on('data', (bytes: Buffer) =>
      this.#take(responseType.decode(bytes) as unknown as DeltaResponse),
    );
    this.call.on('error', () => undefined);
    this.call.on('status', (end: grpc.StatusObject) => {
      this.#end = end;
      if (this.#ownsClient) this.client.close();
      this.#changed?.();
    });
  }

  /** With its SVID, its bundle and its filters subscribed, and all of them there. */
  static async connected(controlPlane: Served, token: string): Promise<EnvoyClient> {
    const envoy = new EnvoyClient(controlPlane, token);
    envoy.subscribe(SECRET, 'default', 'ROOTCA');
    envoy.subscribe(EXTENSION, ALLOW);
    await envoy.until(() => envoy.resources.size === 3);
    return envoy;
  }

  subscribe(typeUrl: string, ...names: readonly string[]): void {
    this.send({ node: { id: 'test' }, type_url: typeUrl, resource_names_subscribe: names });
  }

  send(request: Record<string, unknown>): void {
    this.call.write(Buffer.from(requestType.encode(request).finish()));
  }

  /** Any bytes as one message. */
  sendBytes(bytes: Uint8Array): void {
    this.call.write(Buffer.from(bytes));
  }

  version(name: string): string | undefined {
    return this.resources.get(name)?.version;
  }

  /** Waits, as long as the test may take. @throws Error where the stream ends first */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) {
      if (this.#end !== undefined) {
        throw new Error(`the stream ended: ${grpc.status[this.#end.code]} ${this.#end.details}`);
      }
      await this.#change();
    }
  }

  /** How the stream ended, as `CODE: message`. */
  async ended(): Promise<string> {
    while (this.#end === undefined) await this.#change();
    return `${grpc.status[this.#end.code]}: ${this.#end.details}`;
  }

  get open(): boolean {
    return this.#end === undefined;
  }

  close(): void {
    this.call.cancel();
    if (this.#ownsClient) this.client.close();
  }

  #take(response: DeltaResponse): void {
    this.responses += 1;
    const { type_url, nonce } = response;
    if (this.rejectWith === undefined) {
      for (const { name, version, resource } of response.resources) {
        this.resources.set(name, { version, body: resource.value });
      }
      for (const name of response.removed_resources) this.resources.delete(name);
      this.send({ type_url, response_nonce: nonce });
    } else {
      const error_detail = { code: grpc.status.INVALID_ARGUMENT, message: this.rejectWith };
      this.send({ type_url, response_nonce: nonce, error_detail });
    }
    for (const { resource_name, error_detail } of response.resource_errors) {
      this.errors.set(resource_name.name, error_detail.message);
    }
    this.#changed?.();
  }

  async #change(): Promise<void> {
    await new Promise<void>((resolve) => (this.#changed = resolve));
  }
}

/** How a stream with this token ends, or `admitted`. */
export async function admission(controlPlane: Served, token: string | undefined): Promise<string> {
  const envoy = new EnvoyClient(controlPlane, token);
  envoy.subscribe(SECRET, 'default');
  try {
    await envoy.until(() => envoy.resources.size > 0);
    return 'admitted';
  } catch {
    return await envoy.ended();
  } finally {
    envoy.close();
  }
}

/** Key and chain of an SVID, as PEM, from its secret. */
export function svidOf(envoy: EnvoyClient): { readonly chain: string; readonly key: string } {
  const type = schema.lookupType('envoy.extensions.transport_sockets.tls.v3.Secret');
  const body = envoy.resources.get('default')?.body;
  if (body === undefined) throw new Error('it holds no SVID');
  const { tls_certificate: held } = type.decode(body) as unknown as {
    tls_certificate: {
      certificate_chain: { inline_bytes: Uint8Array };
      private_key: { inline_bytes: Uint8Array };
    };
  };
  return {
    chain: Buffer.from(held.certificate_chain.inline_bytes).toString(),
    key: Buffer.from(held.private_key.inline_bytes).toString(),
  };
}
