import { hash } from 'node:crypto';
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
    const type = this.#typeOf(typeUrl);
    return this.#finish(typeUrl, name, type.fromObject(fromCanonicalJson(type, { ...message, name })));
  }

  /**
   * As `encode`, for what is made often: `message` is in protobufjs' own form (bytes as `Uint8Array`, no `Any`, no
   * names of enum values) and goes out unconverted.
   */
  encodeDirectly(typeUrl: string, name: string, message: Readonly<Record<string, unknown>>): EncodedResource {
    return this.#finish(typeUrl, name, { ...message, name });
  }

  #typeOf(typeUrl: string): protobuf.Type {
    const type = this.#types.get(typeUrl);
    if (type === undefined) throw new Error(`${typeUrl} is not a type that this control plane serves`);
    return type;
  }

  #finish(typeUrl: string, name: string, message: Readonly<Record<string, unknown>>): EncodedResource {
    // Out of the pool of small buffers, where what is kept would keep 64 KiB alive.
    const written = this.#typeOf(typeUrl).encode(message).finish();
    const body = Buffer.allocUnsafeSlow(written.length);
    body.set(written);
    return { name, typeUrl, body, version: hash('sha256', body, 'hex').slice(0, 16) };
  }
}
