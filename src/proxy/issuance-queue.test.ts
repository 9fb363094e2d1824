import { expect, it } from 'vitest';
import { IssuanceQueue } from './issuance-queue.ts';

interface Setup {
  readonly queue: IssuanceQueue;
  /** Milliseconds, of those that waited. */
  readonly waits: readonly number[];
  /** Names, in the order in which they ran. */
  readonly ran: string[];
  /** @param endsMs Infinity: a first one */
  readonly order: (name: string, endsMs?: number) => void;
  /** One turn of the event loop. @returns what ran in it */
  readonly turn: () => readonly string[];
}

/** Each order takes 1 ms, and a turn has time for two. */
function setup(): Setup {
  let nowMs = 0;
  let next: (() => void) | undefined;
  const ran: string[] = [];
  const waits: number[] = [];
  const queue = new IssuanceQueue({
    ticks: () => nowMs,
    sliceMs: 2,
    nextTurn: (run) => (next = run),
    onWaited: (ms) => void waits.push(ms),
  });
  const run = (name: string) => (): void => {
    nowMs += 1;
    ran.push(name);
  };
  return {
    queue,
    waits,
    ran,
    order: (name, endsMs = Infinity) => queue.submit({ endsMs, run: run(name) }),
    turn: () => {
      const before = ran.length;
      const due = next;
      next = undefined;
      due?.();
      return ran.slice(before);
    },
  };
}

it('runs what there is time for at once, and rests when there is nothing left', () => {
  const { ran, order, turn } = setup();
  order('a');
  order('b');
  expect(ran).toEqual(['a', 'b']);
  expect(turn()).toEqual([]);
  order('c');
  expect(ran).toEqual(['a', 'b', 'c']);
});

it('has what is too much wait for later turns, first come first served', () => {
  const { queue, waits, order, turn } = setup();
  for (const name of 'abcdefg') order(name);
  expect(queue.size).toBe(5);
  expect(turn()).toEqual(['c', 'd']);
  expect(turn()).toEqual(['e', 'f']);
  order('h');
  expect(turn()).toEqual(['g', 'h']);
  expect(queue.size).toBe(0);
  expect(waits).toEqual([0, 1, 2, 3, 4, 1]);
});

it('lets renewals go first, and of those the one that ends soonest', () => {
  const { order, turn } = setup();
  for (const name of ['now 1', 'now 2', 'new 1', 'new 2']) order(name);
  order('late', 3_000);
  order('soon', 1_000);
  order('middle', 2_000);
  expect(turn()).toEqual(['soon', 'middle']);
  order('new 3');
  order('sooner', 500);
  expect(turn()).toEqual(['sooner', 'late']);
  expect(turn()).toEqual(['new 1', 'new 2']);
  expect(turn()).toEqual(['new 3']);
  expect(turn()).toEqual([]);
});

it('runs one in each turn, however long it takes', () => {
  let nowMs = 0;
  const turns: (() => void)[] = [];
  const queue = new IssuanceQueue({
    ticks: () => nowMs,
    sliceMs: 2,
    nextTurn: (run) => void turns.push(run),
    onWaited: () => {},
  });
  let ran = 0;
  for (let at = 0; at < 3; at += 1)
    queue.submit({
      endsMs: 0,
      run: () => {
        nowMs += 10;
        ran += 1;
      },
    });
  expect(ran).toBe(1);
  turns.shift()?.();
  expect(ran).toBe(2);
  turns.shift()?.();
  expect(ran).toBe(3);
});

it('forgets what waits once it is closed', () => {
  const { queue, ran, order, turn } = setup();
  for (const name of 'abc') order(name);
  queue.close();
  turn();
  expect(ran).toEqual(['a', 'b']);
});
