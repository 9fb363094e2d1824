import protobuf from 'protobufjs';
import type { JsonObject } from '../../../src/proxy/index.ts';
import type { Asked } from '../case.ts';
import { METADATA, OWN_HEADERS } from '../world.ts';

const struct = protobuf.Root.fromJSON(
  protobuf.common.get('google/protobuf/struct.proto') as protobuf.INamespace,
).lookupType('google.protobuf.Value');

const written = METADATA.filter(({ protocol }) => protocol === 'http').map((entry, at) => ({
  ...entry,
  header: `${OWN_HEADERS}metadata-${at}`,
}));

/** Envoy's filter that writes down, as dynamic metadata, whatever {@link metadataHeaders} carry. */
export const metadataFilter: JsonObject = {
  name: 'metadata',
  typed_config: {
    '@type': 'type.googleapis.com/envoy.extensions.filters.http.header_to_metadata.v3.Config',
    request_rules: written.map(({ header, name, key }) => ({
      header,
      on_header_present: { metadata_namespace: name, key, type: 'PROTOBUF_VALUE', encode: 'BASE64' },
      remove: true,
    })),
  },
};

export function metadataHeaders({ metadata }: Asked): (readonly [string, string])[] {
  return written.flatMap(({ header, name, key }) => {
    const value = metadata?.[name]?.[key];
    if (value === undefined) return [];
    return [[header, Buffer.from(struct.encode(protoValue(value)).finish()).toString('base64')] as const];
  });
}

/** JSON as a `google.protobuf.Value`. */
function protoValue(value: unknown): Record<string, unknown> {
  if (value === null) return { nullValue: 0 };
  if (typeof value === 'number') return { numberValue: value };
  if (typeof value === 'string') return { stringValue: value };
  if (typeof value === 'boolean') return { boolValue: value };
  if (Array.isArray(value)) return { listValue: { values: value.map(protoValue) } };
  const fields = Object.entries(value as object).map(([name, inner]) => [name, protoValue(inner)]);
  return { structValue: { fields: Object.fromEntries(fields) as unknown } };
}
