import { describe, expect, it } from 'vitest';
import { ErrorCode } from './errors.ts';
import { Flag, FrameType } from './frames.ts';
import {
  ACK,
  block,
  CALL,
  call,
  data,
  ECHO,
  frame,
  framed,
  headers,
  SETTINGS,
  START,
  TestConnection,
} from './testing.ts';
import type { UnaryAnswer, UnaryHandler } from './types.ts';

const u32 = (...values: readonly number[]): Buffer => {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, index) => bytes.writeUInt32BE(value, 4 * index));
  return bytes;
};
const setting = (id: number, value: number): Buffer =>
  frame(FrameType.SETTINGS, 0, 0, Buffer.concat([Buffer.from([0, id]), u32(value)]));
const windowUpdate = (stream: number, increment: number): Buffer =>
  frame(FrameType.WINDOW_UPDATE, 0, stream, u32(increment));
const reset = (stream: number): Buffer => frame(FrameType.RST_STREAM, 0, stream, u32(8));
const ping = frame(FrameType.PING, 0, 0, Buffer.from('12345678'));
const message = framed(Buffer.from('hi'));
const silent: UnaryHandler = () => undefined;

function started(handler?: UnaryHandler): TestConnection {
  const connection = new TestConnection(handler).send(START);
  connection.sent();
  return connection;
}

/** The answer's frames in words. */
function answers(connection: TestConnection): readonly string[] {
  const names = Object.keys(FrameType);
  return connection
    .sent()
    .map(({ type, stream, payload, flags }) => `${names[type]} ${stream} ${payload.length} ${flags}`);
}

