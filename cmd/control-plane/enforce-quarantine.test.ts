import { hash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Authority, memoryKeyStore, type IssuedSvid } from '../../src/authority/index.ts';
import { SpiffeId, TrustDomain } from '../../src/identity/index.ts';
import type { Pod } from '../../src/mesh/index.ts';
import { EMPTY, withEntry, type Ledger, type Subject } from '../../src/quarantine/index.ts';
import { createLogger } from '../../src/telemetry/index.ts';
import { enforceQuarantine, isDenied } from './enforce-quarantine.ts';
import { enforcedHere } from './quarantine-enforcement.ts';
import type { Quarantine } from './quarantine.ts';

const NOW = Date.UTC(2026, 10, 22, 12);
const trustDomain = TrustDomain.parse('cluster.local');
const id = SpiffeId.workload(trustDomain, 'shop', 'web');
const pod: Pod = {
  kind: 'Pod',
  namespace: 'shop',
  name: 'web',
  uid: 'uid-1',
  serviceAccount: 'web',
  nodeName: 'node-1',
  labels: {},
  annotations: {},
  ips: [],
  phase: 'Running',
  terminating: false,
};

let authority: Authority;
/** What the one workload holds. */
let held: IssuedSvid;
let ledger: Ledger;
let changed: () => void;
let stop: () => void;

const proxies = {
  quarantineChanged: (): void => {},
  versionOf: (): undefined => undefined,
  renewOutdated: async (isOutdated: (svid: IssuedSvid) => boolean): Promise<number> => {
    if (isOutdated(held)) held = authority.issue(id);
    return await Promise.resolve(0);
  },
  holding: (isSuch: (svid: IssuedSvid) => boolean) => (isSuch(held) ? [{ id, pod, factors: [] }] : []),
};

function cutOff(subject: Subject): void {
  const entry = { name: 'q-0000000001', subject, reason: 'stolen', by: 'somebody' };
  ledger = withEntry(EMPTY, { ...entry, addedAtMs: NOW, expiresAtMs: undefined });
  changed();
}

function lagging(): readonly string[] {
  return enforcedHere(ledger, proxies, [], Date.now()).lagging;
}

beforeEach(async () => {
  vi.useFakeTimers({ now: NOW, toFake: ['Date', 'setTimeout', 'clearTimeout'] });
  authority = await Authority.open({
    store: memoryKeyStore(),
    trustDomain,
    nowMs: Date.now,
    svidTtlMs: 3_600_000,
  });
  held = authority.issue(id);
  ledger = EMPTY;
  const quarantine = {
    get ledger(): Ledger {
      return ledger;
    },
    onChange: (listener: () => void) => {
      changed = listener;
      return () => {};
    },
  } as unknown as Quarantine;
  stop = enforceQuarantine(quarantine, {
    proxies,
    attestor: { changed: () => {} },
    log: createLogger({ format: 'json', level: 'silent' }),
    nowMs: Date.now,
  });
});
afterEach(() => {
  stop();
  authority.close();
  vi.useRealTimers();
});

describe('whoever holds a certificate that is denied now', () => {
  it.each<[string, () => Subject]>([
    ['by its digest', () => ({ kind: 'certificate', digest: hash('sha256', held.chain[0]!) })],
    ['by its time of issue', () => ({ kind: 'issued-before', atMs: NOW + 1_000 })],
  ])('gets another at once: %s', (_how, subject) => {
    vi.advanceTimersByTime(1_000);
    const before = held;
    cutOff(subject());
    expect(held).not.toBe(before);
    expect(isDenied(ledger, held)).toBe(false);
    expect(lagging()).toEqual([]);
  });

  it('gets one that is not denied where the clock is behind, and lags until then', () => {
    const before = held;
    cutOff({ kind: 'issued-before', atMs: NOW + 25_000 });
    // It would be denied like the one before.
    expect(held).toBe(before);
    expect(lagging()).toEqual([
      'shop/web holds a certificate that is denied: it is renewed when the clock of its replica, which is behind, has reached 2026-11-22T12:00:25.000Z',
    ]);
    vi.advanceTimersByTime(24_999);
    expect(isDenied(ledger, held)).toBe(true);
    vi.advanceTimersByTime(1);
    expect(isDenied(ledger, held)).toBe(false);
    expect(lagging()).toEqual([]);
  });

  it('is not waited for where it is cut off itself', () => {
    cutOff({ kind: 'issued-before', atMs: NOW + 25_000 });
    const both = { name: 'q-0000000002', subject: { kind: 'id', id: id.uri }, reason: 'stolen' } as const;
    ledger = withEntry(ledger, { ...both, by: 'somebody', addedAtMs: NOW, expiresAtMs: undefined });
    expect(lagging()).toEqual([]);
  });
});
