import { ConnectionError, ErrorCode } from './errors.ts';

/** RFC 7541 appendix B: the bits of each symbol's code in base 36, the 257th being EOS. The code is canonical. */
const LENGTHS =
  'dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6ca' +
  'd67777777777777777777777878djde6f56565666577666567655677777fbeds' +
  'kmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnnllmlnmnnkmmmnmmn' +
  'qqkjmnmpqqqrrqopjlqrrqrollqqsrrrkoklmllnmmppooqnqrqqrrrrrsrrrrrq' +
  'u';
const FAST_BITS = 10;
/** Two of the usual characters fit into as many. */
const PAIR_BITS = 13;
const LONGEST = 30;
const EOS = 256;

/** By the next ten bits: symbol << 4 | bits; 0: the code is longer. */
const fast = new Uint16Array(1 << FAST_BITS);
/** By bits: the first code of that many, how many there are, and where their symbols begin. */
const firstCode = new Uint32Array(LONGEST + 1);
const codes = new Uint16Array(LONGEST + 1);
const firstSymbol = new Uint16Array(LONGEST + 1);
const symbols: number[] = [];

let next = 0;
for (let bits = 1; bits <= LONGEST; bits += 1) {
  next *= 2;
  firstCode[bits] = next;
  firstSymbol[bits] = symbols.length;
  for (let symbol = 0; symbol <= EOS; symbol += 1) {
    if (Number.parseInt(LENGTHS.charAt(symbol), 36) !== bits) continue;
    if (bits <= FAST_BITS) {
      const from = next << (FAST_BITS - bits);
      fast.fill((symbol << 4) | bits, from, from + (1 << (FAST_BITS - bits)));
    }
    symbols.push(symbol);
    next += 1;
  }
  codes[bits] = symbols.length - (firstSymbol[bits] ?? 0);
}

/** By the next 13 bits: second symbol << 16 | first << 8 | whether there is a second << 7 | bits of both; 0 as above. */
const pairs = new Uint32Array(1 << PAIR_BITS);
for (let bits = 0; bits < pairs.length; bits += 1) {
  const first = fast[bits >>> (PAIR_BITS - FAST_BITS)] ?? 0;
  if (first === 0) continue;
  const left = PAIR_BITS - (first & 15);
  const second = fast[((bits << FAST_BITS) >>> left) & ((1 << FAST_BITS) - 1)] ?? 0;
  const both = second !== 0 && (second & 15) <= left;
  const alone = ((first >>> 4) << 8) | (first & 15);
  pairs[bits] = both ? alone + (((second >>> 4) << 16) | (1 << 7) | (second & 15)) : alone;
}

function wrong(): ConnectionError {
  return new ConnectionError(ErrorCode.COMPRESSION_ERROR, 'a Huffman code that is none (RFC 7541, 5.2)');
}

/** Room that `into` must have beyond the limit. */
export const HUFFMAN_SLACK = 8;

/**
 * Decodes into `into`, which has {@link HUFFMAN_SLACK} bytes more than `limit`.
 * @returns how many bytes it came to; more than `limit`: there is more, and the rest was left out
 * @throws {ConnectionError} COMPRESSION_ERROR: no code, EOS, or padding that is not EOS's first bits or a whole byte
 */
export function decodeHuffman(
  bytes: Uint8Array,
  start: number,
  end: number,
  into: Uint8Array,
  limit: number,
): number {
  let at = start;
  /** Of which the last `held` bits are not decoded yet. */
  let bits = 0;
  let held = 0;
  let length = 0;
  for (;;) {
    while (held <= 22 && at < end) {
      bits = (bits << 8) | (bytes[at] ?? 0);
      at += 1;
      held += 8;
    }
    if (length > limit) return length;
    let entry = 0;
    while (held >= PAIR_BITS) {
      entry = pairs[(bits >>> (held - PAIR_BITS)) & 8191] ?? 0;
      if (entry === 0) break;
      into[length] = entry >>> 8;
      into[length + 1] = entry >>> 16;
      length += 1 + ((entry >>> 7) & 1);
      held -= entry & 127;
    }
    if (entry !== 0 && at < end) continue;
    if (held < FAST_BITS) break;
    if (held < PAIR_BITS) {
      entry = fast[(bits >>> (held - FAST_BITS)) & 1023] ?? 0;
      if (entry !== 0) {
        into[length] = entry >>> 4;
        length += 1;
        held -= entry & 15;
        continue;
      }
    }
    const long = decodeLong(bytes, at * 8 - held, end * 8);
    into[length] = long & 255;
    length += 1;
    const position = at * 8 - held + (long >>> 8);
    at = position >>> 3;
    held = 0;
    if ((position & 7) === 0) continue;
    bits = bytes[at] ?? 0;
    held = 8 - (position & 7);
    at += 1;
  }
  while (held > 0) {
    const missing = FAST_BITS - held;
    const entry = fast[((bits << missing) | ((1 << missing) - 1)) & 1023] ?? 0;
    if (entry === 0 || (entry & 15) > held) break;
    into[length] = entry >>> 4;
    length += 1;
    held -= entry & 15;
  }
  const padding = (1 << held) - 1;
  if (held > 7 || (bits & padding) !== padding) throw wrong();
  return length;
}

/** A code of more than ten bits. @returns its bits << 8 | its symbol */
function decodeLong(bytes: Uint8Array, from: number, to: number): number {
  let code = 0;
  for (let bits = 1; bits <= LONGEST && from + bits <= to; bits += 1) {
    const position = from + bits - 1;
    code = code * 2 + (((bytes[position >>> 3] ?? 0) >>> (7 - (position & 7))) & 1);
    if (bits <= FAST_BITS) continue;
    const offset = code - (firstCode[bits] ?? 0);
    if (offset < 0 || offset >= (codes[bits] ?? 0)) continue;
    const symbol = symbols[(firstSymbol[bits] ?? 0) + offset] ?? EOS;
    if (symbol !== EOS) return (bits << 8) | symbol;
  }
  throw wrong();
}
