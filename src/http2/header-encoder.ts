import { percentEncoded } from './grpc-message.ts';

/** Header blocks that use no dynamic table, so that they are the same on each connection (RFC 7541 section 6.2.2). */

function length(value: number): readonly number[] {
  if (value < 127) return [value];
  const bytes = [127];
  let rest = value - 127;
  for (; rest >= 128; rest >>>= 7) bytes.push((rest & 127) | 128);
  bytes.push(rest);
  return bytes;
}

function text(value: string): Buffer {
  return Buffer.concat([Buffer.from(length(value.length)), Buffer.from(value, 'latin1')]);
}

function field(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.from([0]), text(name), text(value)]);
}

const STATUS_200 = Buffer.from([0x88]);
const CONTENT_TYPE = Buffer.concat([Buffer.from([0x0f, 0x10]), text('application/grpc')]);

/** Says that the table is empty: has to be said once a client wants a smaller one (RFC 7541 section 4.2). */
export const EMPTY_TABLE: Buffer = Buffer.from([0x20]);

/** Before a message. */
export const RESPONSE: Buffer = Buffer.concat([STATUS_200, CONTENT_TYPE]);
/** After a message. */
export const STATUS_OK: Buffer = field('grpc-status', '0');

/** A response that is nothing but its HTTP status. */
export function httpStatus(status: number): Buffer {
  return Buffer.concat([Buffer.from([0x08]), text(String(status))]);
}

/** What may be said of a call that failed, with room for the frame. */
const MAX_METADATA_BYTES = 8_192;

/** A response that is nothing but its status ("Trailers-Only"). Metadata that is no header, or too much, is left out. */
export function failure(
  code: number,
  details: string,
  metadata: Readonly<Record<string, string>> | undefined,
): Buffer {
  const fields = [
    RESPONSE,
    field('grpc-status', String(code)),
    field('grpc-message', percentEncoded(details)),
  ];
  let bytes = 0;
  for (const [name, value] of Object.entries(metadata ?? {})) {
    const encoded = field(name, value);
    bytes += encoded.length;
    if (
      /^[a-z0-9_.-]+$/u.test(name) &&
      /^[!-~](?:[ -~]*[!-~])?$/u.test(value) &&
      bytes <= MAX_METADATA_BYTES
    ) {
      fields.push(encoded);
    }
  }
  return Buffer.concat(fields);
}
