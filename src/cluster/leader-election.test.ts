import { describe, expect, it } from 'vitest';
import { waitFor } from '../../test/harness/wait.ts';
import { LeaderElection, type ElectionTimes } from './leader-election.ts';
import type { Lease, LeaseClaim } from './lease.ts';

/** The API server's part, with its optimistic locking; each replica can be cut off from it. */
class Shelf {
  lease: Lease | undefined;
  #version = 0;

  door(cut: () => boolean): { read: () => Promise<Lease | undefined>; write: Door['write'] } {
    return {
      read: async () => {
        if (cut()) throw new Error('unreachable');
        return this.lease;
      },
      write: async (known, claim) => {
        if (cut()) throw new Error('unreachable');
        if (known?.resourceVersion !== this.lease?.resourceVersion) return undefined;
        this.#version += 1;
        this.lease = {
          resourceVersion: String(this.#version),
          holder: claim.holder,
          durationMs: claim.durationMs,
          renewTime: String(claim.renewedAtMs),
          transitions: claim.transitions,
        };
        return this.lease;
      },
    };
  }
}

interface Door {
  readonly write: (known: Lease | undefined, claim: LeaseClaim) => Promise<Lease | undefined>;
}

/** A hundredth of the real ones. */
const times: ElectionTimes = { leaseMs: 150, renewMs: 100, retryMs: 20 };

interface Replica {
  readonly name: string;
  readonly election: LeaderElection;
  readonly events: string[];
  cut: boolean;
  term: AbortSignal | undefined;
  stop(): Promise<void>;
}

function replica(shelf: Shelf, name: string, wallMs: () => number = Date.now): Replica {
  const abort = new AbortController();
  const events: string[] = [];
  let done: Promise<void> | undefined;
  const self: Replica = {
    name,
    events,
    cut: false,
    term: undefined,
    election: new LeaderElection({
      lease: shelf.door(() => self.cut),
      identity: name,
      wallMs,
      monotonicMs: () => performance.now(),
      random: () => 0.5,
      times,
      onElected: (term) => {
        self.term = term;
        events.push('elected');
      },
      onLost: (why) => events.push(`lost: ${why}`),
      onLeader: (who) => events.push(`leader ${who}`),
      onFailing: (error) => events.push(`failing: ${String(error)}`),
    }),
    stop: async () => {
      abort.abort();
      await done;
    },
  };
  done = self.election.run(abort.signal);
  return self;
}

async function until(condition: () => boolean): Promise<void> {
  await waitFor('the election', () => (condition() ? true : undefined), { timeoutMs: 10_000, everyMs: 5 });
}

describe('the election', () => {
  it('makes one of several the leader, and the next when it stops', async () => {
    const shelf = new Shelf();
    const all = ['a', 'b', 'c'].map((name) => replica(shelf, name));
    await until(() => all.some(({ election }) => election.leading));
    const first = all.find(({ election }) => election.leading)!;
    const others = all.filter((one) => one !== first);
    await until(() => others.every(({ events }) => events.includes(`leader ${first.name}`)));
    expect(others.some(({ election }) => election.leading)).toBe(false);

    await first.stop();
    expect(first.term?.aborted).toBe(true);
    await until(() => others.some(({ election }) => election.leading));
    expect(all.filter(({ election }) => election.leading)).toHaveLength(1);
    expect(shelf.lease?.transitions).toBeGreaterThan(0);
    await Promise.all(others.map((one) => one.stop()));
    expect(shelf.lease?.holder).toBe('');
  });

  it('of one that is cut off ends before another may begin', async () => {
    const shelf = new Shelf();
    const a = replica(shelf, 'a');
    await until(() => a.election.leading);
    const b = replica(shelf, 'b');
    let both = false;
    const watch = setInterval(() => {
      both ||= a.election.leading && b.election.leading;
    }, 1);
    a.cut = true;
    await until(() => b.election.leading);
    clearInterval(watch);
    expect(both).toBe(false);
    expect(a.term?.aborted).toBe(true);
    expect(a.events.filter((event) => event.startsWith('failing'))).toHaveLength(1);
    a.cut = false;
    await until(() => a.events.includes('leader b'));
    await Promise.all([a.stop(), b.stop()]);
  });

  it('believes no clock but its own', async () => {
    const shelf = new Shelf();
    const a = replica(shelf, 'a', () => 0);
    await until(() => a.election.leading);
    // To whom the lease of `a` ended decades ago.
    const b = replica(shelf, 'b', () => Date.now() + 1e12);
    await until(() => b.events.includes('leader a'));
    await new Promise((resolve) => setTimeout(resolve, 3 * times.leaseMs));
    expect([a.election.leading, b.election.leading]).toEqual([true, false]);
    await Promise.all([a.stop(), b.stop()]);
  });

  it('is lost when somebody else writes the Lease', async () => {
    const shelf = new Shelf();
    const a = replica(shelf, 'a');
    await until(() => a.election.leading);
    const lease = shelf.lease!;
    shelf.lease = { ...lease, holder: 'intruder', resourceVersion: 'x' };
    await until(() => !a.election.leading);
    expect(a.events).toContain('lost: intruder holds the Lease');
    await a.stop();
  });
});