describe('a connection', () => {
  it('begins with how many calls it takes, and the acknowledgement of the SETTINGS', () => {
    expect(answers(new TestConnection().send(START))).toEqual(['SETTINGS 0 6 0', 'SETTINGS 0 0 1']);
  });

  it('answers in one piece', () => {
    const connection = started();
    connection.send(call(1));
    expect(connection.wire.written).toHaveLength(1);
    expect(answers(connection)).toEqual(['HEADERS 1 20 4', 'DATA 1 7 0', 'HEADERS 1 15 5']);
  });

  it('answers several that came at once in one piece, too', () => {
    const connection = started();
    connection.send(call(1), call(3));
    expect(connection.wire.written).toHaveLength(1);
    expect(connection.sent()).toHaveLength(6);
  });

  it('understands padding, priorities, CONTINUATION, trailers, and what it does not know', () => {
    const connection = started();
    const whole = block(CALL);
    const padded = Buffer.concat([Buffer.from([3, 0, 0, 0, 0, 9]), whole.subarray(0, 20), Buffer.alloc(3)]);
    connection.send(
      frame(FrameType.HEADERS, Flag.PADDED | Flag.PRIORITY, 1, padded),
      frame(FrameType.CONTINUATION, 0, 1, whole.subarray(20, 40)),
      frame(FrameType.CONTINUATION, Flag.END_HEADERS, 1, whole.subarray(40)),
      frame(FrameType.PRIORITY, 0, 1, Buffer.alloc(5)),
      frame(200, 255, 1, Buffer.alloc(50)),
      data(1, Buffer.concat([Buffer.from([2]), message.subarray(0, 3), Buffer.alloc(2)]), Flag.PADDED),
      data(1, Buffer.alloc(0), 0),
      data(1, message.subarray(3), 0),
      headers(1, [['x-trailer', 'y']], Flag.END_HEADERS | Flag.END_STREAM),
    );
    expect(connection.requests.map((one) => one.message.toString())).toEqual(['hi']);
    expect(answers(connection)).toContain('DATA 1 7 0');
  });

  it('gives PING back', () => {
    const [pong] = started().send(ping).sent();
    expect(pong).toEqual({ type: FrameType.PING, flags: 1, stream: 0, payload: Buffer.from('12345678') });
  });

  it('sends no more than the windows allow, and the rest when they grow', () => {
    const connection = started().send(setting(4, 10), call(1, Buffer.alloc(95)), call(3, Buffer.alloc(5)));
    expect(answers(connection)).toEqual([
      'SETTINGS 0 0 1',
      'HEADERS 1 20 4',
      'DATA 1 10 0',
      'HEADERS 3 20 4',
      'DATA 3 10 0',
      'HEADERS 3 15 5',
    ]);
    expect(answers(connection.send(windowUpdate(1, 20)))).toEqual(['DATA 1 20 0']);
    expect(answers(connection.send(setting(4, 30)))).toEqual(['SETTINGS 0 0 1', 'DATA 1 20 0']);
    // Windows may be less than nothing.
    expect(answers(connection.send(setting(4, 0), windowUpdate(1, 30)))).toEqual(['SETTINGS 0 0 1']);
    expect(answers(connection.send(setting(4, 1_000)))).toEqual([
      'SETTINGS 0 0 1',
      'DATA 1 50 0',
      'HEADERS 1 15 5',
    ]);
  });

  it("keeps to the connection's window, and to the largest frame", () => {
    const large = framed(Buffer.alloc(30_000));
    const asked = (stream: number): readonly Buffer[] => [
      headers(stream),
      data(stream, large.subarray(0, 16_384), 0),
      data(stream, large.subarray(16_384)),
    ];
    const connection = started().send(...asked(1));
    expect(answers(connection).slice(1, 3)).toEqual(['DATA 1 16384 0', 'DATA 1 13621 0']);
    connection.send(...asked(3));
    connection.sent();
    connection.send(...asked(5));
    expect(answers(connection).slice(1)).toEqual(['HEADERS 5 20 4', 'DATA 5 5525 0']);
    connection.send(setting(5, 20_000), windowUpdate(0, 100_000));
    expect(answers(connection)).toEqual([
      'SETTINGS 0 0 1',
      'DATA 5 16384 0',
      'DATA 5 8096 0',
      'HEADERS 5 15 5',
    ]);
  });

  it('gives windows back only for what is whole or dropped', () => {
    const connection = started();
    connection.send(headers(1), data(1, framed(Buffer.alloc(32_768)).subarray(0, 16_384), 0));
    connection.send(data(1, Buffer.alloc(16_384), 0), headers(3), data(3, message, 0));
    expect(answers(connection)).toEqual([]);
    connection.send(reset(1));
    expect(connection.sent()).toMatchObject([
      { type: FrameType.WINDOW_UPDATE, stream: 0, payload: u32(32_768) },
    ]);
    connection.send(headers(3, [], Flag.END_HEADERS | Flag.END_STREAM));
    expect(answers(connection)).toEqual(['HEADERS 3 20 4', 'DATA 3 7 0', 'HEADERS 3 15 5']);
  });

  it('lets the youngest go where requests that are not whole wait for each other', () => {
    const connection = started();
    const part = Buffer.concat([message.subarray(0, 0), framed(Buffer.alloc(32_768)).subarray(0, 10_000)]);
    for (const stream of [1, 3, 5, 7, 9, 11]) connection.send(headers(stream), data(stream, part, 0));
    expect(connection.ends()).toEqual([]);
    connection.send(headers(13), data(13, part.subarray(0, 4_000), 0));
    expect(connection.ends()).toEqual([`RST_STREAM ${ErrorCode.REFUSED_STREAM} of 13`]);
  });

  it('refuses more calls at a time than it promised, and goes on', () => {
    const waiting: ((answer: UnaryAnswer) => void)[] = [];
    const connection = started((_, answer) => waiting.push(answer));
    for (let index = 0; index < 17; index += 1) connection.send(call(1 + 2 * index));
    expect(connection.ends()).toEqual([`RST_STREAM ${ErrorCode.REFUSED_STREAM} of 33`]);
    waiting[0]!({ message: Buffer.alloc(0) });
    connection.sent();
    expect(connection.send(call(35)).ends()).toEqual([]);
    expect(waiting).toHaveLength(17);
  });

  it('counts handlers of calls that were reset', () => {
    const connection = started(silent);
    for (let index = 0; index < 17; index += 1) connection.send(call(1 + 2 * index), reset(1 + 2 * index));
    expect(connection.requests).toHaveLength(16);
    expect(connection.ends()).toEqual([`RST_STREAM ${ErrorCode.REFUSED_STREAM} of 33`]);
  });

  it('says that it ends where a request is for another server, and ends after what it took', () => {
    const waiting: ((answer: UnaryAnswer) => void)[] = [];
    const connection = started((_, answer) => waiting.push(answer));
    const elsewhere = CALL.map(([name, value]) => [name, name === ':path' ? '/other' : value] as const);
    connection.send(call(1), headers(3, elsewhere), call(5));
    expect(connection.ends()).toEqual([
      `GOAWAY ${ErrorCode.NO_ERROR} after ${2 ** 31 - 1}`,
      `RST_STREAM ${ErrorCode.REFUSED_STREAM} of 3`,
      `RST_STREAM ${ErrorCode.REFUSED_STREAM} of 5`,
    ]);
    connection.send(data(3, message, 0));
    // What was on its way to the refused stream.
    connection.send(data(3, message));
    waiting[0]!({ message: Buffer.from('x') });
    expect(connection.wire.ended).toBe(true);
    const sent = connection.sent();
    expect(sent.map(({ type }) => type)).toEqual([1, 0, 1, FrameType.GOAWAY]);
    expect(sent.at(-1)?.payload).toEqual(u32(1, ErrorCode.NO_ERROR));
  });

  it('ends when the client says that it goes, after what it asked', () => {
    const waiting: ((answer: UnaryAnswer) => void)[] = [];
    const connection = started((_, answer) => waiting.push(answer));
    connection.send(call(1), frame(FrameType.GOAWAY, 0, 0, u32(0, 0)));
    expect(connection.wire.ended).toBe(false);
    waiting[0]!({ message: Buffer.from('x') });
    expect(connection.wire.ended).toBe(true);
  });

  it('tells the client to stop sending what it refused already', () => {
    const connection = started();
    connection.send(headers(1), data(1, framed(Buffer.alloc(40_000)).subarray(0, 10_000), 0));
    const sent = connection.sent();
    expect(sent[0]?.payload.toString('latin1')).toContain('grpc-status\u00018');
    expect(sent[1]).toMatchObject({ type: FrameType.RST_STREAM, payload: u32(ErrorCode.NO_ERROR) });
    expect(connection.send(data(1, Buffer.alloc(10_000)), call(3)).ends()).toEqual([]);
    expect(connection.requests).toHaveLength(1);
  });

  it('takes the first answer of a handler, and none of a call that is gone', () => {
    const connection = started((_, answer) => {
      answer({ message: Buffer.from('a') });
      answer({ message: Buffer.from('b') });
    });
    expect(answers(connection.send(call(1)))).toHaveLength(3);
    const waiting: ((answer: UnaryAnswer) => void)[] = [];
    const other = started((_, answer) => waiting.push(answer)).send(call(1), reset(1));
    waiting[0]!({ message: Buffer.from('a') });
    expect(answers(other)).toEqual([]);
  });

  it('asks a silent client after 30 s, and gives it up 10 s later', () => {
    const connection = started();
    connection.nowMs = 29_000;
    expect(connection.connection.checkSilence()).toBe(1_000);
    connection.nowMs = 30_000;
    expect(connection.connection.checkSilence()).toBe(10_000);
    expect(answers(connection)).toEqual(['PING 0 8 0']);
    connection.nowMs = 35_000;
    connection.send(frame(FrameType.PING, Flag.ACK, 0, Buffer.alloc(8)));
    connection.nowMs = 40_000;
    expect(connection.connection.checkSilence()).toBe(25_000);
    connection.nowMs = 65_000;
    connection.connection.checkSilence();
    connection.nowMs = 75_000;
    expect(connection.connection.checkSilence()).toBe(0);
    expect(connection.wire.destroyed).toBe(true);
  });

  it('is cut where the client does not read what it asks for', () => {
    const connection = started();
    connection.wire.unread = 300_000;
    expect(connection.send(ping).ends()).toEqual(['destroyed']);
  });
});

