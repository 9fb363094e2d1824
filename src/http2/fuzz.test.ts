import { describe, expect, it } from 'vitest';
import { FrameType } from './frames.ts';
import {
  block,
  CALL,
  call,
  data,
  ECHO,
  frame,
  framed,
  framesOf,
  headers,
  START,
  TestConnection,
} from './testing.ts';
import { Opening } from './opening.ts';
import type { UnaryAnswer } from './types.ts';

/** Mulberry32: the same numbers in each run. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const update = (stream: number, by: number): Buffer => {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(by);
  return frame(FrameType.WINDOW_UPDATE, 0, stream, payload);
};

/** A valid connection of some calls. */
function valid(random: (below: number) => number): Buffer {
  const parts: Buffer[] = [START];
  const calls = 1 + random(8);
  for (let index = 0; index < calls; index += 1) {
    const stream = 1 + 2 * index;
    const whole = block([...CALL, ['authorization', 'x'.repeat(random(300))]]);
    const body = framed(Buffer.alloc(random(2_000)));
    switch (random(5)) {
      case 0:
        parts.push(call(stream, body));
        break;
      case 1:
        parts.push(
          frame(1, 0, stream, whole.subarray(0, 30)),
          frame(9, 4, stream, whole.subarray(30)),
          data(stream, body),
        );
        break;
      case 2:
        parts.push(
          frame(1, 4, stream, whole),
          data(stream, body.subarray(0, 3), 0),
          data(stream, body.subarray(3)),
        );
        break;
      case 3:
        parts.push(headers(stream), frame(3, 0, stream, Buffer.alloc(4)), frame(6, 0, 0, Buffer.alloc(8)));
        break;
      default:
        parts.push(headers(stream), update(stream, 1 + random(1_000)), update(0, 9), data(stream, body));
    }
  }
  return Buffer.concat(parts);
}

/** Bytes changed, cut out, said twice; whole frames with other headers. */
function mutated(bytes: Buffer, random: (below: number) => number): Buffer {
  let mutant = Buffer.from(bytes);
  for (let times = random(4); times > 0; times -= 1) {
    const at = 24 + random(Math.max(1, mutant.length - 24));
    const length = random(40);
    switch (random(4)) {
      case 0:
        mutant[Math.min(at, mutant.length - 1)] = random(256);
        break;
      case 1:
        mutant = Buffer.concat([mutant.subarray(0, at), mutant.subarray(at + length)]);
        break;
      case 2:
        mutant = Buffer.concat([mutant.subarray(0, at + length), mutant.subarray(at)]);
        break;
      default: {
        const payload = Buffer.from(Array.from({ length }, () => random(256)));
        mutant = Buffer.concat([
          mutant.subarray(0, at),
          frame(random(12), random(256), random(20), payload),
          mutant.subarray(at),
        ]);
      }
    }
  }
  return mutant;
}

describe('whatever a client sends', () => {
  it('ends in answers or in the end of the connection, and in nothing else', () => {
    let answered = 0;
    let ended = 0;
    for (let seed = 1; seed <= 2_000; seed += 1) {
      const random = numbers(seed);
      const mutant = mutated(valid(random), random);
      const waiting: ((answer: UnaryAnswer) => void)[] = [];
      const later = random(2) === 0;
      const connection = new TestConnection(({ message }, answer) => {
        if (later) waiting.push(answer);
        else answer({ message });
      });
      const opening = new Opening((path) => path === ECHO);
      for (let at = 0; at < mutant.length;) {
        const piece = mutant.subarray(at, at + 1 + random(random(3) === 0 ? 20 : 5_000));
        at += piece.length;
        opening.receive(piece);
        connection.connection.receive(piece);
      }
      for (const answer of waiting) answer({ message: Buffer.alloc(random(3_000)) });
      // Written as frames, and whatever was asked is whole.
      const sent = framesOf(Buffer.concat(connection.wire.written));
      answered += sent.filter(({ type }) => type === FrameType.DATA).length;
      if (connection.wire.ended) {
        ended += 1;
        expect(sent.some(({ type }) => type === FrameType.GOAWAY)).toBe(true);
      }
      expect(connection.failures).toEqual([]);
      for (const { message } of connection.requests) expect(message.length).toBeLessThanOrEqual(32_768);
    }
    // Both were seen, so that the mutants are neither all valid nor all broken.
    expect(answered).toBeGreaterThan(2_000);
    expect(ended).toBeGreaterThan(500);
  });
});
