import { readFileSync } from 'node:fs';
import { connect, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import type { TestControlPlane } from '../harness/control-plane.ts';
import { EXTENSION, ALLOW, schema, serverName } from './envoy-client.ts';

const requestType = schema.lookupType('envoy.service.discovery.v3.DeltaDiscoveryRequest');

/** A client that subscribes and then never takes a byte: HTTP/2 bare, as grpc-js reads ahead. */
export class SilentReader {
  readonly #session: ClientHttp2Session;
  readonly #stream: ClientHttp2Stream;

  constructor(controlPlane: TestControlPlane, token: string) {
    this.#session = connect(`https://${controlPlane.address}`, {
      ca: readFileSync(controlPlane.bundle),
      servername: serverName,
    });
    this.#stream = this.#session.request({
      ':method': 'POST',
      ':path': '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources',
      'content-type': 'application/grpc',
      te: 'trailers',
      authorization: `Bearer ${token}`,
    });
    for (const each of [this.#session, this.#stream]) each.on('error', () => undefined);
    this.#send({ resource_names_subscribe: [ALLOW] });
  }

  /** Nonces can be guessed: it claims to run what it never took. */
  acknowledge(nonce: string): void {
    this.#send({ response_nonce: nonce });
  }

  close(): void {
    this.#session.destroy();
  }

  #send(request: Record<string, unknown>): void {
    const message = requestType.encode({ type_url: EXTENSION, ...request }).finish();
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(message.length, 1);
    this.#stream.write(Buffer.concat([prefix, message]));
  }
}
