import { createHash } from 'node:crypto';
import type protobuf from 'protobufjs';
import { fromCanonicalJson } from './canonical-json.ts';
import { EXTENSION_CONFIG_TYPE, SECRET_TYPE } from './resource-types.ts';

/** An encoded resource, shaped as the xDS engine takes it. Its version is the hash of its bytes. */
export interface EncodedResource {
  readonly name: string;
  readonly typeUrl: string;
  readonly version: string;
  readonly body: Uint8Array;
}

/** Encodes Envoy's JSON form. The messages are looked up once, in the generated descriptor. */
export class ResourceEncoder {
  readonly #types: ReadonlyMap<string, protobuf.Type>;

  constructor(root: protobuf.Root) {
    this.#types = new Map(
      [SECRET_TYPE, EXTENSION_CONFIG_TYPE].map((url) => [
        url,
        root.lookupType(url.slice(url.indexOf('/') + 1)),
      ]),
    );
  }

  /** @throws Error where `message` does not fit the type: a defect of the caller, not of an operator's input. */
  encode(typeUrl: string, name: string, message: Readonly<Record<string, unknown>>): EncodedResource {
    const type = this.#types.get(typeUrl);
    if (type === undefined) throw new Error(`${typeUrl} is not a type that this control plane serves`);
    const body = type.encode(type.fromObject(fromCanonicalJson(type, { ...message, name }))).finish();
    return { name, typeUrl, body, version: createHash('sha256').update(body).digest('hex').slice(0, 16) };
  }
}
