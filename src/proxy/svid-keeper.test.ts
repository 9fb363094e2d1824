import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { IssuedSvid } from '../authority/index.ts';
import { IssuanceQueue } from './issuance-queue.ts';
import { SvidKeeper, type SvidKeeperOptions } from './svid-keeper.ts';

const hour = 3_600_000;
const onWaited = (): void => {};

/** Only the times count here; keys and certificates are the authority's tests' matter. */
function svidFrom(serial: number): IssuedSvid {
  const now = Date.now();
  return {
    serial: String(serial),
    notBeforeMs: now - 30_000,
    issuedAtMs: now,
    notAfterMs: now + hour,
  } as unknown as IssuedSvid;
}

function setup(overrides: Partial<SvidKeeperOptions> = {}): { keeper: SvidKeeper; events: string[] } {
  let count = 0;
  const events: string[] = [];
  const keeper = new SvidKeeper({
    nowMs: Date.now,
    random: () => 0.5,
    queue: new IssuanceQueue({ ticks: () => 0, sliceMs: 1, nextTurn: setImmediate, onWaited }),
    issue: () => svidFrom((count += 1)),
    recheck: () => undefined,
    onIssued: (svid, reason) => events.push(`${reason} ${svid.serial}`),
    onRefused: (why) => events.push(`refused: ${why}`),
    onError: (error) => events.push(`error: ${error.message}`),
    onRenewed: () => events.push('renewed'),
    ...overrides,
  });
  return { keeper, events };
}

beforeEach(() => void vi.useFakeTimers({ now: 1_800_000_000_000 }));
afterEach(() => void vi.useRealTimers());

