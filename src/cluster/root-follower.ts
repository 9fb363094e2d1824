import { AuthorityError, type Authority } from '../authority/index.ts';
import { BackOff, Reflector, type ApiServer, type ApiServerError, type Fields } from '../kubernetes/index.ts';
import type { RootSecret } from './root-secret.ts';

export interface RootObserver {
  /** Another replica's step was taken over. */
  followed(): void;
  suspended(why: string): void;
  resumed(): void;
  /** The Secret cannot be followed; it is tried again. */
  failed(error: ApiServerError): void;
  recovered(): void;
}

export interface RootFollowerOptions {
  readonly api: ApiServer;
  readonly secret: RootSecret;
  readonly authority: Pick<Authority, 'follow' | 'suspend' | 'suspended'>;
  readonly observer: RootObserver;
  readonly random: () => number;
  readonly monotonicMs: () => number;
  /** Between two tries at what may be taken later though the Secret stays as it is. Milliseconds. */
  readonly retry?: { readonly firstMs: number; readonly mostMs: number };
}

const RETRY = { firstMs: 500, mostMs: 10_000 };
/** What stays so until the Secret is another one, or a CA is at hand, which `again` says. An expiry may be the clock's fault. */
const SETTLED = /^(?:root-(?!expired$)|store-|ca-)/u;

/**
 * Keeps an authority to what the Secret holds: steps that another replica took are taken over, and nothing is signed
 * while the Secret is gone or is not what it was.
 */
export class RootFollower {
  readonly #options: RootFollowerOptions;
  #last: Promise<void> = Promise.resolve();
  /** What could not be taken. */
  #refused: Fields | undefined;
  readonly #backOff: BackOff;
  #retrying: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: RootFollowerOptions) {
    const { random, retry = RETRY } = options;
    this.#options = options;
    this.#backOff = new BackOff({ random, ...retry });
  }

  /** Takes what it held last once more: what was missing for that may be there now. */
  again(): void {
    // Looked at when its turn comes: what the Secret said meanwhile counts.
    this.#inTurn(() => (this.#refused === undefined ? undefined : this.#take(this.#refused, true)));
  }

  #inTurn(act: () => Promise<void> | void): void {
    const before = this.#last;
    this.#last = (async (): Promise<void> => {
      await before;
      if (!this.#stopped) await act();
    })();
  }

  /** Until `signal` is aborted. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { api, secret, random, monotonicMs, observer } = this.#options;
    signal.addEventListener('abort', () => {
      this.#stopped = true;
      clearTimeout(this.#retrying);
    });
    const inTurn = (act: () => Promise<void> | void): void => this.#inTurn(act);
    const gone = (): void => {
      this.#settle();
      this.#suspend(`${secret.description} is gone: restore it from a backup`);
    };
    const reflector = new Reflector<Fields>({
      api,
      path: secret.collection,
      fieldSelector: secret.selector,
      read: (object) => object,
      random,
      nowMs: monotonicMs,
      sink: {
        replaced: ([object]) => inTurn(object === undefined ? gone : () => this.#take(object, true)),
        set: (object) => inTurn(() => this.#take(object, false)),
        deleted: () => inTurn(gone),
        // Every API server serves Secrets: one that does not says nothing about ours.
        absent: () => {},
        failed: (error) => observer.failed(error),
        recovered: () => observer.recovered(),
      },
    });
    await reflector.run(signal);
    await this.#last;
  }

  async #take(object: Fields, listed: boolean): Promise<void> {
    const { secret, authority, observer } = this.#options;
    const before = authority.suspended;
    try {
      const stored = secret.read(object, listed);
      if (stored === undefined) return;
      const adopted = await authority.follow(stored);
      this.#settle();
      await secret.keepCopy(stored);
      if (before !== undefined) observer.resumed();
      if (adopted) observer.followed();
    } catch (error) {
      this.#refused = object;
      this.#suspend(error instanceof Error ? error.message : String(error));
      if (!(error instanceof AuthorityError) || !SETTLED.test(error.code)) this.#retry();
    }
  }

  /** Nothing waits to be taken. */
  #settle(): void {
    this.#refused = undefined;
    this.#backOff.reset();
    clearTimeout(this.#retrying);
  }

  #retry(): void {
    clearTimeout(this.#retrying);
    if (!this.#stopped) this.#retrying = setTimeout(() => this.again(), this.#backOff.next()).unref();
  }

  #suspend(why: string): void {
    const { authority, observer } = this.#options;
    if (authority.suspended === why) return;
    authority.suspend(why);
    observer.suspended(why);
  }
}
