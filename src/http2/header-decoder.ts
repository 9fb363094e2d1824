import { DynamicTable, TABLE_BYTES } from './dynamic-table.ts';
import { ConnectionError, ErrorCode } from './errors.ts';
import { likeField, namedField, type Field } from './header-field.ts';
import { decodeHuffman, HUFFMAN_SLACK } from './huffman.ts';
import { STATIC_TABLE } from './static-table.ts';

/** What the fields of one block may come to, counted as tables count them. */
const MAX_DECODED_BYTES = 16_384;

/** Takes the fields of a block, in order. */
export interface FieldSink {
  field(field: Field): void;
}

/** Where strings are decoded; no two blocks are decoded at once. */
const scratch = Buffer.allocUnsafeSlow(MAX_DECODED_BYTES + HUFFMAN_SLACK);

/** HPACK (RFC 7541): one for each connection, which is given each block of it in order. */
export class HeaderDecoder {
  readonly #table = new DynamicTable();
  #bytes: Buffer = scratch;
  #at = 0;
  #end = 0;

  /** @throws {ConnectionError} COMPRESSION_ERROR, or ENHANCE_YOUR_CALM: too large. Nothing can be decoded after it */
  decode(bytes: Buffer, start: number, end: number, sink: FieldSink): void {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
    let total = 0;
    let sizeMayChange = true;
    while (this.#at < end) {
      const first = bytes[this.#at] ?? 0;
      if ((first & 0xe0) === 0x20) {
        const size = this.#integer(5);
        if (!sizeMayChange || size > TABLE_BYTES) throw wrong('a table size that may not be');
        this.#table.resize(size);
        continue;
      }
      sizeMayChange = false;
      const field = this.#field(first);
      total += field.size;
      if (total > MAX_DECODED_BYTES) throw tooLarge();
      sink.field(field);
    }
    this.#bytes = scratch;
  }

  #field(first: number): Field {
    if (first >= 0x80) return this.#indexed(this.#integer(7));
    const kept = first >= 0x40;
    const index = this.#integer(kept ? 6 : 4);
    let field: Field;
    if (index === 0) {
      const name = this.#string();
      field = namedField(name, this.#string());
    } else {
      field = likeField(this.#indexed(index), this.#string());
    }
    if (kept) this.#table.add(field);
    return field;
  }

  #indexed(index: number): Field {
    const field =
      index <= STATIC_TABLE.length
        ? STATIC_TABLE[index - 1]
        : this.#table.at(index - STATIC_TABLE.length - 1);
    if (field === undefined) throw wrong('an index that is not in the table');
    return field;
  }

  /** RFC 7541 section 5.1, up to 28 bits beyond the prefix. */
  #integer(prefix: number): number {
    const most = (1 << prefix) - 1;
    let value = (this.#bytes[this.#at] ?? 0) & most;
    this.#at += 1;
    if (value < most) return value;
    for (let shift = 0; shift < 28; shift += 7) {
      if (this.#at >= this.#end) throw wrong('a number that is cut off');
      const byte = this.#bytes[this.#at] ?? 0;
      this.#at += 1;
      value += (byte & 127) << shift;
      if (byte < 128) return value;
    }
    throw wrong('a number that is too large');
  }

  #string(): string {
    if (this.#at >= this.#end) throw wrong('a string that is cut off');
    const huffman = (this.#bytes[this.#at] ?? 0) >= 128;
    const length = this.#integer(7);
    const start = this.#at;
    this.#at += length;
    if (this.#at > this.#end) throw wrong('a string that is cut off');
    if (!huffman) {
      if (length > MAX_DECODED_BYTES) throw tooLarge();
      return this.#bytes.toString('latin1', start, this.#at);
    }
    const decoded = decodeHuffman(this.#bytes, start, this.#at, scratch, MAX_DECODED_BYTES);
    if (decoded > MAX_DECODED_BYTES) throw tooLarge();
    return scratch.toString('latin1', 0, decoded);
  }
}

function wrong(what: string): ConnectionError {
  return new ConnectionError(ErrorCode.COMPRESSION_ERROR, `a header block has ${what} (RFC 7541)`);
}

function tooLarge(): ConnectionError {
  return new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, 'the headers of a request are over 16 KiB');
}
