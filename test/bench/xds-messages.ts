import type protobuf from 'protobufjs';
import { envoySchema } from '../../cmd/schema.ts';
import { EXTENSION_CONFIG_TYPE, filterNames, SECRET_TYPE } from '../../src/proxy/index.ts';

/** What each sidecar asks for, by type. */
export const subscriptions: readonly (readonly [typeUrl: string, names: readonly string[]])[] = [
  [SECRET_TYPE, ['default', 'ALL']],
  [EXTENSION_CONFIG_TYPE, filterNames],
];

export interface DeltaResponse {
  readonly type_url: string;
  readonly nonce: string;
  readonly resources: readonly { readonly name: string }[];
}

/** The two messages of a delta stream, for the client's side of it. */
export class DeltaMessages {
  readonly #request: protobuf.Type;
  readonly #response: protobuf.Type;

  constructor() {
    const root = envoySchema();
    this.#request = root.lookupType('envoy.service.discovery.v3.DeltaDiscoveryRequest');
    this.#response = root.lookupType('envoy.service.discovery.v3.DeltaDiscoveryResponse');
  }

  subscribe(nodeId: string, typeUrl: string, names: readonly string[]): Uint8Array {
    const fields = { node: { id: nodeId }, type_url: typeUrl, resource_names_subscribe: names };
    return this.#request.encode(this.#request.fromObject(fields)).finish();
  }

  acknowledge({ type_url, nonce }: DeltaResponse): Uint8Array {
    return this.#request.encode({ type_url, response_nonce: nonce }).finish();
  }

  read(bytes: Uint8Array): DeltaResponse {
    return this.#response.decode(bytes) as unknown as DeltaResponse;
  }
}
