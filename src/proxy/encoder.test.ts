import { readFileSync } from 'node:fs';
import protobuf from 'protobufjs';
import { describe, expect, it } from 'vitest';
import { ResourceEncoder } from './encoder.ts';
import { EXTENSION_CONFIG_TYPE, SECRET_TYPE } from './resource-types.ts';

const schema = protobuf.Root.fromJSON(
  JSON.parse(
    readFileSync(new URL('../../proto/gen/envoy.json', import.meta.url), 'utf8'),
  ) as protobuf.INamespace,
);
const encoder = new ResourceEncoder(schema);

function decode(typeUrl: string, body: Uint8Array): Readonly<Record<string, unknown>> {
  const type = schema.lookupType(typeUrl.slice(typeUrl.indexOf('/') + 1));
  return type.toObject(type.decode(body), { json: true, bytes: String, enums: String });
}

describe('ResourceEncoder', () => {
  it("takes a wrapper as the bare value that it is in Envoy's JSON, however deep it stands", () => {
    const rbac = 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC';
    const range = { address_prefix: '10.0.0.0', prefix_len: 8 };
    const policy = {
      permissions: [{ not_rule: { destination_ip: range } }],
      principals: [{ or_ids: { ids: [{ direct_remote_ip: range }, { remote_ip: range }] } }],
    };
    const { body } = encoder.encode(EXTENSION_CONFIG_TYPE, 'filter', {
      typed_config: { '@type': rbac, rules: { action: 'DENY', policies: { office: policy } } },
    });
    const wire = { address_prefix: '10.0.0.0', prefix_len: { value: 8 } };
    expect(decode(EXTENSION_CONFIG_TYPE, body)).toEqual({
      name: 'filter',
      typed_config: {
        '@type': rbac,
        rules: {
          action: 'DENY',
          policies: {
            office: {
              permissions: [{ not_rule: { destination_ip: wire } }],
              principals: [{ or_ids: { ids: [{ direct_remote_ip: wire }, { remote_ip: wire }] } }],
            },
          },
        },
      },
    });
  });

  it('takes a duration as its text, and refuses one that is none', () => {
    const http = 'type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz';
    const encoded = (timeout: string): Readonly<Record<string, unknown>> => {
      const service = { server_uri: { uri: 'http://p', cluster: 'p', timeout } };
      const config = { '@type': http, http_service: service };
      return decode(
        EXTENSION_CONFIG_TYPE,
        encoder.encode(EXTENSION_CONFIG_TYPE, 'f', { typed_config: config }).body,
      );
    };
    expect(encoded('1.5s')).toMatchObject({
      typed_config: { http_service: { server_uri: { timeout: { nanos: 500_000_000 } } } },
    });
    expect(() => encoded('soon')).toThrow();
  });

  it('keeps bytes as they are, and gives equal content an equal version', () => {
    const secret = { tls_certificate: { certificate_chain: { inline_bytes: Buffer.from('chain') } } };
    const { body, version } = encoder.encode(SECRET_TYPE, 'default', secret);
    expect(decode(SECRET_TYPE, body)).toMatchObject({
      tls_certificate: { certificate_chain: { inline_bytes: Buffer.from('chain').toString('base64') } },
    });
    expect(encoder.encode(SECRET_TYPE, 'default', secret).version).toBe(version);
    expect(encoder.encode(SECRET_TYPE, 'other', secret).version).not.toBe(version);
  });

  it('encodes directly what needs no conversion, to the same bytes and version', () => {
    const secret = {
      tls_certificate: {
        certificate_chain: { inline_bytes: Buffer.from('chain') },
        private_key: { inline_bytes: Buffer.from('key') },
      },
    };
    const direct = encoder.encodeDirectly(SECRET_TYPE, 'default', secret);
    const converted = encoder.encode(SECRET_TYPE, 'default', secret);
    expect(Buffer.from(direct.body)).toEqual(Buffer.from(converted.body));
    expect(direct.version).toBe(converted.version);
    expect(() => encoder.encodeDirectly('type.googleapis.com/other', 'default', secret)).toThrow(
      'not a type',
    );
  });
});
