import { TABLE_BYTES } from './dynamic-table.ts';
import { ConnectionError, ErrorCode } from './errors.ts';
import { LARGEST_WINDOW, MAX_FRAME, Setting } from './frames.ts';
import type { Sender } from './sender.ts';

const SETTING_BYTES = 6;
const LARGEST_FRAME = 2 ** 24 - 1;

/**
 * Applies a client's SETTINGS (RFC 9113 section 6.5) to what is sent.
 * @returns by how much the windows of open streams grow, or shrink
 * @throws {ConnectionError} a value that may not be
 */
export function applySettings(sender: Sender, bytes: Buffer, start: number, end: number): number {
  if ((end - start) % SETTING_BYTES !== 0) {
    throw new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, 'SETTINGS of a length that is none');
  }
  const windowBefore = sender.initialWindow;
  for (let at = start; at < end; at += SETTING_BYTES) {
    apply(sender, bytes.readUInt16BE(at), bytes.readUInt32BE(at + 2));
  }
  return sender.initialWindow - windowBefore;
}

function apply(sender: Sender, setting: number, value: number): void {
  switch (setting) {
    case Setting.HEADER_TABLE_SIZE:
      if (value < TABLE_BYTES) sender.shrinkTable();
      break;
    case Setting.ENABLE_PUSH:
      if (value > 1) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'ENABLE_PUSH is 0 or 1');
      break;
    case Setting.INITIAL_WINDOW_SIZE:
      if (value > LARGEST_WINDOW) {
        throw new ConnectionError(
          ErrorCode.FLOW_CONTROL_ERROR,
          'INITIAL_WINDOW_SIZE is larger than it may be',
        );
      }
      sender.initialWindow = value;
      break;
    case Setting.MAX_FRAME_SIZE:
      if (value < MAX_FRAME || value > LARGEST_FRAME) {
        throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'MAX_FRAME_SIZE is not between its bounds');
      }
      // What is sent is never larger than the least of them.
      break;
    default:
  }
}
