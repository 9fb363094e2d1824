import type { TrustDomain } from '../identity/index.ts';
import { AuthorityError } from './errors.ts';
import { createIntermediate, requestIntermediate, type Intermediate } from './intermediate.ts';
import { MIN_TTL_MS } from './options.ts';
import type { Root } from './root.ts';

/** How signing by a key in a token goes. */
export interface SigningObserver {
  /** No new intermediate could be signed; the present one serves until then, ms since the epoch. */
  failed(error: Error, untilMs: number): void;
  /** One could be signed again. */
  recovered(): void;
}

export interface IssuingOptions {
  readonly trustDomain: TrustDomain;
  readonly intermediateTtlMs: number;
  readonly nowMs: () => number;
  readonly observer?: SigningObserver | undefined;
}

/** After a failure the token is left alone for so long. */
const RETRY_MS = 10_000;

/** The intermediate of one root, always one that is fresh enough. */
export class Issuing {
  readonly root: Root;
  readonly #options: IssuingOptions;
  #intermediate: Intermediate;
  #asking = false;
  #failedAtMs: number | undefined;

  private constructor(root: Root, intermediate: Intermediate, options: IssuingOptions) {
    this.root = root;
    this.#intermediate = intermediate;
    this.#options = options;
  }

  /** @throws AuthorityError `root-expired`, `signer-unavailable` */
  static async open(root: Root, options: IssuingOptions): Promise<Issuing> {
    const { trustDomain, intermediateTtlMs, nowMs } = options;
    refuseOutOfTime(root, nowMs());
    return new Issuing(
      root,
      await requestIntermediate(root, trustDomain, nowMs(), intermediateTtlMs),
      options,
    );
  }

  /** When the present intermediate ends, ms since the epoch. */
  get notAfterMs(): number {
    return this.#intermediate.notAfterMs;
  }

  /**
   * Where the key is in a token, what is due is asked for, and the present one serves meanwhile.
   * @throws AuthorityError `root-expired`, `signer-unavailable`
   */
  current(nowMs: number): Intermediate {
    const present = this.#intermediate;
    // A clock that was set back makes one too: a certificate from the future serves nobody.
    const isValid = nowMs >= present.notBeforeMs && nowMs < present.notAfterMs - MIN_TTL_MS;
    if (isValid && nowMs < present.replaceAtMs) return present;
    refuseOutOfTime(this.root, nowMs);
    const { trustDomain, intermediateTtlMs } = this.#options;
    const fresh = createIntermediate(this.root, trustDomain, nowMs, intermediateTtlMs);
    if (fresh !== undefined) {
      this.#intermediate = fresh;
      return fresh;
    }
    void this.#ask(nowMs);
    if (isValid) return present;
    throw new AuthorityError(
      'signer-unavailable',
      `The last intermediate below the root ended at ${iso(present.notAfterMs)}, and ${this.root.where} has signed no other one: see why in the log, and bring it back.`,
    );
  }

  /** Asks for what is due, though nobody is to be issued anything right now. */
  async renewIfDue(nowMs: number): Promise<void> {
    if (this.root.key.privateKey === undefined && nowMs >= this.#intermediate.replaceAtMs)
      await this.#ask(nowMs);
  }

  async #ask(nowMs: number): Promise<void> {
    if (this.#asking || (this.#failedAtMs !== undefined && nowMs < this.#failedAtMs + RETRY_MS)) return;
    this.#asking = true;
    const { trustDomain, intermediateTtlMs, observer } = this.#options;
    try {
      this.#intermediate = await requestIntermediate(this.root, trustDomain, nowMs, intermediateTtlMs);
      if (this.#failedAtMs !== undefined) observer?.recovered();
      this.#failedAtMs = undefined;
    } catch (error) {
      this.#failedAtMs = nowMs;
      observer?.failed(
        error instanceof Error ? error : new Error(String(error)),
        this.#intermediate.notAfterMs,
      );
    } finally {
      this.#asking = false;
    }
  }
}

function refuseOutOfTime({ notBeforeMs, notAfterMs, where }: Root, nowMs: number): void {
  if (nowMs >= notBeforeMs && nowMs < notAfterMs - MIN_TTL_MS) return;
  throw new AuthorityError(
    'root-expired',
    `The root in ${where} is valid from ${iso(notBeforeMs)} to ${iso(notAfterMs)}, and it is ${iso(nowMs)}: check the clock, or begin with a new root.`,
  );
}

function iso(atMs: number): string {
  return new Date(atMs).toISOString();
}
