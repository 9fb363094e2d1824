import { ApiServerError } from './errors.ts';

const NEWLINE = 0x0a;

/**
 * Lines of a byte stream, without their newline. What stands after the last newline is no line: a stream may be cut
 * anywhere.
 * @throws ApiServerError TOO_LARGE a line longer than `maxBytes`
 */
export async function* linesOf(
  stream: AsyncIterable<Buffer>,
  maxBytes: number,
): AsyncGenerator<string, void, undefined> {
  let parts: Buffer[] = [];
  let held = 0;
  for await (const chunk of stream) {
    let from = 0;
    for (let at = chunk.indexOf(NEWLINE); at !== -1; at = chunk.indexOf(NEWLINE, from)) {
      parts.push(chunk.subarray(from, at));
      const line = Buffer.concat(parts).toString('utf8');
      parts = [];
      held = 0;
      from = at + 1;
      if (line !== '') yield line;
    }
    const rest = chunk.subarray(from);
    held += rest.length;
    if (held > maxBytes) {
      throw new ApiServerError('TOO_LARGE', `one event has more than ${maxBytes} bytes`);
    }
    if (rest.length > 0) parts.push(rest);
  }
}

/** All of a byte stream. @throws ApiServerError TOO_LARGE */
export async function textOf(stream: AsyncIterable<Buffer>, maxBytes: number): Promise<string> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    size += chunk.length;
    if (size > maxBytes) {
      throw new ApiServerError('TOO_LARGE', `the answer has more than ${maxBytes} bytes`);
    }
    parts.push(chunk);
  }
  return Buffer.concat(parts).toString('utf8');
}
