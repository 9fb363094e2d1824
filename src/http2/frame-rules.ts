import { ConnectionError, ErrorCode } from './errors.ts';
import { Flag, FrameType } from './frames.ts';

export function protocolError(message: string): ConnectionError {
  return new ConnectionError(ErrorCode.PROTOCOL_ERROR, message);
}

/**
 * What can be said of a frame by its header alone: whether it is of a stream, and how long it is (RFC 9113 section 6).
 * @throws {ConnectionError} PROTOCOL_ERROR, FRAME_SIZE_ERROR
 */
export function checkFrame(type: number, flags: number, stream: number, length: number): void {
  switch (type) {
    case FrameType.DATA:
      if (stream === 0) throw protocolError('DATA is of a stream');
      break;
    case FrameType.HEADERS:
      if (stream % 2 === 0) throw protocolError('the streams of clients have odd numbers');
      break;
    case FrameType.PRIORITY:
      if (stream === 0) throw protocolError('PRIORITY is of a stream');
      checkSize(length === 5);
      break;
    case FrameType.RST_STREAM:
    case FrameType.WINDOW_UPDATE:
      checkSize(length === 4);
      break;
    case FrameType.SETTINGS:
      if (stream !== 0) throw protocolError('SETTINGS is of no stream');
      checkSize((flags & Flag.ACK) === 0 || length === 0);
      break;
    case FrameType.PUSH_PROMISE:
      throw protocolError('a client promises nothing');
    case FrameType.PING:
      if (stream !== 0) throw protocolError('PING is of no stream');
      checkSize(length === 8);
      break;
    case FrameType.GOAWAY:
      if (stream !== 0) throw protocolError('GOAWAY is of no stream');
      checkSize(length >= 8);
      break;
    default:
  }
}

function checkSize(is: boolean): void {
  if (!is)
    throw new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, 'a frame of a length that its type does not have');
}
