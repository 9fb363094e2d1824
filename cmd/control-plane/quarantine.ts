import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import {
  current,
  EMPTY,
  entryAgainst,
  equal,
  merged,
  nextEnd,
  QuarantineError,
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
  #saving: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  private constructor(options: QuarantineOptions, file: string, kept: Ledger | undefined) {
    this.#options = options;
    this.#file = file;
    this.#kept = kept;
    this.#ledger = current(kept ?? EMPTY, options.nowMs());
    this.#rules = rulesFor(this.#ledger);
    options.metrics.quarantine.set(this.#ledger.entries.length);
    this.#schedule();
  }

  /** @throws Error where the file is damaged: whom it named must not be let in */
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

  /** @throws QuarantineError `too-many`, `not-kept` */
  async add(decision: Omit<Entry, 'name' | 'addedAtMs'>): Promise<Entry> {
    const name = `q-${randomBytes(5).toString('hex')}`;
    const entry: Entry = { name, ...decision, addedAtMs: this.#options.nowMs() };
    await this.#change(withEntry(this.#ledger, entry), decision.by);
    return entry;
  }

  /** @throws QuarantineError `entry-unknown`, `not-kept` */
  async remove(name: string, by: string): Promise<void> {
    await this.#change(without(this.#ledger, name, this.#options.nowMs()), by);
  }

  /** Takes over what another replica knows. @param from for the audit log @throws QuarantineError `not-kept` */
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
    const now = current(next, this.#options.nowMs());
    if (!equal(before, now)) {
      this.#ledger = now;
      this.#rules = rulesFor(now);
      this.#tell(before, now, actor);
      for (const listener of this.#listeners) listener();
      this.#schedule();
    }
    await this.#save();
  }

  /** Tries again with the next change, or a minute later. */
  async #save(): Promise<void> {
    const { log, remark } = this.#options;
    const before = this.#saving;
    const turn = (async (): Promise<void> => {
      await before;
      const ledger = this.#ledger;
      if (this.#kept !== undefined && equal(this.#kept, ledger)) return;
      try {
        await writeLedger(this.#file, ledger);
      } catch (cause) {
        const why = reasonOf(cause);
        throw new QuarantineError(
          'not-kept',
          `it is in force here, and lost with a restart: ${this.#file} cannot be written: ${why}; it is tried again every minute`,
          { cause },
        );
      }
      this.#kept = ledger;
      remark(REMARK, undefined);
    })();
    this.#saving = turn.catch((error: unknown) => {
      remark(REMARK, error instanceof Error ? error.message : String(error));
      log.error({ err: error }, 'what was decided about the quarantine is in force until a restart');
      this.#schedule(60_000);
    });
    await turn;
  }

  #schedule(atMostMs: number = LONGEST_TIMER_MS): void {
    clearTimeout(this.#timer);
    const end = nextEnd(this.#ledger);
    if (this.#closed || (end === undefined && atMostMs === LONGEST_TIMER_MS)) return;
    const waitMs = Math.max(0, (end ?? Infinity) - this.#options.nowMs());
    this.#timer = setTimeout(() => this.#look(), Math.min(waitMs, atMostMs)).unref();
  }

  #look(): void {
    this.#change(this.#ledger, 'expiry').catch(() => {}); // Told where it is saved.
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
