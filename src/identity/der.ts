import { IdentityError } from './errors.ts';

/** The universal tags of X.690 that certificates and certificate requests use. */
export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** One encoded value. `raw` is the whole of it, `content` what stands inside. Views of the input, not copies. */
export interface DerValue {
  readonly tag: number;
  readonly raw: Buffer;
  readonly content: Buffer;
}

/**
 * Reads values one after the other, strictly as DER (X.690 section 10): one definite, shortest length, nothing
 * cut off, nothing left over. Two readers of one certificate must not be able to see two things in it.
 */
export class DerReader {
  readonly #bytes: Buffer;
  readonly #what: string;
  #at: number;
  readonly #end: number;

  /**
   * @param what names the input in errors.
   * @param start where to begin in `bytes`, and `end` where they end for this reader
   */
  constructor(bytes: Uint8Array, what: string, start = 0, end: number = bytes.length) {
    this.#bytes = Buffer.isBuffer(bytes)
      ? bytes
      : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#what = what;
    this.#at = start;
    this.#end = end;
  }

  get atEnd(): boolean {
    return this.#at === this.#end;
  }

  /** The tag of the next value, or `undefined` at the end. */
  peek(): number | undefined {
    return this.#at < this.#end ? this.#bytes[this.#at] : undefined;
  }

  /** @throws IdentityError `der-malformed` where the next value is missing, broken, or has another tag. */
  read(tag: number, part: string): DerValue {
    const start = this.#at;
    const contentStart = this.#pass(tag, part);
    return new Value(this.#bytes, start, contentStart, this.#at);
  }

  /** The next value whatever its tag. */
  readAny(part: string): DerValue {
    const tag = this.peek();
    if (tag === undefined) throw this.#malformed(`${part} is missing`);
    return this.read(tag, part);
  }

  /** The next value if it has this tag. */
  readOptional(tag: number, part: string): DerValue | undefined {
    return this.peek() === tag ? this.read(tag, part) : undefined;
  }

  /** A reader of what stands inside the next value. */
  enter(tag: number, part: string): DerReader {
    const contentStart = this.#pass(tag, part);
    return new DerReader(this.#bytes, this.#what, contentStart, this.#at);
  }

  /** @throws IdentityError `der-malformed` where something is left over. */
  end(part: string): void {
    if (!this.atEnd) throw this.#malformed(`${this.#end - this.#at} bytes follow ${part}`);
  }

  /** Goes behind the next value. @returns where its content begins */
  #pass(tag: number, part: string): number {
    const start = this.#at;
    const found = this.peek();
    if (found === undefined) throw this.#malformed(`${part} is missing`);
    if (found !== tag) throw this.#malformed(`${part} has the tag ${hex(found)}, not ${hex(tag)}`);
    const first = this.#bytes[start + 1];
    if (first === undefined || start + 2 > this.#end) throw this.#malformed(`${part} is cut off`);
    if ((tag & 0x1f) === 0x1f) throw this.#malformed(`${part} has a tag of several bytes`);
    let length = first;
    let contentStart = start + 2;
    if (first >= 0x80) {
      const count = first - 0x80;
      if (count === 0 || count > 4 || contentStart + count > this.#end) {
        throw this.#malformed(`${part} has a length that is not DER`);
      }
      length = this.#bytes.readUIntBE(contentStart, count);
      contentStart += count;
      if (length < 0x80 || length < 2 ** (8 * (count - 1))) {
        throw this.#malformed(`${part} has a length that is not the shortest`);
      }
    }
    if (contentStart + length > this.#end) throw this.#malformed(`${part} is cut off`);
    this.#at = contentStart + length;
    return contentStart;
  }

  #malformed(finding: string): IdentityError {
    return new IdentityError('der-malformed', `The ${this.#what} is not well-formed DER: ${finding}.`);
  }
}

/** Of most values, neither form is asked for. */
class Value implements DerValue {
  readonly #bytes: Buffer;
  readonly #start: number;
  readonly #contentStart: number;
  readonly #end: number;

  constructor(bytes: Buffer, start: number, contentStart: number, end: number) {
    this.#bytes = bytes;
    this.#start = start;
    this.#contentStart = contentStart;
    this.#end = end;
  }

  get tag(): number {
    return this.#bytes[this.#start] ?? 0;
  }

  get raw(): Buffer {
    return this.#bytes.subarray(this.#start, this.#end);
  }

  get content(): Buffer {
    return this.#bytes.subarray(this.#contentStart, this.#end);
  }
}

/** The contents of a BIT STRING of whole bytes, as keys and signatures are. */
export function wholeBytes(bits: DerValue, what: string): Buffer {
  const { content } = bits;
  if (content[0] !== 0) {
    throw new IdentityError('der-malformed', `The ${what} is not a BIT STRING of whole bytes.`);
  }
  return content.subarray(1);
}

/** The dotted text of an OBJECT IDENTIFIER's content. Arcs above 2^53 do not occur in what we read. */
export function oidText(content: Uint8Array): string {
  const arcs: number[] = [];
  let arc = 0;
  for (const byte of content) {
    arc = arc * 128 + (byte & 0x7f);
    if (byte < 0x80) {
      if (arcs.length === 0) {
        const top = Math.min(Math.floor(arc / 40), 2);
        arcs.push(top, arc - 40 * top);
      } else arcs.push(arc);
      arc = 0;
    }
  }
  return arcs.join('.');
}

function hex(tag: number): string {
  return `0x${tag.toString(16).padStart(2, '0')}`;
}
