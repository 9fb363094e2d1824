import { QuarantineError } from './errors.ts';
import { serializeLedger } from './stored.ts';
import type { Entry, Ledger, Removal, Subject } from './types.ts';

export const EMPTY: Ledger = { entries: [], removals: [] };

/** More are decisions that policies should make. */
export const MAX_ENTRIES = 1_000;
/** As it is kept. A ConfigMap takes 1 MiB; the rest is for what other replicas decide at the same time. */
export const MAX_BYTES: number = 768 * 1_024;
const YEAR_MS = 365 * 24 * 3_600_000;

/** @throws QuarantineError `too-many` */
export function withEntry(ledger: Ledger, entry: Entry): Ledger {
  if (ledger.entries.length >= MAX_ENTRIES) {
    throw new QuarantineError(
      'too-many',
      `there are ${MAX_ENTRIES} entries, which is the most that there may be: remove some, or cut off more by one entry (--node, --issued-before)`,
    );
  }
  const next = merged(ledger, { entries: [entry], removals: [] });
  const bytes = Buffer.byteLength(serializeLedger(next));
  if (bytes > MAX_BYTES) {
    throw new QuarantineError(
      'too-many',
      `with this one, the ${next.entries.length} entries and the names of ${next.removals.length} removed ones would take ${bytes} bytes, and may take ${MAX_BYTES}: give a shorter reason, remove some, or cut off more by one entry (--node, --issued-before)`,
    );
  }
  return next;
}

/** @throws QuarantineError `entry-unknown` */
export function without(ledger: Ledger, name: string, nowMs: number): Ledger {
  const entry = ledger.entries.find((each) => each.name === name);
  if (entry === undefined) {
    const known = ledger.entries.map((each) => each.name);
    throw new QuarantineError(
      'entry-unknown',
      `there is no entry ${JSON.stringify(name.slice(0, 64))} in the quarantine; there are: ${known.slice(0, 20).join(', ') || 'none'}`,
    );
  }
  // From its expiry on everybody drops it anyway.
  const untilMs = Math.max(entry.expiresAtMs ?? nowMs + YEAR_MS, nowMs);
  return merged(ledger, { entries: [], removals: [{ name, untilMs }] });
}

/** What both hold. An entry never changes; one that either has removed is removed. */
export function merged(a: Ledger, b: Ledger): Ledger {
  const removals = new Map<string, Removal>();
  for (const removal of [...a.removals, ...b.removals]) {
    const known = removals.get(removal.name);
    if (known === undefined || known.untilMs < removal.untilMs) removals.set(removal.name, removal);
  }
  const both = [...b.entries, ...a.entries].filter(({ name }) => !removals.has(name));
  const entries = new Map(both.map((entry) => [entry.name, entry]));
  return { entries: sorted(entries), removals: sorted(removals) };
}

/** Without what has ended. */
export function current(ledger: Ledger, nowMs: number): Ledger {
  const entries = ledger.entries.filter(({ expiresAtMs = Infinity }) => expiresAtMs > nowMs);
  const removals = ledger.removals.filter(({ untilMs }) => untilMs > nowMs);
  return entries.length === ledger.entries.length && removals.length === ledger.removals.length
    ? ledger
    : { entries, removals };
}

/** When the next thing ends; undefined: nothing does. */
export function nextEnd({ entries, removals }: Ledger): number | undefined {
  const ends = [
    ...entries.flatMap(({ expiresAtMs }) => expiresAtMs ?? []),
    ...removals.map(({ untilMs }) => untilMs),
  ];
  return ends.length === 0 ? undefined : Math.min(...ends);
}

/** Without entries about a time that the clock is behind: what is issued before it is denied like what it replaces. */
export function reached({ entries, removals }: Ledger, nowMs: number): Ledger {
  return { entries: entries.filter(({ subject }) => !isAhead(subject, nowMs)), removals };
}

/** When the clock reaches the first of those times; undefined: it is behind none. */
export function nextReached({ entries }: Ledger, nowMs: number): number | undefined {
  const times = entries.flatMap(({ subject }) => (isAhead(subject, nowMs) ? subject.atMs : []));
  return times.length === 0 ? undefined : Math.min(...times);
}

function isAhead(subject: Subject, nowMs: number): subject is Subject & { readonly kind: 'issued-before' } {
  return subject.kind === 'issued-before' && subject.atMs > nowMs;
}

export function equal(a: Ledger, b: Ledger): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}

function sorted<T extends { readonly name: string }>(items: ReadonlyMap<string, T>): readonly T[] {
  return [...items.values()].toSorted((a, b) => order(a.name, b.name));
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
