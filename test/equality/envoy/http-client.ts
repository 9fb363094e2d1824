import http2 from 'node:http2';
import type net from 'node:net';
import { withTokens } from '../authenticated.ts';
import type { Asked } from '../case.ts';
import { ANSWER_HEADER, NUMBER_HEADER } from './authorizers.ts';
import { SET_HEADER } from './files.ts';
import { metadataHeaders } from './metadata.ts';
import { token, TOKEN_HEADER } from './tokens.ts';

/** Which policy set is to judge, and the name of the request in the access log. */
export interface Ticket {
  readonly set: string;
  readonly number: string;
}

/** A connection that takes one request after the other. */
export interface HttpLine {
  /** undefined: the connection ended without an answer. */
  readonly ask: (asked: Asked, ticket: Ticket) => Promise<number | undefined>;
  readonly usable: () => boolean;
  readonly close: () => void;
}

/** What is sent besides the pseudo headers. */
function headersOf(asked: Asked, { set, number }: Ticket): (readonly [string, string])[] {
  return [
    [SET_HEADER, set],
    [NUMBER_HEADER, number],
    ...withTokens(asked).headers,
    ...metadataHeaders(asked),
    ...(asked.authorizer === undefined ? [] : [[ANSWER_HEADER, asked.authorizer] as const]),
    ...(asked.claims === undefined ? [] : [[TOKEN_HEADER, token(asked.claims)] as const]),
    ...(asked.forwardedFor === undefined ? [] : [['x-forwarded-for', asked.forwardedFor] as const]),
  ];
}

/** HTTP/1.1 written by hand: no library changes what is tried. */
export function http1Line(socket: net.Socket): HttpLine {
  let received = '';
  let waiting: ((status: number | undefined) => void) | undefined;
  let ended = false;
  let bodiless = false;
  const settle = (status: number | undefined): void => {
    const resolve = waiting;
    waiting = undefined;
    resolve?.(status);
  };
  socket.setEncoding('latin1');
  socket.on('data', (text: string) => {
    received += text;
    const head = received.indexOf('\r\n\r\n');
    if (head < 0) return;
    const parsed = readHead(received.slice(0, head));
    const end = head + 4 + (bodiless ? 0 : parsed.length);
    if (received.length < end) return;
    received = received.slice(end);
    if (parsed.closes) ended = true;
    settle(parsed.status);
  });
  const finish = (): void => {
    ended = true;
    settle(undefined);
  };
  socket.once('close', finish);
  socket.once('error', finish);
  return {
    ask: async (asked, ticket) =>
      await new Promise((resolve) => {
        waiting = resolve;
        bodiless = asked.method === 'HEAD';
        const lines = headersOf(asked, ticket).map(([name, value]) => `${name}: ${value}\r\n`);
        const text = `${asked.method} ${withTokens(asked).path} HTTP/1.1\r\nHost: ${asked.host}\r\n${lines.join('')}\r\n`;
        socket.write(Buffer.from(text, 'utf8'));
      }),
    usable: () => !ended,
    close: () => socket.destroy(),
  };
}

function readHead(head: string): { status: number; length: number; closes: boolean } {
  const [first = '', ...lines] = head.split('\r\n');
  let length = 0;
  let closes = false;
  for (const line of lines) {
    const colon = line.indexOf(':');
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    if (name === 'content-length') length = Number(value);
    if (name === 'connection' && value === 'close') closes = true;
  }
  return { status: Number(first.slice(9, 12)), length, closes };
}

/** HTTP/2, which knows methods that HTTP/1.1's reader refuses. */
export function http2Line(socket: net.Socket): HttpLine {
  const session = http2.connect('https://equality', {
    createConnection: () => socket,
    strictSingleValueFields: false,
  } as http2.SecureClientSessionOptions);
  let ended = false;
  const finish = (): void => {
    ended = true;
  };
  session.once('close', finish);
  session.once('goaway', finish);
  session.on('error', finish);
  return {
    ask: async (asked, ticket) =>
      await new Promise((resolve) => {
        const headers: Record<string, string | string[]> = {};
        for (const [name, value] of headersOf(asked, ticket)) {
          const key = name.toLowerCase();
          const before = headers[key];
          // Node writes each character as one byte.
          const bytes = Buffer.from(value, 'utf8').toString('latin1');
          headers[key] = before === undefined ? bytes : [before, bytes].flat();
        }
        const stream = session.request({
          ...headers,
          ':method': asked.method,
          ':path': withTokens(asked).path,
          ':authority': asked.host,
          ':scheme': 'https',
        });
        let status: number | undefined;
        stream.once('response', (answer) => {
          status = answer[':status'];
        });
        // A stream that Envoy resets is told by the answer that is missing.
        stream.on('error', () => undefined);
        stream.once('close', () => resolve(status));
        stream.resume();
        stream.end();
      }),
    usable: () => !ended,
    close: () => session.destroy(),
  };
}
