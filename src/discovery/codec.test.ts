import * as fc from 'fast-check';
import protobuf from 'protobufjs';
import { describe, expect, it } from 'vitest';
import { discoveryCodec } from './codec.ts';
import { DiscoveryError } from './errors.ts';
import type { Outgoing } from './messages.ts';
import { SECRET, resource, root } from './testing.ts';

const codecs = discoveryCodec(root, 1024);
const type = (name: string): protobuf.Type => root.lookupType(`envoy.service.discovery.v3.${name}`);

const outgoing: Outgoing = {
  typeUrl: SECRET,
  nonce: 'n1',
  version: 'v1',
  resources: [resource(SECRET, 'a', '1'), resource(SECRET, 'b', '2')],
  removed: ['gone'],
  errors: [{ name: 'x', code: 'NOT_FOUND', reason: 'unknown', refused: true }],
};
const errors = [{ resource_name: { name: 'x' }, error_detail: { code: 5, message: 'unknown' } }];

describe('discoveryCodec', () => {
  it('writes a SotW response as the schema has it', () => {
    const response = type('DiscoveryResponse');
    expect(response.toObject(response.decode(codecs.sotw.encode(outgoing)), { bytes: String })).toEqual({
      version_info: 'v1',
      type_url: SECRET,
      nonce: 'n1',
      resources: [
        { type_url: SECRET, value: Buffer.from('a@1').toString('base64') },
        { type_url: SECRET, value: Buffer.from('b@2').toString('base64') },
      ],
      resource_errors: errors,
    });
  });

  it('writes a delta response as the schema has it', () => {
    const response = type('DeltaDiscoveryResponse');
    const any = { type_url: SECRET, value: Buffer.from('a@1').toString('base64') };
    const anyB = { type_url: SECRET, value: Buffer.from('b@2').toString('base64') };
    expect(response.toObject(response.decode(codecs.delta.encode(outgoing)), { bytes: String })).toEqual({
      system_version_info: 'v1',
      type_url: SECRET,
      nonce: 'n1',
      resources: [
        { name: 'a', version: '1', resource: any },
        { name: 'b', version: '2', resource: anyB },
      ],
      removed_resources: ['gone'],
      resource_errors: errors,
    });
  });

  it('encodes a resource once, however often it is sent', () => {
    let reads = 0;
    const counted = {
      ...resource(SECRET, 'a', '1'),
      get body(): Uint8Array {
        reads += 1;
        return Buffer.from('body');
      },
    };
    const send = (nonce: string): Buffer => codecs.sotw.encode({ ...outgoing, nonce, resources: [counted] });
    expect(send('n1').length).toBe(send('n2').length);
    expect(reads).toBe(1);
  });

  it('reads requests, skipping what it does not use', () => {
    const node = { id: 'envoy', metadata: { fields: { k: { string_value: 'v' } } } };
    const detail = { code: 3, message: 'bad' };
    const sotw = type('DiscoveryRequest').encode({
      node,
      type_url: SECRET,
      resource_names: ['a', 'b'],
      version_info: '1',
      response_nonce: 'n',
      error_detail: detail,
    });
    expect(codecs.sotw.decode(sotw.finish())).toMatchObject({
      node_id: 'envoy',
      type_url: SECRET,
      resource_names: ['a', 'b'],
      version_info: '1',
      response_nonce: 'n',
      error_detail: detail,
    });
    const delta = type('DeltaDiscoveryRequest').encode({
      resource_names_subscribe: ['a'],
      resource_names_unsubscribe: ['b'],
      initial_resource_versions: { a: '1' },
    });
    expect(codecs.delta.decode(delta.finish())).toMatchObject({
      node_id: '',
      resource_names_subscribe: ['a'],
      resource_names_unsubscribe: ['b'],
      initial_resource_versions: new Map([['a', '1']]),
      error_detail: undefined,
    });
  });

  it('skips the tree of a node, however deep it is', () => {
    let struct: Uint8Array = new Uint8Array();
    // A Struct field (1) holds a map entry, whose value (2) holds a Value, whose struct_value (5) is the next.
    for (let level = 0; level < 80; level += 1) struct = field(1, field(2, field(5, struct)));
    const message = field(1, Buffer.concat([field(1, Buffer.from('envoy')), field(3, struct)]));
    const delta = discoveryCodec(root, 10_000).delta;
    expect(delta.decode(message)).toMatchObject({ node_id: 'envoy' });
  });

  it('refuses a message over the limit, and what is no message, by code', () => {
    expect(() => codecs.sotw.decode(Buffer.alloc(1025))).toThrowError(
      expect.objectContaining({ code: 'XDS_MESSAGE_TOO_LARGE' }),
    );
    expect(() => codecs.delta.decode(Buffer.from([0xff, 0xff]))).toThrowError(
      expect.objectContaining({ code: 'XDS_MESSAGE_MALFORMED' }),
    );
  });

  it('reads any bytes as a request or a DiscoveryError, nothing else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        for (const codec of [codecs.sotw, codecs.delta]) {
          try {
            expect(typeof codec.decode(bytes).type_url).toBe('string');
          } catch (error) {
            expect(error).toBeInstanceOf(DiscoveryError);
          }
        }
      }),
    );
  });

  it('says which part of the schema is missing', () => {
    expect(() => discoveryCodec(new protobuf.Root(), 1)).toThrowError(
      expect.objectContaining({ code: 'XDS_SCHEMA' }),
    );
  });
});

/** A length-delimited field. */
function field(number: number, content: Uint8Array): Buffer {
  const length = content.length;
  const prefix = length < 0x80 ? [length] : [(length & 0x7f) | 0x80, length >> 7];
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...prefix]), content]);
}
