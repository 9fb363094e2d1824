/** Writes DER (X.690 section 10). Parts are already encoded, except where a function says otherwise. */

export const EMPTY_SEQUENCE: Buffer = Buffer.from([0x30, 0x00]);
export const TRUE: Buffer = Buffer.from([0x01, 0x01, 0xff]);

/** How many bytes a value with `length` bytes of content has in all. */
export function sizeOf(length: number): number {
  if (length < 0x80) return length + 2;
  if (length < 0x100) return length + 3;
  if (length < 0x10000) return length + 4;
  return length + 5;
}

/** Writes tag and length at `at`; returns where the content begins. Content is below 16 MiB. */
export function writeHeader(target: Buffer, at: number, tag: number, length: number): number {
  target[at] = tag;
  if (length < 0x80) {
    target[at + 1] = length;
    return at + 2;
  }
  const count = length < 0x100 ? 1 : length < 0x10000 ? 2 : 3;
  target[at + 1] = 0x80 + count;
  return target.writeUIntBE(length, at + 2, count);
}

export function tlv(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  let length = 0;
  for (const part of parts) length += part.length;
  const value = Buffer.allocUnsafe(sizeOf(length));
  let at = writeHeader(value, 0, tag, length);
  for (const part of parts) {
    value.set(part, at);
    at += part.length;
  }
  return value;
}

export function sequence(...parts: readonly Uint8Array[]): Buffer {
  return tlv(0x30, ...parts);
}

/** A positive INTEGER from its big-endian bytes, the first of which is 0x01 to 0x7f. */
export function positiveInteger(bytes: Uint8Array): Buffer {
  return tlv(0x02, bytes);
}

export function octetString(...parts: readonly Uint8Array[]): Buffer {
  return tlv(0x04, ...parts);
}

/** A BIT STRING of whole bytes. */
export function bitString(bytes: Uint8Array): Buffer {
  return tlv(0x03, Buffer.of(0), bytes);
}

/** @param dotted for example `2.5.29.15`; the first arc is 0, 1 or 2. */
export function oid(dotted: string): Buffer {
  const [top = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  return tlv(0x06, Buffer.from([top * 40 + second, ...rest].flatMap(base128)));
}

function base128(arc: number): number[] {
  const bytes = [arc & 0x7f];
  for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) {
    bytes.unshift(0x80 | (left & 0x7f));
  }
  return bytes;
}

/** An extension of RFC 5280 section 4.1: `id` is the encoded OID, `value` the encoded extension value. */
export function extension(id: Buffer, critical: boolean, value: Uint8Array): Buffer {
  return critical ? sequence(id, TRUE, octetString(value)) : sequence(id, octetString(value));
}

/**
 * A Time of RFC 5280 section 4.1.2.5, cut to whole seconds: UTCTime through 2049, GeneralizedTime after.
 * @param atMs milliseconds since the epoch
 */
export function time(atMs: number): Buffer {
  const digits = new Date(atMs).toISOString().replace(/\.\d+|[-:T]/g, '');
  const year = Number(digits.slice(0, 4));
  if (year >= 1950 && year < 2050) return tlv(0x17, Buffer.from(digits.slice(2), 'latin1'));
  return tlv(0x18, Buffer.from(digits, 'latin1'));
}
