import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import {
  current,
  EMPTY,
  entryAgainst,
  equal,
  merged,
  nextEnd,
  rulesFor,
  rulesOfSuspect,
  subjectInWords,
  withEntry,
  without,
  type Entry,
  type Ledger,
  type Suspect,
} from '../../src/quarantine/index.ts';
import type { QuarantineRule } from '../../src/policy/index.ts';
import { reasonOf } from './data-dir.ts';
import { readLedger, writeLedger } from './quarantine-file.ts';
import type { Tell } from './home.ts';
import type { Witnesses } from './observers.ts';

/** What `/readyz` says while a decision is in force and not kept. */
const REMARK = 'quarantine';
/** Nobody can tell whether something has ended: asked again after this. */
const CLOCK_RETRY_MS = 10_000;
/** setTimeout's limit is 2^31 - 1 ms; a longer wait is taken in steps. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export interface QuarantineOptions extends Witnesses {
  readonly dataDir: string;
  readonly nowMs: () => number;
  readonly remark: Tell['remark'];
}

/**
 * Who is in quarantine, on this replica. A decision is in force before it is written down, and written down before
 * whoever decided is told; the other replicas' decisions come by way of `follow`.
 */
export class Quarantine {
  readonly #options: QuarantineOptions;
  readonly #file: string;
  readonly #listeners = new Set<() => void>();
  #ledger: Ledger;
  #rules: readonly QuarantineRule[];
  /** What the file holds; undefined: there is none. */
  #kept: Ledger | undefined;
  #unkept: string | undefined;
  /** Until somebody says better: nothing that was kept is dropped by a clock that may be wrong. */
  #endingMs: () => number | undefined = () => undefined;
  #saving: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  private constructor(options: QuarantineOptions, file: string, kept: Ledger | undefined) {
    this.#options = options;
    this.#file = file;
    this.#kept = kept;
    this.#ledger = kept ?? EMPTY;
    this.#rules = rulesFor(this.#ledger);
    options.metrics.quarantine.set(this.#ledger.entries.length);
  }

  /** Nothing ends before `useClock`. @throws Error where the file is damaged: whom it named must not be let in */
  static async open(options: QuarantineOptions): Promise<Quarantine> {
    const file = join(options.dataDir, 'quarantine.json');
    return new Quarantine(options, file, await readLedger(file));
  }

  /** As it is in force. */
  get ledger(): Ledger {
    return this.#ledger;
  }

  /** Whether an earlier run of this replica wrote it down. */
  get isKept(): boolean {
    return this.#kept !== undefined;
  }

  /** Why what is in force may be lost with a restart, for people; undefined: it is written down. */
  get unkept(): string | undefined {
    return this.#unkept;
  }

  /** From now on entries end by it. @param endingMs ms since the epoch; undefined while nobody can tell */
  useClock(endingMs: () => number | undefined): void {
    this.#endingMs = endingMs;
    // Where nothing has ended there is nothing to write either: see `isKept`.
    if (this.current(this.#ledger) === this.#ledger) this.#schedule();
    else this.#look();
  }

  /** Without what has ended. */
  current(ledger: Ledger): Ledger {
    const nowMs = this.#endingMs();
    return nowMs === undefined ? ledger : current(ledger, nowMs);
  }

  entryAgainst(suspect: Suspect): Entry | undefined {
    return entryAgainst(this.#ledger, suspect);
  }

  /** Whom a workload denies. The same list for all that are not in quarantine themselves. */
  rulesOf(suspect: Suspect): readonly QuarantineRule[] {
    const entry = this.entryAgainst(suspect);
    return entry === undefined ? this.#rules : rulesOfSuspect(entry);
  }

  /** Calls back, synchronously, after each change. @returns stops it */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Resolves when it is written down, or `unkept` says why it is not. @throws QuarantineError `too-many` */
  async add(decision: Omit<Entry, 'name' | 'addedAtMs'>): Promise<Entry> {
    const name = `q-${randomBytes(5).toString('hex')}`;
    const entry: Entry = { name, ...decision, addedAtMs: this.#options.nowMs() };
    await this.#change(withEntry(this.#ledger, entry), decision.by);
    return entry;
  }

  /** As `add`. @throws QuarantineError `entry-unknown` */
  async remove(name: string, by: string): Promise<void> {
    await this.#change(without(this.#ledger, name, this.#options.nowMs()), by);
  }

  /** Takes over what another replica knows. @param from for the audit log */
  async follow(other: Ledger, from: string): Promise<void> {
    await this.#change(merged(this.#ledger, other), from);
  }

  close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#listeners.clear();
    return this.#saving;
  }

  async #change(next: Ledger, actor: string): Promise<void> {
    const before = this.#ledger;
    const now = this.current(next);
    if (!equal(before, now)) {
      this.#ledger = now;
      this.#rules = rulesFor(now);
      this.#tell(before, now, actor);
      for (const listener of this.#listeners) listener();
      this.#schedule();
    }
    await this.#save();
  }

  /** Never rejects: see `unkept`. Tries again with the next change, or a minute later. */
  async #save(): Promise<void> {
    const before = this.#saving;
    this.#saving = (async (): Promise<void> => {
      await before;
      const { log, remark } = this.#options;
      const ledger = this.#ledger;
      if (this.#kept !== undefined && equal(this.#kept, ledger)) return;
      try {
        await writeLedger(this.#file, ledger);
        this.#kept = ledger;
        this.#unkept = undefined;
      } catch (error) {
        this.#unkept = `what was decided is in force, and lost with a restart of a control plane that no other replica can tell: ${this.#file} cannot be written: ${reasonOf(error)}; it is tried again every minute`;
        log.error({ err: error }, 'what was decided about the quarantine is in force until a restart');
        this.#schedule(60_000);
      }
      remark(REMARK, this.#unkept);
    })();
    await this.#saving;
  }

  #schedule(atMostMs: number = LONGEST_TIMER_MS): void {
    clearTimeout(this.#timer);
    const end = nextEnd(this.#ledger);
    if (this.#closed || (end === undefined && atMostMs === LONGEST_TIMER_MS)) return;
    const nowMs = this.#endingMs();
    const waitMs = nowMs === undefined ? CLOCK_RETRY_MS : Math.max(0, (end ?? Infinity) - nowMs);
    this.#timer = setTimeout(() => this.#look(), Math.min(waitMs, atMostMs)).unref();
  }

  #look(): void {
    void this.#change(this.#ledger, 'expiry');
    this.#schedule();
  }

  #tell(before: Ledger, after: Ledger, actor: string): void {
    const { audit, log, metrics } = this.#options;
    metrics.quarantine.set(after.entries.length);
    const tell = (change: 'added' | 'removed' | 'expired', entry: Entry): void => {
      const subject = subjectInWords(entry.subject);
      const { name, reason, expiresAtMs } = entry;
      const expires = expiresAtMs === undefined ? 'never' : new Date(expiresAtMs).toISOString();
      audit.record({ event: 'quarantine.changed', actor, change, entry: name, subject, reason, expires });
      log.warn({ actor, entry: name, subject, expires }, `quarantine ${change}: ${reason}`);
    };
    const has = ({ entries }: Ledger, { name }: Entry): boolean => entries.some((each) => each.name === name);
    for (const entry of after.entries) if (!has(before, entry)) tell('added', entry);
    for (const entry of before.entries) {
      if (has(after, entry)) continue;
      const removed = after.removals.some(({ name }) => name === entry.name);
      tell(removed ? 'removed' : 'expired', entry);
    }
  }
}
