import protobuf from 'protobufjs';
import { envoySchema } from '../../../cmd/schema.ts';
import type { ExtAuthzFilter, JwtAuthnFilter, RbacFilter } from '../../../src/policy/index.ts';
import { EXTENSION_CONFIG_TYPE, ResourceEncoder, type JsonObject } from '../../../src/proxy/index.ts';
import type { Filter } from './files.ts';

type Message = Readonly<Record<string, unknown>>;

const WRAPPER = /^\.google\.protobuf\.(?:U?Int32|U?Int64|Bool|String|Bytes|Float|Double)Value$/u;

/**
 * Sends filters the way of the product, through its encoder, and reads back what an Envoy receives: a field that
 * the schema lacks, or that the encoder drops, is missing in what Envoy is then judged by.
 */
export class Wire {
  readonly #root: protobuf.Root = envoySchema();
  readonly #encoder: ResourceEncoder = new ResourceEncoder(this.#root);
  readonly #type: protobuf.Type = this.#lookup(EXTENSION_CONFIG_TYPE);

  /** The filter as Envoy's JSON reader takes it, made from the bytes. */
  pass({ name, typed_config: config }: RbacFilter | ExtAuthzFilter | JwtAuthnFilter): Filter {
    const { body } = this.#encoder.encode(EXTENSION_CONFIG_TYPE, name, { typed_config: config });
    const received = this.#read(this.#type, this.#decode(this.#type, body)) as Message;
    return { name, typed_config: received['typed_config'] as JsonObject };
  }

  #lookup(url: string): protobuf.Type {
    return this.#root.lookupType(url.slice(url.lastIndexOf('/') + 1));
  }

  /** What came, and no defaults. */
  #decode(type: protobuf.Type, bytes: Uint8Array): Message {
    return Object.fromEntries(Object.entries(type.decode(bytes)));
  }

  #read(type: protobuf.Type, message: Message): unknown {
    if (type.fullName === '.google.protobuf.Any') {
      const url = String(message['type_url']);
      const inner = this.#lookup(url);
      const value = this.#decode(inner, message['value'] as Uint8Array);
      return { '@type': url, ...(this.#read(inner, value) as Message) };
    }
    if (WRAPPER.test(type.fullName)) {
      return message['value'] ?? type.fields['value']?.defaultValue;
    }
    if (type.fullName === '.google.protobuf.Duration') {
      return `${Number(message['seconds'] ?? 0) + Number(message['nanos'] ?? 0) / 1e9}s`;
    }
    const fields: [string, unknown][] = [];
    for (const field of type.fieldsArray) {
      if (Object.hasOwn(message, field.name))
        fields.push([field.name, this.#value(field, message[field.name])]);
    }
    return Object.fromEntries(fields);
  }

  #value(field: protobuf.Field, value: unknown): unknown {
    const type = field.resolve().resolvedType;
    const one = (entry: unknown): unknown => {
      if (type instanceof protobuf.Type) return this.#read(type, entry as Message);
      return type instanceof protobuf.Enum ? type.valuesById[Number(entry)] : entry;
    };
    if (field.repeated) return (value as unknown[]).map(one);
    if (!field.map) return one(value);
    return Object.fromEntries(Object.entries(value as Message).map(([key, entry]) => [key, one(entry)]));
  }
}
