import type { ErrorCode } from './errors.ts';

/** RFC 9113 section 6. */
export const FrameType = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const;

export const Flag = { END_STREAM: 1, ACK: 1, END_HEADERS: 4, PADDED: 8, PRIORITY: 32 } as const;

export const Setting = {
  HEADER_TABLE_SIZE: 1,
  ENABLE_PUSH: 2,
  MAX_CONCURRENT_STREAMS: 3,
  INITIAL_WINDOW_SIZE: 4,
  MAX_FRAME_SIZE: 5,
} as const;

export const PREFACE: Buffer = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');
export const FRAME_HEADER = 9;
/** The largest payload that may be sent to who said nothing of it, and that may be sent to us. */
export const MAX_FRAME = 16_384;
/** Of connections and streams where nothing is said of it. */
export const INITIAL_WINDOW = 65_535;
export const LARGEST_WINDOW: number = 2 ** 31 - 1;

/** Writes a frame's header. @returns where its payload begins */
export function writeHeader(
  into: Buffer,
  at: number,
  length: number,
  type: number,
  flags: number,
  stream: number,
): number {
  into[at] = length >>> 16;
  into[at + 1] = length >>> 8;
  into[at + 2] = length;
  into[at + 3] = type;
  into[at + 4] = flags;
  into.writeUInt32BE(stream, at + 5);
  return at + FRAME_HEADER;
}

function frame(type: number, flags: number, stream: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(FRAME_HEADER + length);
  writeHeader(bytes, 0, length, type, flags, stream);
  return bytes;
}

/** A SETTINGS that says one thing. */
export function settingsFrame(setting: number, value: number): Buffer {
  const bytes = frame(FrameType.SETTINGS, 0, 0, 6);
  bytes.writeUInt16BE(setting, FRAME_HEADER);
  bytes.writeUInt32BE(value, FRAME_HEADER + 2);
  return bytes;
}

export const SETTINGS_ACK: Buffer = frame(FrameType.SETTINGS, Flag.ACK, 0, 0);

/** @param opaque its eight bytes */
export function pingFrame(flags: number, opaque: Uint8Array): Buffer {
  const bytes = frame(FrameType.PING, flags, 0, 8);
  bytes.set(opaque, FRAME_HEADER);
  return bytes;
}

export function resetFrame(stream: number, code: ErrorCode): Buffer {
  const bytes = frame(FrameType.RST_STREAM, 0, stream, 4);
  bytes.writeUInt32BE(code, FRAME_HEADER);
  return bytes;
}

export function windowUpdateFrame(stream: number, increment: number): Buffer {
  const bytes = frame(FrameType.WINDOW_UPDATE, 0, stream, 4);
  bytes.writeUInt32BE(increment, FRAME_HEADER);
  return bytes;
}

export function goAwayFrame(lastStream: number, code: ErrorCode): Buffer {
  const bytes = frame(FrameType.GOAWAY, 0, 0, 8);
  bytes.writeUInt32BE(lastStream, FRAME_HEADER);
  bytes.writeUInt32BE(code, FRAME_HEADER + 4);
  return bytes;
}
