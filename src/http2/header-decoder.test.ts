import { describe, expect, it } from 'vitest';
import { ConnectionError, ErrorCode } from './errors.ts';
import { HeaderDecoder } from './header-decoder.ts';
import { decodeHuffman, HUFFMAN_SLACK } from './huffman.ts';
import { STATIC_TABLE } from './static-table.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

function decode(decoder: HeaderDecoder, block: Buffer): readonly string[] {
  const fields: string[] = [];
  decoder.decode(block, 0, block.length, { field: ({ name, value }) => fields.push(`${name}: ${value}`) });
  return fields;
}

function failure(block: Buffer): number | undefined {
  try {
    decode(new HeaderDecoder(), block);
  } catch (error) {
    if (error instanceof ConnectionError) return error.code;
    throw error;
  }
  return undefined;
}

const first = [':method: GET', ':scheme: http', ':path: /', ':authority: www.example.com'];
const second = [...first, 'cache-control: no-cache'];
const third = [
  ':method: GET',
  ':scheme: https',
  ':path: /index.html',
  ':authority: www.example.com',
  'custom-key: custom-value',
];

describe('the examples of RFC 7541', () => {
  it.each([
    [
      'C.2.1',
      '400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572',
      'custom-key: custom-header',
    ],
    ['C.2.2', '040c 2f73 616d 706c 652f 7061 7468', ':path: /sample/path'],
    ['C.2.3', '1008 7061 7373 776f 7264 0673 6563 7265 74', 'password: secret'],
    ['C.2.4', '82', ':method: GET'],
  ])('%s', (_, block, field) => {
    expect(decode(new HeaderDecoder(), hex(block))).toEqual([field]);
  });

  it('C.3: three requests, plain', () => {
    const decoder = new HeaderDecoder();
    expect(decode(decoder, hex('8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d'))).toEqual(first);
    expect(decode(decoder, hex('8286 84be 5808 6e6f 2d63 6163 6865'))).toEqual(second);
    const last = hex('8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65');
    expect(decode(decoder, last)).toEqual(third);
  });

  it('C.4: three requests, Huffman', () => {
    const decoder = new HeaderDecoder();
    expect(decode(decoder, hex('8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff'))).toEqual(first);
    expect(decode(decoder, hex('8286 84be 5886 a8eb 1064 9cbf'))).toEqual(second);
    expect(decode(decoder, hex('8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf'))).toEqual(
      third,
    );
  });

  it('C.6: three responses, Huffman, in a table of 256 bytes that evicts', () => {
    const decoder = new HeaderDecoder();
    const size = '3f e1 01';
    const date = (second_: number): string => `date: Mon, 21 Oct 2013 20:13:${second_} GMT`;
    const rest = 'location: https://www.example.com';
    expect(
      decode(
        decoder,
        hex(
          `${size} 4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6
          2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3`.replaceAll(/\s/gu, ''),
        ),
      ),
    ).toEqual([':status: 302', 'cache-control: private', date(21), rest]);
    expect(decode(decoder, hex('4883 640e ffc1 c0bf'))).toEqual([
      ':status: 307',
      'cache-control: private',
      date(21),
      rest,
    ]);
    expect(
      decode(
        decoder,
        hex(
          `88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad
          94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160
          65c0 03ed 4ee5 b106 3d50 07`.replaceAll(/\s/gu, ''),
        ),
      ),
    ).toEqual([
      ':status: 200',
      'cache-control: private',
      date(22),
      rest,
      'content-encoding: gzip',
      'set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1',
    ]);
  });

  it('Appendix A: the static table', () => {
    const at = (index: number): string =>
      `${STATIC_TABLE[index - 1]?.name}: ${STATIC_TABLE[index - 1]?.value}`;
    expect(STATIC_TABLE).toHaveLength(61);
    expect([2, 8, 16, 31, 58, 61].map(at)).toEqual([
      ':method: GET',
      ':status: 200',
      'accept-encoding: gzip, deflate',
      'content-type: ',
      'user-agent: ',
      'www-authenticate: ',
    ]);
  });
});