const without = (name: string): typeof CALL => CALL.filter((field) => field[0] !== name);
const withField = (name: string, value: string): typeof CALL => [...CALL, [name, value]];

describe('a violation ends the stream', () => {
  it.each<[string, number, readonly Buffer[]]>([
    ['no :method', ErrorCode.PROTOCOL_ERROR, [headers(1, without(':method'))]],
    ['no :path', ErrorCode.PROTOCOL_ERROR, [headers(1, without(':path'))]],
    ['no :scheme', ErrorCode.PROTOCOL_ERROR, [headers(1, without(':scheme'))]],
    ['an empty :path', ErrorCode.PROTOCOL_ERROR, [headers(1, [...without(':path'), [':path', '']])]],
    ['two :path', ErrorCode.PROTOCOL_ERROR, [headers(1, [[':path', ECHO], ...CALL])]],
    [
      'a pseudo-header after others',
      ErrorCode.PROTOCOL_ERROR,
      [headers(1, [...without(':path'), [':path', ECHO]])],
    ],
    ['a pseudo-header of answers', ErrorCode.PROTOCOL_ERROR, [headers(1, [[':status', '200'], ...CALL])]],
    ['two :authority', ErrorCode.PROTOCOL_ERROR, [headers(1, [[':authority', 'a'], ...CALL])]],
    ['an uppercase name', ErrorCode.PROTOCOL_ERROR, [headers(1, withField('Accept', 'a'))]],
    ['a name with a space', ErrorCode.PROTOCOL_ERROR, [headers(1, withField('a b', 'a'))]],
    ['a line break in a value', ErrorCode.PROTOCOL_ERROR, [headers(1, withField('a', 'b\nc'))]],
    ['a connection header', ErrorCode.PROTOCOL_ERROR, [headers(1, withField('connection', 'close'))]],
    ['another te', ErrorCode.PROTOCOL_ERROR, [headers(1, [...without('te'), ['te', 'gzip']])]],
    [
      'another length than it said',
      ErrorCode.PROTOCOL_ERROR,
      [headers(1, withField('content-length', '3')), data(1, message)],
    ],
    ['headers that are no trailers', ErrorCode.PROTOCOL_ERROR, [headers(1), headers(1)]],
    [
      'a pseudo-header in trailers',
      ErrorCode.PROTOCOL_ERROR,
      [headers(1), headers(1, [[':path', '/']], Flag.END_HEADERS | Flag.END_STREAM)],
    ],
    ['a window that grows by nothing', ErrorCode.PROTOCOL_ERROR, [headers(1), windowUpdate(1, 0)]],
    ['a window that is too large', ErrorCode.FLOW_CONTROL_ERROR, [headers(1), windowUpdate(1, 2 ** 31 - 1)]],
    ['DATA after the end', ErrorCode.STREAM_CLOSED, [call(1), data(1, message)]],
    [
      'trailers after the end',
      ErrorCode.STREAM_CLOSED,
      [call(1), headers(1, [['a', 'b']], Flag.END_HEADERS | Flag.END_STREAM)],
    ],
  ])('%s', (_, code, frames) => {
    const connection = started(silent).send(...frames);
    expect(connection.ends()).toEqual([`RST_STREAM ${code} of 1`]);
    expect(connection.send(call(3)).ends()).toEqual([]);
    expect(connection.requests.at(-1)?.cancelled()).toBe(false);
    expect(connection.failures).toEqual([]);
  });
});

