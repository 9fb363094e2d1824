import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  current,
  digestOf,
  EMPTY,
  entryAgainst,
  isCutOff,
  MAX_BYTES,
  MAX_ENTRIES,
  merged,
  nextEnd,
  nextReached,
  parseLedger,
  reached,
  rulesFor,
  rulesOfSuspect,
  serializeLedger,
  withEntry,
  without,
  type Entry,
  type Ledger,
  type Subject,
} from './index.ts';

const NOW = Date.UTC(2026, 10, 22, 12);
const HOUR = 3_600_000;
const id = 'spiffe://cluster.local/ns/shop/sa/web';
const pod = { namespace: 'shop', name: 'web-1', uid: 'uid-1' };
const digest = 'ab'.repeat(32);

function entry(
  n: number,
  subject: Subject = { kind: 'id', id },
  expiresAtMs: number | undefined = NOW + HOUR,
): Entry {
  const name = `q-${n.toString(16).padStart(10, '0')}`;
  return { name, subject, reason: 'stolen', by: 'somebody', addedAtMs: NOW, expiresAtMs };
}
const names = ({ entries }: Ledger): string[] => entries.map(({ name }) => name);
const holding = (...entries: readonly Entry[]): Ledger => ({ entries, removals: [] });
const [one, two] = [entry(1), entry(2)] as const;

describe('the ledger', () => {
  it('takes entries, and each of them away by its name', () => {
    const both = withEntry(withEntry(EMPTY, two), one);
    expect(names(both)).toEqual([one.name, two.name]);
    expect(names(without(both, one.name, NOW))).toEqual([two.name]);
    expect(() => without(both, 'q-0000000009', NOW)).toThrowError(/there is no entry "q-0000000009"/u);
  });

  it('remembers a removal until the entry would have ended, so that nobody brings it back', () => {
    const removed = without(holding(one), one.name, NOW);
    expect(names(merged(removed, holding(one, two)))).toEqual([two.name]);
    expect(current(removed, NOW + HOUR - 1).removals).toHaveLength(1);
    expect(current(removed, NOW + HOUR)).toEqual(EMPTY);
    const endless = entry(3, one.subject, undefined);
    const { removals } = without(holding({ ...endless, expiresAtMs: undefined }), endless.name, NOW);
    expect(removals[0]!.untilMs).toBeGreaterThan(NOW + 300 * 24 * HOUR);
  });

  it('drops what has ended, at its last millisecond and not before', () => {
    const ledger = holding(one, entry(2, one.subject, NOW + 2 * HOUR));
    expect(nextEnd(ledger)).toBe(NOW + HOUR);
    expect(names(current(ledger, NOW + HOUR - 1))).toHaveLength(2);
    expect(names(current(ledger, NOW + HOUR))).toEqual([two.name]);
    expect(nextEnd(EMPTY)).toBeUndefined();
    expect(nextEnd(holding({ ...one, expiresAtMs: undefined }))).toBeUndefined();
  });

  it('has a limit', () => {
    const full = holding(...Array.from({ length: MAX_ENTRIES }, (_, at) => entry(at)));
    expect(() => withEntry(full, entry(MAX_ENTRIES))).toThrowError(/which is the most that there may be/u);
  });

  it('fits into a ConfigMap, whatever its reasons say and however many are remembered as removed', () => {
    const wordy = (n: number): Entry => ({ ...entry(n), reason: '\u0928'.repeat(256) });
    let ledger = holding(...Array.from({ length: 700 }, (_, n) => wordy(n)));
    const fill = (): void => {
      for (let n = ledger.entries.length; ; n += 1) ledger = withEntry(ledger, wordy(n));
    };
    expect(fill).toThrowError(/would take \d+ bytes, and may take \d+: give a shorter reason/u);
    const held = ledger.entries.length;
    expect(held).toBeGreaterThan(700);
    expect(held).toBeLessThan(MAX_ENTRIES);
    expect(Buffer.byteLength(serializeLedger(ledger))).toBeLessThanOrEqual(MAX_BYTES);
    const removals = Array.from({ length: 20_000 }, (_, n) => ({ name: entry(n).name, untilMs: NOW + HOUR }));
    expect(() => withEntry({ entries: [], removals }, entry(20_000))).toThrowError(
      /1 entries and the names of 20000 removed ones would take/u,
    );
  });

  it('knows what a clock that is behind has not reached', () => {
    const until = (n: number, atMs: number): Entry => entry(n, { kind: 'issued-before', atMs });
    const ledger = holding(one, until(2, NOW - 1), until(3, NOW + 5), until(4, NOW + 2));
    expect(nextReached(ledger, NOW)).toBe(NOW + 2);
    expect(names(reached(ledger, NOW))).toEqual([one.name, two.name]);
    expect(nextReached(ledger, NOW + 5)).toBeUndefined();
    expect(names(reached(ledger, NOW + 5))).toHaveLength(4);
  });

  it('is the same whoever merges it with whom, in any order and as often as they like', () => {
    const ledgers = fc
      .array(fc.tuple(fc.integer({ min: 0, max: 6 }), fc.boolean()), { maxLength: 8 })
      .map((acts) =>
        acts.reduce<Ledger>((ledger, [n, away]) => {
          const each = entry(n);
          const known = ledger.entries.some(({ name }) => name === each.name);
          if (away) return known ? without(ledger, each.name, NOW) : ledger;
          return withEntry(ledger, each);
        }, EMPTY),
      );
    fc.assert(
      fc.property(ledgers, ledgers, ledgers, (a, b, c) => {
        expect(merged(a, b)).toEqual(merged(b, a));
        expect(merged(merged(a, b), c)).toEqual(merged(a, merged(b, c)));
        expect(merged(a, merged(a, b))).toEqual(merged(a, b));
        expect(merged(a, EMPTY)).toEqual(a);
        expect(parseLedger(serializeLedger(a))).toEqual(a);
      }),
    );
  });
});

