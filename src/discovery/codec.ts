import protobuf from 'protobufjs';
import { DiscoveryError } from './errors.ts';
import type { DeltaDiscoveryRequest, DiscoveryRequest, NameError, Outgoing, Status } from './messages.ts';
import type { Resource } from './types.ts';

/** One protocol variant's messages. */
export interface Codec<Request> {
  /** @throws {DiscoveryError} `XDS_MESSAGE_TOO_LARGE`, `XDS_MESSAGE_MALFORMED` */
  decode(bytes: Uint8Array): Request;
  encode(response: Outgoing): Buffer;
}

export interface DiscoveryCodecs {
  readonly sotw: Codec<DiscoveryRequest>;
  readonly delta: Codec<DeltaDiscoveryRequest>;
}

const HOME = 'envoy.service.discovery.v3';
const COMMON: Fields = {
  node: { id: true },
  type_url: true,
  response_nonce: true,
  error_detail: { code: true, message: true },
};
/** google.rpc.Code */
const RPC_CODE = { NOT_FOUND: 5, PERMISSION_DENIED: 7 } as const;

/**
 * The codecs of the discovery API over Envoy's schema.
 * @param root a protobufjs root with field names kept as in the proto files (`keepCase`).
 * @throws {DiscoveryError} `XDS_SCHEMA` where the root lacks what is needed.
 */
export function discoveryCodec(root: protobuf.Root, maxMessageBytes: number): DiscoveryCodecs {
  const sotwRequest = requestType(root, 'DiscoveryRequest', {
    ...COMMON,
    version_info: true,
    resource_names: true,
  });
  const deltaRequest = requestType(root, 'DeltaDiscoveryRequest', {
    ...COMMON,
    resource_names_subscribe: true,
    resource_names_unsubscribe: true,
    initial_resource_versions: true,
  });
  return {
    sotw: {
      decode: (bytes) => {
        const raw: RawRequest = decodeLimited(sotwRequest, bytes, maxMessageBytes);
        return {
          node_id: raw.node?.id ?? '',
          type_url: raw.type_url,
          version_info: raw.version_info,
          resource_names: raw.resource_names,
          response_nonce: raw.response_nonce,
          error_detail: raw.error_detail ?? undefined,
        };
      },
      encode: sotwEncoder(required(root, 'DiscoveryResponse')),
    },
    delta: {
      decode: (bytes) => {
        const raw: RawRequest = decodeLimited(deltaRequest, bytes, maxMessageBytes);
        return {
          node_id: raw.node?.id ?? '',
          type_url: raw.type_url,
          resource_names_subscribe: raw.resource_names_subscribe,
          resource_names_unsubscribe: raw.resource_names_unsubscribe,
          initial_resource_versions: new Map(Object.entries(raw.initial_resource_versions)),
          response_nonce: raw.response_nonce,
          error_detail: raw.error_detail ?? undefined,
        };
      },
      encode: deltaEncoder(required(root, 'DeltaDiscoveryResponse')),
    },
  };
}

/** What protobufjs decodes; each request type has its part of it. */
interface RawRequest {
  readonly node?: { readonly id: string } | null;
  readonly type_url: string;
  readonly version_info: string;
  readonly resource_names: readonly string[];
  readonly resource_names_subscribe: readonly string[];
  readonly resource_names_unsubscribe: readonly string[];
  readonly initial_resource_versions: Readonly<Record<string, string>>;
  readonly response_nonce: string;
  readonly error_detail?: Status | null;
}

/*
 * Concatenated protobuf encodings merge: repeated fields append, scalars of one part stay. So a resource's
 * entry is encoded once, kept with the resource, and each response is a few bytes of head and shared entries.
 */
type EncodeEntry = (resource: Resource) => Uint8Array;

