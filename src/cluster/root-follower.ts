import type { Authority } from '../authority/index.ts';
import { Reflector, type ApiServer, type ApiServerError, type Fields } from '../kubernetes/index.ts';
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
}

/**
 * Keeps an authority to what the Secret holds: steps that another replica took are taken over, and nothing is signed
 * while the Secret is gone or is not what it was.
 */
export class RootFollower {
  readonly #options: RootFollowerOptions;
  #last: Promise<void> = Promise.resolve();
  /** What could not be taken. */
  #refused: Fields | undefined;
  #stopped = false;

  constructor(options: RootFollowerOptions) {
    this.#options = options;
  }

  /** Takes what it held last once more: what was missing for that may be there now. */
  again(): void {
    const object = this.#refused;
    if (object !== undefined) this.#inTurn(() => this.#take(object, true));
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
    });
    const inTurn = (act: () => Promise<void> | void): void => this.#inTurn(act);
    const gone = (): void => this.#suspend(`${secret.description} is gone: restore it from a backup`);
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
    this.#refused = undefined;
    try {
      const stored = secret.read(object, listed);
      if (stored === undefined) return;
      const adopted = await authority.follow(stored);
      await secret.keepCopy(stored);
      if (before !== undefined) observer.resumed();
      if (adopted) observer.followed();
    } catch (error) {
      this.#refused = object;
      this.#suspend(error instanceof Error ? error.message : String(error));
    }
  }

  #suspend(why: string): void {
    const { authority, observer } = this.#options;
    if (authority.suspended === why) return;
    authority.suspend(why);
    observer.suspended(why);
  }
}