describe('what is kept', () => {
  const subjects: readonly Subject[] = [
    { kind: 'id', id },
    { kind: 'pod', pod },
    { kind: 'node', node: 'node-1' },
    { kind: 'certificate', digest },
    { kind: 'issued-before', atMs: NOW },
    { kind: 'issued-before', atMs: NOW, id },
  ];

  it('is read as it was written', () => {
    const ledger = {
      entries: subjects.map((subject, at) => entry(at, subject)),
      removals: [{ name: 'q-00000000ff', untilMs: NOW }],
    };
    expect(parseLedger(serializeLedger(ledger))).toEqual(ledger);
    const endless = holding({ ...one, expiresAtMs: undefined });
    expect(parseLedger(serializeLedger(endless))).toEqual(endless);
  });

  it.each([
    ['', 'it is no JSON'],
    ['[]', 'the whole is no mapping'],
    ['{}', 'its version is undefined'],
    ['{"version":2,"entries":[],"removals":[]}', 'its version is 2'],
    ['{"version":1,"removals":[]}', 'entries is no list'],
    ['{"version":1,"entries":[]}', 'removals is no list'],
    [text({ name: 'x' }), 'an entry has a name that is none'],
    [text({ subject: { kind: 'id', id: 'web' } }), 'an ID is no SPIFFE ID'],
    [text({ subject: { kind: 'somebody' } }), 'an entry is about "somebody"'],
    [text({ subject: { kind: 'pod', pod: { ...pod, uid: 'a,UID=b' } } }), 'a pod has a UID that is none'],
    [text({ subject: { kind: 'issued-before', atMs: 1.5 } }), 'atMs is no time'],
    [text({ expiresAtMs: 'never' }), 'expiresAtMs is no time'],
    [text({ subject: { kind: 'certificate', digest: 'ab' } }), 'is no SHA-256 digest'],
  ])('is refused whole where it is %j', (kept, message) => {
    expect(() => parseLedger(kept)).toThrowError(message);
  });

  function text(deviation: object): string {
    return JSON.stringify({ version: 1, entries: [{ ...one, ...deviation }], removals: [] });
  }

  it('takes digests as tools print them', () => {
    expect(digestOf('AB'.repeat(32))).toBe(digest);
    expect(digestOf(Array.from({ length: 32 }, () => 'AB').join(':'))).toBe(digest);
    expect(() => digestOf('ab'.repeat(31))).toThrowError(/is no SHA-256 digest/u);
  });
});

describe('an entry', () => {
  const web = { id, pod: { ...pod, nodeName: 'node-1' } };

  it.each<[Subject, boolean]>([
    [{ kind: 'id', id }, true],
    [{ kind: 'id', id: `${id}x` }, false],
    [{ kind: 'pod', pod }, true],
    [{ kind: 'pod', pod: { ...pod, uid: 'uid-2' } }, false],
    [{ kind: 'node', node: 'node-1' }, true],
    [{ kind: 'node', node: 'node-2' }, false],
    [{ kind: 'certificate', digest }, false],
    [{ kind: 'issued-before', atMs: NOW }, false],
  ])('%j is against the workload itself: %s', (subject, against) => {
    const made = entry(1, subject);
    expect(entryAgainst(holding(made), web)).toBe(against ? made : undefined);
  });

  it.each<[Subject, boolean]>([
    [{ kind: 'id', id }, false],
    [{ kind: 'certificate', digest }, true],
    [{ kind: 'certificate', digest: 'cd'.repeat(32) }, false],
    [{ kind: 'issued-before', atMs: NOW + 1 }, true],
    [{ kind: 'issued-before', atMs: NOW }, false],
    [{ kind: 'issued-before', atMs: NOW + 1, id }, true],
    [{ kind: 'issued-before', atMs: NOW + 1, id: `${id}x` }, false],
  ])('%j has a certificate replaced: %s', (subject, cutOff) => {
    expect(isCutOff(holding(entry(1, subject)), { id, digest, issuedAtMs: NOW })).toBe(cutOff);
  });

  it('is one rule for every workload, and one that denies all for its own', () => {
    const made = entry(1, { kind: 'pod', pod });
    expect(rulesFor(holding(made))).toEqual([
      { entry: made.name, reason: 'stolen', callers: { kind: 'pod', uid: 'uid-1' } },
    ]);
    expect(rulesOfSuspect(made)).toEqual([
      { entry: made.name, reason: 'stolen', callers: { kind: 'everyone' } },
    ]);
  });
});