describe('SvidKeeper', () => {
  it('makes nothing before it is asked, then one for all who ask', () => {
    const { keeper, events } = setup();
    expect(keeper.peek()).toBeUndefined();
    expect(keeper.current()).toBe(keeper.current());
    expect(events).toEqual(['first 1']);
  });

  it('tells the streams of one that had to wait, and is asked for it once', () => {
    let nowMs = 0;
    const queue = new IssuanceQueue({ ticks: () => nowMs, sliceMs: 1, nextTurn: setImmediate, onWaited });
    queue.submit({ endsMs: 0, run: () => (nowMs += 1) });
    const { keeper, events } = setup({ queue });
    const closed = setup({ queue });
    expect([keeper.current(), keeper.current(), closed.keeper.current()]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    closed.keeper.close();
    vi.advanceTimersByTime(1);
    expect(events).toEqual(['first 1', 'renewed']);
    expect(keeper.current()?.serial).toBe('1');
    expect(closed.events).toEqual([]);
  });

  it('renews at once what became due while no timer ran, and nothing else', () => {
    const { keeper, events } = setup();
    keeper.clockMoved();
    keeper.current();
    vi.setSystemTime(Date.now() + hour / 4);
    keeper.clockMoved();
    expect(events).toEqual(['first 1']);
    vi.setSystemTime(Date.now() + 5 * hour);
    keeper.clockMoved();
    expect(events).toEqual(['first 1', 'renewal 2', 'renewed']);
    keeper.clockMoved();
    expect(events).toHaveLength(3);
  });

  it('does not renew in one minute what began in one', () => {
    let nowMs = 0;
    const queue = new IssuanceQueue({
      ticks: () => (nowMs += 0.14),
      sliceMs: 5,
      nextTurn: setImmediate,
      onWaited,
    });
    const renewals: number[] = [];
    const onIssued: SvidKeeperOptions['onIssued'] = (_, reason) => {
      if (reason === 'renewal') renewals.push(Math.floor(Date.now() / 60_000));
    };
    for (let at = 0; at < 2_000; at += 1)
      setup({ queue, random: () => ((at * 7_919) % 2_000) / 2_000, onIssued }).keeper.current();
    vi.advanceTimersByTime(hour);
    const byMinute = Map.groupBy(renewals, (minute) => minute);
    expect(renewals.length).toBeGreaterThanOrEqual(2_000);
    expect(Math.max(...[...byMinute.values()].map(({ length }) => length))).toBeLessThan(2_000 / 5);
  });

  it('renews at half-life, and tells the streams', () => {
    const { keeper, events } = setup();
    keeper.current();
    vi.advanceTimersByTime(hour / 2 - 1);
    expect(events).toEqual(['first 1']);
    vi.advanceTimersByTime(1);
    expect(events).toEqual(['first 1', 'renewal 2', 'renewed']);
    vi.advanceTimersByTime(hour / 2);
    expect(keeper.current()?.serial).toBe('3');
  });

  it('spreads renewals over a tenth of the half-life to either side', () => {
    const early = setup({ random: () => 0 }).keeper;
    const late = setup({ random: () => 0.999 }).keeper;
    early.current();
    late.current();
    expect(early.renewAtMs - Date.now()).toBe(0.45 * hour);
    expect(late.renewAtMs - Date.now()).toBeGreaterThan(0.549 * hour);
  });

  it('goes on when what a renewal was refused for holds no longer', () => {
    let why: string | undefined;
    const { keeper, events } = setup({ recheck: () => why });
    keeper.current();
    keeper.resume();
    why = 'in quarantine';
    vi.advanceTimersByTime(hour / 2 + 60_000);
    expect(events.splice(0)).toEqual(['first 1', 'refused: in quarantine']);
    why = undefined;
    vi.advanceTimersByTime(60_000);
    expect(events).toEqual([]);
    keeper.resume();
    vi.advanceTimersByTime(1);
    expect(events).toEqual(['renewal 2', 'renewed']);
  });

  it('asks for a new proof before each SVID, and keeps the old one without renewing it when that fails', () => {
    let gone: string | undefined;
    const { keeper, events } = setup({ recheck: () => gone });
    keeper.current();
    gone = 'the pod is gone';
    vi.advanceTimersByTime(10 * hour);
    expect(events).toEqual(['first 1', 'refused: the pod is gone']);
    expect(keeper.current()?.serial).toBe('1');
  });

  it('makes no first SVID without a proof', () => {
    const { keeper, events } = setup({ recheck: () => 'the token expired' });
    expect(keeper.current()).toBeUndefined();
    expect(events).toEqual(['refused: the token expired']);
  });

  it('tries again after a failure, long before the SVID ends', () => {
    let broken = false;
    let count = 0;
    const { keeper, events } = setup({
      issue: () => {
        if (broken) throw new Error('the key store is away');
        return svidFrom((count += 1));
      },
    });
    keeper.current();
    broken = true;
    vi.advanceTimersByTime(hour / 2 + 15_000);
    expect(events.filter((event) => event.startsWith('error'))).toHaveLength(2);
    broken = false;
    vi.advanceTimersByTime(10_000);
    expect(keeper.current()?.serial).toBe('2');
    expect(events.at(-1)).toBe('renewed');
  });

  it('notices within a minute that its time has come where the clock was set forward', () => {
    const { keeper, events } = setup();
    keeper.current();
    vi.advanceTimersByTime(30_000);
    vi.setSystemTime(Date.now() + 2 * hour);
    vi.advanceTimersByTime(60_000);
    expect(events).toEqual(['first 1', 'renewal 2', 'renewed']);
  });

  it('refuses nobody while the clock is wrong, tries every 10 s, and renews soon after it was set back', () => {
    let fault: string | undefined;
    const { keeper, events } = setup({
      clockFault: () => fault,
      recheck: () => (fault === undefined ? undefined : 'its token has expired'),
    });
    keeper.current();
    fault = 'the clock is ahead';
    vi.setSystemTime(Date.now() + 2 * hour);
    vi.advanceTimersByTime(100_000);
    const errors = events.filter((event) => event === 'error: Nothing is signed: the clock is ahead');
    expect(errors.length).toBeGreaterThan(3);
    expect(errors.length).toBeLessThan(11);
    expect(events).toHaveLength(1 + errors.length);
    fault = undefined;
    vi.setSystemTime(Date.now() - 2 * hour);
    vi.advanceTimersByTime(10_000);
    expect(events.slice(-2)).toEqual(['renewal 2', 'renewed']);
  });

  it('renews on order, and goes on from there', () => {
    const { keeper, events } = setup();
    keeper.current();
    vi.advanceTimersByTime(60_000);
    expect(keeper.renew()).toMatchObject({ serial: '2' });
    expect(events).toEqual(['first 1', 'ordered 2', 'renewed']);
    vi.advanceTimersByTime(hour / 2 - 1);
    expect(keeper.peek()?.serial).toBe('2');
    vi.advanceTimersByTime(1);
    expect(keeper.peek()?.serial).toBe('3');
  });

  it('forgets its SVID when closed, and makes no other', () => {
    const { keeper, events } = setup();
    keeper.current();
    keeper.close();
    vi.advanceTimersByTime(10 * hour);
    expect(keeper.current()).toBeUndefined();
    expect(events).toEqual(['first 1']);
  });
});
