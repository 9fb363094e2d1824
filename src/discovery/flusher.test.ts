import { describe, expect, it } from 'vitest';
import { Flusher } from './flusher.ts';

function setUp(
  streams: number,
  viewOf: (stream: number) => object = () => ({}),
): {
  readonly flushed: number[];
  readonly want: (stream: number) => void;
  readonly turn: () => boolean;
} {
  const turns: (() => void)[] = [];
  const flushed: number[] = [];
  const flusher = new Flusher((run) => turns.push(run));
  const all = Array.from({ length: streams }, (_, at) => ({
    view: viewOf(at),
    flush: () => flushed.push(at),
  }));
  return {
    flushed,
    want: (stream) => flusher.want(all[stream]!),
    turn: () => {
      const run = turns.shift();
      run?.();
      return run !== undefined;
    },
  };
}

describe('Flusher', () => {
  it('flushes a stream once, however often it asked before its turn', () => {
    const { flushed, want, turn } = setUp(2);
    for (const stream of [0, 1, 0, 1]) want(stream);
    expect(flushed).toEqual([]);
    expect(turn()).toBe(true);
    expect(flushed).toEqual([0, 1]);
    expect(turn()).toBe(false);
  });

  it('lets others run between the streams of a large push, and forgets none', () => {
    const { flushed, want, turn } = setUp(1_000);
    for (let stream = 0; stream < 1_000; stream += 1) want(stream);
    turn();
    expect(flushed.length).toBeGreaterThan(0);
    expect(flushed.length).toBeLessThan(100);
    want(0);
    want(999);
    while (turn());
    expect(flushed.slice(0, 1_000)).toEqual(Array.from({ length: 1_000 }, (_, at) => at));
    expect(flushed.slice(1_000), 'asked again after its turn').toEqual([0]);
  });

  it.each([30, 31, 32, 33, 63])(
    'flushes the streams of one view in one turn, with %i streams of others before them',
    (others) => {
      const shared = {};
      const { flushed, want, turn } = setUp(others + 2, (stream) => (stream < others ? {} : shared));
      for (let stream = 0; stream < others + 2; stream += 1) want(stream);
      const turns: number[][] = [];
      while (turn()) turns.push(flushed.splice(0));
      expect(turns.flat()).toEqual(Array.from({ length: others + 2 }, (_, at) => at));
      expect(turns.filter((one) => one.includes(others) || one.includes(others + 1))).toHaveLength(1);
    },
  );

  it('flushes a view that has more streams than fit, and then the others', () => {
    const shared = {};
    const { flushed, want, turn } = setUp(41, (stream) => (stream < 40 ? shared : {}));
    for (let stream = 0; stream < 41; stream += 1) want(stream);
    turn();
    expect(flushed).toHaveLength(40);
    turn();
    expect(flushed).toHaveLength(41);
  });

  it('goes on after a stream that asks again while it is flushed', () => {
    const turns: (() => void)[] = [];
    const flusher = new Flusher((run) => turns.push(run));
    let times = 0;
    const stream = {
      view: {},
      flush: (): void => {
        times += 1;
        if (times < 3) flusher.want(stream);
      },
    };
    flusher.want(stream);
    for (let run = turns.shift(); run !== undefined; run = turns.shift()) run();
    expect(times).toBe(3);
  });
});