function remembered(encode: EncodeEntry): EncodeEntry {
  const entries = new WeakMap<Resource, Uint8Array>();
  return (resource) => {
    const known = entries.get(resource);
    if (known !== undefined) return known;
    // Out of the pool of small buffers, where what is kept would keep 64 KiB alive.
    const written = encode(resource);
    const entry = Buffer.allocUnsafeSlow(written.length);
    entry.set(written);
    entries.set(resource, entry);
    return entry;
  };
}

function sotwEncoder(type: protobuf.Type): (response: Outgoing) => Buffer {
  const entry = remembered((resource) =>
    type.encode({ resources: [{ type_url: resource.typeUrl, value: resource.body }] }).finish(),
  );
  return (response) => {
    const head = type.encode({
      version_info: response.version,
      type_url: response.typeUrl,
      nonce: response.nonce,
      resource_errors: response.errors.map(resourceError),
    });
    return Buffer.concat([head.finish(), ...response.resources.map(entry)]);
  };
}

function deltaEncoder(type: protobuf.Type): (response: Outgoing) => Buffer {
  const entry = remembered((resource) => {
    const any = { type_url: resource.typeUrl, value: resource.body };
    const item = { name: resource.name, version: resource.version, resource: any };
    return type.encode({ resources: [item] }).finish();
  });
  return (response) => {
    const head = type.encode({
      system_version_info: response.version,
      type_url: response.typeUrl,
      nonce: response.nonce,
      removed_resources: response.removed,
      resource_errors: response.errors.map(resourceError),
    });
    return Buffer.concat([head.finish(), ...response.resources.map(entry)]);
  };
}

function resourceError(error: NameError): object {
  return {
    resource_name: { name: error.name },
    error_detail: { code: RPC_CODE[error.code], message: error.reason },
  };
}

function decodeLimited(type: protobuf.Type, bytes: Uint8Array, maxMessageBytes: number): RawRequest {
  if (bytes.length > maxMessageBytes) {
    throw new DiscoveryError(
      'XDS_MESSAGE_TOO_LARGE',
      `the request has ${bytes.length} bytes; at most ${maxMessageBytes} are allowed`,
    );
  }
  try {
    return type.decode(bytes) as unknown as RawRequest;
  } catch (error) {
    throw new DiscoveryError('XDS_MESSAGE_MALFORMED', `the request is not a ${type.name}`, { cause: error });
  }
}

function required(root: protobuf.Root, name: string): protobuf.Type {
  try {
    return root.lookupType(`${HOME}.${name}`);
  } catch (error) {
    throw new DiscoveryError('XDS_SCHEMA', `the schema has no ${HOME}.${name}; run npm run generate`, {
      cause: error,
    });
  }
}

interface Fields {
  readonly [name: string]: true | Fields;
}

/**
 * The same message with only the fields that are read, numbers taken from the schema: the rest of a request
 * (a node's metadata above all, a tree of any depth that the caller fills) is skipped, not built.
 */
function narrowed(schema: protobuf.Type, fields: Fields): protobuf.Type {
  const narrow = new protobuf.Type(schema.name);
  for (const [name, part] of Object.entries(fields)) {
    const field = schema.fields[name]?.resolve();
    if (field === undefined) {
      throw new DiscoveryError('XDS_SCHEMA', `${schema.fullName} has no field ${name}; run npm run generate`);
    }
    if (part !== true && field.resolvedType instanceof protobuf.Type) {
      const child = narrowed(field.resolvedType, part);
      narrow.add(child).add(new protobuf.Field(name, field.id, child.name));
    } else if (field instanceof protobuf.MapField) {
      narrow.add(new protobuf.MapField(name, field.id, field.keyType, field.type));
    } else {
      narrow.add(new protobuf.Field(name, field.id, field.type, field.repeated ? 'repeated' : undefined));
    }
  }
  return narrow;
}

function requestType(root: protobuf.Root, name: string, fields: Fields): protobuf.Type {
  const type = narrowed(required(root, name), fields);
  new protobuf.Root().add(type).resolveAll();
  return type;
}