describe('a violation ends the connection', () => {
  const { PROTOCOL_ERROR, FRAME_SIZE_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, COMPRESSION_ERROR } =
    ErrorCode;
  const { ENHANCE_YOUR_CALM } = ErrorCode;
  const open = headers(1, CALL, 0);
  it.each<[string, number, readonly Buffer[]]>([
    ['a frame that is too large', FRAME_SIZE_ERROR, [frame(FrameType.DATA, 0, 1, Buffer.alloc(16_385))]],
    ['DATA of no stream', PROTOCOL_ERROR, [data(0, message)]],
    ['DATA of a stream that is none', PROTOCOL_ERROR, [data(1, message)]],
    ['HEADERS of no stream', PROTOCOL_ERROR, [headers(0)]],
    ['HEADERS of a server', PROTOCOL_ERROR, [headers(2)]],
    ['a stream again', STREAM_CLOSED, [call(5), headers(5)]],
    ['a lower stream', STREAM_CLOSED, [call(5), headers(3)]],
    ['DATA after the answer', STREAM_CLOSED, [call(1), data(1, message)]],
    [
      'padding longer than DATA',
      PROTOCOL_ERROR,
      [headers(1), data(1, Buffer.from([4, 0, 0, 0]), Flag.PADDED)],
    ],
    ['padding that is not there', FRAME_SIZE_ERROR, [headers(1), data(1, Buffer.alloc(0), Flag.PADDED)]],
    [
      'a priority cut off',
      FRAME_SIZE_ERROR,
      [frame(1, Flag.PRIORITY | Flag.END_HEADERS, 1, Buffer.alloc(4))],
    ],
    ['a frame within headers', PROTOCOL_ERROR, [open, ping]],
    ['headers within headers', PROTOCOL_ERROR, [open, headers(3)]],
    ["another stream's CONTINUATION", PROTOCOL_ERROR, [open, frame(FrameType.CONTINUATION, 4, 3)]],
    ['CONTINUATION of nothing', PROTOCOL_ERROR, [frame(FrameType.CONTINUATION, 4, 1)]],
    ['headers that cannot be read', COMPRESSION_ERROR, [frame(FrameType.HEADERS, 4, 1, Buffer.from([0x80]))]],
    [
      'headers of more than 16 KiB',
      ENHANCE_YOUR_CALM,
      [open, frame(FrameType.CONTINUATION, 0, 1, Buffer.alloc(16_384))],
    ],
    [
      'headers in more than nine frames',
      ENHANCE_YOUR_CALM,
      [open, ...Array.from({ length: 9 }, () => frame(FrameType.CONTINUATION, 0, 1))],
    ],
    ['PRIORITY of no stream', PROTOCOL_ERROR, [frame(FrameType.PRIORITY, 0, 0, Buffer.alloc(5))]],
    ['PRIORITY cut off', FRAME_SIZE_ERROR, [frame(FrameType.PRIORITY, 0, 1, Buffer.alloc(4))]],
    ['RST_STREAM cut off', FRAME_SIZE_ERROR, [frame(FrameType.RST_STREAM, 0, 1, Buffer.alloc(3))]],
    ['RST_STREAM of a stream that is none', PROTOCOL_ERROR, [reset(1)]],
    ['RST_STREAM of no stream', PROTOCOL_ERROR, [reset(0)]],
    ['SETTINGS of a stream', PROTOCOL_ERROR, [frame(FrameType.SETTINGS, 0, 1)]],
    ['SETTINGS cut off', FRAME_SIZE_ERROR, [frame(FrameType.SETTINGS, 0, 0, Buffer.alloc(5))]],
    ['an acknowledgement that says something', FRAME_SIZE_ERROR, [frame(4, 1, 0, Buffer.alloc(6))]],
    ['an acknowledgement too many', PROTOCOL_ERROR, [ACK, ACK]],
    ['ENABLE_PUSH of 2', PROTOCOL_ERROR, [setting(2, 2)]],
    ['INITIAL_WINDOW_SIZE', FLOW_CONTROL_ERROR, [setting(4, 2 ** 31)]],
    ['MAX_FRAME_SIZE too small', PROTOCOL_ERROR, [setting(5, 16_383)]],
    ['MAX_FRAME_SIZE too large', PROTOCOL_ERROR, [setting(5, 2 ** 24)]],
    ['a promise', PROTOCOL_ERROR, [frame(FrameType.PUSH_PROMISE, 4, 1, Buffer.alloc(4))]],
    ['PING of a stream', PROTOCOL_ERROR, [frame(FrameType.PING, 0, 1, Buffer.alloc(8))]],
    ['PING cut off', FRAME_SIZE_ERROR, [frame(FrameType.PING, 0, 0, Buffer.alloc(7))]],
    ['GOAWAY of a stream', PROTOCOL_ERROR, [frame(FrameType.GOAWAY, 0, 1, Buffer.alloc(8))]],
    ['GOAWAY cut off', FRAME_SIZE_ERROR, [frame(FrameType.GOAWAY, 0, 0, Buffer.alloc(7))]],
    ['WINDOW_UPDATE cut off', FRAME_SIZE_ERROR, [frame(FrameType.WINDOW_UPDATE, 0, 0, Buffer.alloc(3))]],
    ['WINDOW_UPDATE by nothing', PROTOCOL_ERROR, [windowUpdate(0, 0)]],
    ['WINDOW_UPDATE of a stream that is none', PROTOCOL_ERROR, [windowUpdate(1, 1)]],
    ["the connection's window too large", FLOW_CONTROL_ERROR, [windowUpdate(0, 2 ** 31 - 1)]],
    [
      'more DATA than the window allows',
      FLOW_CONTROL_ERROR,
      [headers(1), data(1, framed(Buffer.alloc(32_768)).subarray(0, 16_384), 0)].concat(
        [3, 5, 7].flatMap((stream) => [
          headers(stream),
          data(stream, framed(Buffer.alloc(16_384)).subarray(0, 16_384), 0),
        ]),
        [data(1, Buffer.alloc(16_384), 0)],
      ),
    ],
  ])('%s', (_, code, frames) => {
    const connection = started();
    connection.send(...frames);
    const ends = connection.ends().filter((end) => !end.startsWith('RST_STREAM'));
    expect(ends.map((end) => end.replace(/ after \d+/u, ''))).toEqual([`GOAWAY ${code}`, 'end']);
    // Nothing more is heard, and nothing said.
    expect(connection.send(call(99)).sent()).toEqual([]);
    expect(connection.failures).toEqual([]);
  });

  it.each([
    ['another protocol', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['no SETTINGS after the preface', Buffer.concat([START.subarray(0, 24), ping])],
    ['an acknowledgement first', Buffer.concat([START.subarray(0, 24), ACK])],
  ])('%s', (_, bytes) => {
    const connection = new TestConnection().send(bytes);
    expect(connection.ends()).toEqual([`GOAWAY ${PROTOCOL_ERROR} after 0`, 'end']);
  });
});

describe('a flood ends the connection', () => {
  it.each<[string, (index: number) => Buffer]>([
    ['PING', () => ping],
    ['answers to no PING', () => frame(FrameType.PING, Flag.ACK, 0, Buffer.alloc(8))],
    ['SETTINGS', () => SETTINGS],
    ['PRIORITY', () => frame(FrameType.PRIORITY, 0, 1, Buffer.alloc(5))],
    ['frames that mean nothing', () => frame(77, 0, 0)],
    ['WINDOW_UPDATE', () => windowUpdate(0, 1)],
    ['empty DATA', (index) => (index === 0 ? headers(1) : data(1, Buffer.alloc(0), 0))],
    [
      'DATA of nothing but padding',
      (index) => (index === 0 ? headers(1) : data(1, Buffer.from([1, 0]), Flag.PADDED)),
    ],
    ['resets', (index) => Buffer.concat([headers(2 * index + 1), reset(2 * index + 1)])],
    ['resets of calls', (index) => Buffer.concat([call(2 * index + 1), reset(2 * index + 1)])],
    ['malformed requests', (index) => headers(2 * index + 1, without(':method'))],
    ['requests of another kind', (index) => headers(2 * index + 1, without('content-type'))],
    ['calls beyond those promised', (index) => headers(2 * index + 1)],
    [
      'empty CONTINUATION',
      (index) =>
        index % 9 === 0
          ? headers(2 * Math.floor(index / 9) + 1, CALL, 0)
          : frame(
              FrameType.CONTINUATION,
              index % 9 === 8 ? Flag.END_HEADERS : 0,
              2 * Math.floor(index / 9) + 1,
            ),
    ],
  ])('%s', (_, make) => {
    const connection = started(silent);
    let sent = 0;
    for (; sent < 1_500 && !connection.wire.ended; sent += 1) connection.send(make(sent));
    expect(connection.ends().filter((end) => !end.startsWith('RST_STREAM'))).toEqual([
      expect.stringMatching(/^GOAWAY 11 after \d+$/u),
      'end',
    ]);
    // As many as a good client may need.
    expect(sent).toBeGreaterThan(100);
  });

  it('and what good clients do around each call is none', () => {
    const connection = started();
    for (let index = 0; index < 2_000; index += 1) {
      connection.send(
        call(2 * index + 1),
        ping,
        windowUpdate(0, 7),
        frame(FrameType.PING, Flag.ACK, 0, Buffer.alloc(8)),
      );
    }
    expect(connection.ends()).toEqual([]);
    expect(connection.requests).toHaveLength(2_000);
  });

  it('nor what comes slowly', () => {
    const connection = started();
    for (let index = 0; index < 3_000; index += 1) {
      connection.nowMs += 25;
      connection.send(ping);
    }
    expect(connection.ends()).toEqual([]);
  });
});
