import type { TrustDomain } from '../identity/index.ts';
import { AuthorityError } from './errors.ts';
import { createIntermediate, requestIntermediate, type Intermediate } from './intermediate.ts';
import { MIN_TTL_MS } from './options.ts';
import type { Root } from './root.ts';

/** How signing by an operator's CA goes. */
export interface SigningObserver {
  /** At the start another CA was there than the one that signed last, and signs though who trusts it is not proven. */
  formerGone(signing: string, other: string): void;
  /** The key is away, and no new intermediate can be signed; the present one serves until then, ms since the epoch. */
  failed(error: Error, untilMs: number): void;
  /** It is there again. */
  recovered(): void;
}

export interface IssuingOptions {
  readonly trustDomain: TrustDomain;
  readonly intermediateTtlMs: number;
  readonly nowMs: () => number;
  readonly observer?: SigningObserver | undefined;
}

/** How often a token is asked whether the key is there; and after a failure it is left alone for so long. */
const CHECK_MS = 10_000;

/** The intermediate of one root, always one that is fresh enough. */
export class Issuing {
  readonly root: Root;
  readonly #options: IssuingOptions;
  #intermediate: Intermediate;
  #asked: Promise<void> | undefined;
  #failing = false;
  #checkedAtMs: number;

  private constructor(root: Root, intermediate: Intermediate, options: IssuingOptions) {
    this.root = root;
    this.#intermediate = intermediate;
    this.#options = options;
    this.#checkedAtMs = options.nowMs();
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

  /** When the present intermediate begins and ends, ms since the epoch. */
  get notBeforeMs(): number {
    return this.#intermediate.notBeforeMs;
  }

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

  /** Asks for what is due, though nobody is to be issued anything right now; else whether the key is still there. */
  async lookAfter(nowMs: number): Promise<void> {
    if (this.root.key.privateKey !== undefined) return;
    if (nowMs >= this.#intermediate.replaceAtMs) await this.#ask(nowMs);
    else if (Math.abs(nowMs - this.#checkedAtMs) >= CHECK_MS) {
      await this.#try(nowMs, async () => await this.root.key.check?.());
    }
  }

  async #ask(nowMs: number): Promise<void> {
    if (this.#failing && Math.abs(nowMs - this.#checkedAtMs) < CHECK_MS) return;
    const { trustDomain, intermediateTtlMs } = this.#options;
    await this.#try(nowMs, async () => {
      this.#intermediate = await requestIntermediate(this.root, trustDomain, nowMs, intermediateTtlMs);
    });
  }

  /** One at a time; who comes meanwhile waits for that one. */
  #try(nowMs: number, act: () => Promise<void>): Promise<void> {
    this.#asked ??= this.#tell(nowMs, act).finally(() => {
      this.#asked = undefined;
    });
    return this.#asked;
  }

  async #tell(nowMs: number, act: () => Promise<void>): Promise<void> {
    this.#checkedAtMs = nowMs;
    const { observer } = this.#options;
    try {
      await act();
      if (this.#failing) observer?.recovered();
      this.#failing = false;
    } catch (error) {
      const cause = error instanceof Error ? error : new Error(String(error));
      if (!this.#failing) observer?.failed(cause, this.#intermediate.notAfterMs);
      this.#failing = true;
    }
  }
}

function refuseOutOfTime({ notBeforeMs, notAfterMs, where }: Root, nowMs: number): void {
  if (nowMs >= notBeforeMs && nowMs < notAfterMs - MIN_TTL_MS) return;
  throw new AuthorityError(
    'root-expired',
    `The root in ${where} is valid from ${iso(notBeforeMs)} to ${iso(notAfterMs)}, and it is ${iso(nowMs)}: check the clock; where it is right, begin with another root by countersign recover.`,
  );
}

function iso(atMs: number): string {
  return new Date(atMs).toISOString();
}