/** The codes of RFC 7541 appendix B for 0 to 255 in order, as another implementation writes them. */
const everySymbol = hex(
  [
    'ffc7fffd8fffffe2fffffe3fffffe4fffffe5fffffe6fffffe7fffffe8ffffeafffffff3fffffa7fffffabffffffdfffffeb',
    'fffffecfffffedfffffeefffffefffffff0ffffff1ffffff2fffffffbfffffcffffffd3fffffd7fffffdbfffffdffffffe3f',
    'ffffe7fffffebfffffed4fe3f9ffaffcabf1febfafefe7fdfd2cbb00089969b71d79fb9f7fff20ffbff3ff50ddbd7f061c58',
    'f265cd9f469d5af66dddbf871e5f9cff7ff7fffc3ff9ffe45fff4719242cb34e6e9d68a6a3d7dac426defe3cfaf7fffbfe7f',
    'fbffdffffffcfffe6ffff4bfff9ffffa3fffd3ffff53fffd5ffffb3fffeb7fffdaffffb7ffff73fffeeffffdeffffebffffb',
    'fffffd9ffffdbfffebffffe0ffffeeffffc3ffff8bffff1ffffe4fffee7fffb1ffff97fffd9ffffcdffff9fffffbffffdaff',
    'feeffff4ffffb7fffee7fffe8ffffd3fffdeffffd5fffeeffffbdffffe1fffdfffff7fffff5ffffecffff07fff87fffe0fff',
    'f17fffedffff87ffff77fffeffffeaffff8bfffe3ffff93ffff87fffcbffff37ffff1fffff83ffffe1fffebfffe3ffff3fff',
    'ff2ffffa3ffffd9fffff17ffffc7fffff27ffffdefffffbffffff2fffff8fffffb7fff97fff8fffffe6fffffc1fffff87fff',
    'fe7fffffc5ffffe5fffe4ffff2fffffd1fffff4ffffffefffffe3fffffc9fffff97fffb3ffffcffffb7fffcdffff4ffff9ff',
    'ffd1ffffcffffeaffffafffffddffffeffffff4fffff5fffffabffffa7ffffd7fffff9bffffecfffffb7fffff3fffffe8fff',
    'ffd3fffffabfffff5fffffff7ffffecfffffdbfffffbbfffff7ffffff0fffffbbf',
  ].join(''),
);

describe('Huffman', () => {
  const all = Buffer.from(Array.from({ length: 256 }, (_, symbol) => symbol));
  const into = Buffer.alloc(256 + HUFFMAN_SLACK);

  it('knows each of the 256 symbols', () => {
    expect(decodeHuffman(everySymbol, 0, everySymbol.length, into, 256)).toBe(256);
    expect(into.subarray(0, 256)).toEqual(all);
  });

  it('stops at the limit', () => {
    expect(decodeHuffman(everySymbol, 0, everySymbol.length, into, 100)).toBeGreaterThan(100);
    expect(decodeHuffman(everySymbol, 0, everySymbol.length, into, 100)).toBeLessThan(100 + HUFFMAN_SLACK);
  });
});

describe('a header block that is wrong', () => {
  it.each([
    ['index 0', '80'],
    ['an index beyond the tables', 'be'],
    ['a name beyond the tables', '7f ff 01 01 61'],
    ['a number that is cut off', 'ff'],
    ['a number without an end', 'ff 80 80 80 80 80 00'],
    ['a string that is cut off', '00 01 61 05 61'],
    ['a literal without a value', '00 01 61'],
    ['a table larger than allowed', '3f e2 1f'],
    ['a new table size after a field', '82 20'],
    ['EOS in a string', '00 01 61 84 ff ff ff ff'],
    ['padding of a whole byte', '00 01 61 82 1f ff'],
    ['padding that is not of ones', '00 01 61 81 18'],
  ])('ends the connection: %s', (_, block) => {
    expect(failure(hex(block))).toBe(ErrorCode.COMPRESSION_ERROR);
  });

  it('may be no more than 16 KiB once it is decoded', () => {
    const long = (bytes: number): Buffer =>
      Buffer.concat([
        hex('00 01 61 7f'),
        Buffer.from([((bytes - 127) & 127) | 128, (bytes - 127) >>> 7]),
        Buffer.alloc(bytes, 'x'),
      ]);
    expect(failure(long(16_000))).toBeUndefined();
    expect(failure(long(16_384))).toBe(ErrorCode.ENHANCE_YOUR_CALM);
    // One field of 4,000 bytes in the table, said again and again.
    const bomb = Buffer.concat([hex('40 01 61 7f a1 1e'), Buffer.alloc(4_000, 'x'), Buffer.alloc(10, 0xbe)]);
    expect(failure(bomb)).toBe(ErrorCode.ENHANCE_YOUR_CALM);
  });
});
