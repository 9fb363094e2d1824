import { readFileSync } from 'node:fs';
import { connect, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import type { TestControlPlane } from '../harness/control-plane.ts';
import { EXTENSION, ALLOW, schema, serverName } from './envoy-client.ts';

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
    const message = schema
      .lookupType('envoy.service.discovery.v3.DeltaDiscoveryRequest')
      .encode({ type_url: EXTENSION, resource_names_subscribe: [ALLOW] })
      .finish();
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(message.length, 1);
    this.#stream.write(Buffer.concat([prefix, message]));
  }

  close(): void {
    this.#session.destroy();
  }
}
