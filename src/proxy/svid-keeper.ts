import { renewalTime, type IssuedSvid } from '../authority/index.ts';
import type { IssuanceQueue } from './issuance-queue.ts';

/** Why the SVID is made: the first one, its renewal at half-life, an operator's order, or another root that signs. */
export type IssueReason = 'first' | 'renewal' | 'ordered' | 'rotation';

export interface SvidKeeperOptions {
  readonly nowMs: () => number;
  /** Why nothing can be judged by that clock now: nobody is refused for it, and it is tried again. Undefined: it can. */
  readonly clockFault?: () => string | undefined;
  readonly random: () => number;
  /** Of all keepers: decides who is next. */
  readonly queue: IssuanceQueue;
  /** Makes an SVID. Its errors are passed on to `onError`. */
  readonly issue: () => IssuedSvid;
  /** Proves again that the workload may have one. Undefined: it may. Text: why not. */
  readonly recheck: () => string | undefined;
  readonly onIssued: (svid: IssuedSvid, reason: IssueReason) => void;
  readonly onRefused: (why: string) => void;
  readonly onError: (error: Error) => void;
  /** A new SVID is there without having been asked for: tell the streams. */
  readonly onRenewed: () => void;
}

/** A failed renewal is tried again after this time: often enough, long before the SVID ends. */
const retryMs = 10_000;
/** Longer waits are taken in steps: timers do not see that the clock was set, and this is how soon it is noticed. */
const longestTimerMs = 60_000;

/** Keeps one workload's SVID fresh: made on first use, renewed at half-life after a new proof, dropped when refused. */
export class SvidKeeper {
  readonly #options: SvidKeeperOptions;
  #svid: IssuedSvid | undefined;
  #renewAtMs = 0;
  #timer: NodeJS.Timeout | undefined;
  /** One that was asked for and is not made yet. */
  #ordered = false;
  /** Its renewal was, and no other is due. */
  #refused = false;
  #closed = false;

  constructor(options: SvidKeeperOptions) {
    this.#options = options;
  }

  /**
   * The current SVID; the first call makes it. Undefined where it may not be had, could not be made, or has to wait:
   * the streams are told once it is there.
   */
  current(): IssuedSvid | undefined {
    if (this.#svid === undefined) {
      let waited = false;
      this.#order('first', () => waited);
      waited = true;
    }
    return this.#svid;
  }

  /** Without making one. */
  peek(): IssuedSvid | undefined {
    return this.#svid;
  }

  get renewAtMs(): number {
    return this.#renewAtMs;
  }

  /** Makes a new one now. @returns it, or why there is none */
  renew(reason: 'ordered' | 'rotation' = 'ordered'): IssuedSvid | string {
    const failed = this.#replace(reason);
    if (failed !== undefined || this.#svid === undefined) return failed ?? 'the workload is gone';
    this.#options.onRenewed();
    return this.#svid;
  }

  /** What a renewal was refused for may hold no longer. */
  resume(): void {
    if (!this.#refused) return;
    this.#refused = false;
    this.#schedule();
  }

  /** The clock was set, or time passed that no timer saw. */
  clockMoved(): void {
    if (this.#svid === undefined || this.#refused) return;
    if (this.#options.nowMs() >= this.#renewAtMs) this.#orderDue();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#svid = undefined;
  }

  /** @returns why there is no new one; undefined: there is */
  #replace(reason: IssueReason): string | undefined {
    const fault = this.#options.clockFault?.();
    if (fault !== undefined) return this.#failed(new Error(`Nothing is signed: ${fault}`));
    const why = this.#options.recheck();
    if (why !== undefined) {
      clearTimeout(this.#timer);
      this.#refused = true;
      this.#options.onRefused(why);
      return why;
    }
    this.#refused = false;
    try {
      const svid = this.#options.issue();
      this.#svid = svid;
      this.#renewAtMs = renewalTime(svid, this.#options.random);
      this.#options.onIssued(svid, reason);
    } catch (error) {
      return this.#failed(error instanceof Error ? error : new Error(String(error)));
    }
    this.#schedule();
    return undefined;
  }

  #failed(failure: Error): string {
    this.#renewAtMs = this.#options.nowMs() + retryMs;
    this.#options.onError(failure);
    this.#retry();
    return failure.message;
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    if (this.#closed) return;
    const waitMs = Math.max(0, this.#renewAtMs - this.#options.nowMs());
    this.#timer = setTimeout(() => this.#due(), Math.min(waitMs, longestTimerMs));
    this.#timer.unref();
  }

  /** By no clock that is set: what failed under a wrong one is tried again soon after it is right. */
  #retry(): void {
    clearTimeout(this.#timer);
    if (this.#closed) return;
    this.#timer = setTimeout(() => this.#orderDue(), retryMs);
    this.#timer.unref();
  }

  #due(): void {
    if (this.#options.nowMs() < this.#renewAtMs) this.#schedule();
    else this.#orderDue();
  }

  #orderDue(): void {
    this.#order(this.#svid === undefined ? 'first' : 'renewal', () => true);
  }

  /** @param unasked whether, by the time that it is there, nobody waits for the answer */
  #order(reason: IssueReason, unasked: () => boolean): void {
    if (this.#ordered || this.#closed) return;
    this.#ordered = true;
    const endsMs = this.#svid?.notAfterMs ?? Infinity;
    const run = (): void => {
      this.#ordered = false;
      if (this.#closed) return;
      const before = this.#svid;
      this.#replace(reason);
      if (this.#svid !== before && unasked()) this.#options.onRenewed();
    };
    this.#options.queue.submit({ endsMs, run });
  }
}
