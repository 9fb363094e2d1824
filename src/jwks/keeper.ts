import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';
import { systemResolve } from './addresses.ts';
import { JwksError } from './errors.ts';
import { fetchDocument, type Answer } from './fetch.ts';
import type { KeySet } from '../keyset/index.ts';
import { parseKeySet } from './key-set.ts';
import { refreshDelayMs, retryDelayMs, type Schedule } from './schedule.ts';
import { KeyFiles, type KeptKeys } from './store.ts';
import type { After, JwksKeeperOptions, JwksStatus } from './types.ts';

/** One wanted URI. It waits for its time, then for its turn, then for the server. */
interface Entry {
  readonly uri: string;
  timeoutMs: number;
  kept: KeptKeys | undefined;
  failure: JwksStatus['failure'];
  /** Failed fetches in a row. */
  failures: number;
  nextTryMs: number;
  cancelTimer: () => void;
  /** Ends the fetch that is under way. */
  abort: (reason: Error) => void;
}

const timerAfter: After = (delayMs, run) => {
  const timer = setTimeout(run, delayMs).unref();
  return () => clearTimeout(timer);
};
const nothing = (): void => undefined;

/** Keys of token issuers by URI: fetched, kept fresh, and kept as they are while their server gives no good ones. */
export class JwksKeeper {
  readonly #options: JwksKeeperOptions;
  readonly #schedule: Schedule;
  readonly #after: After;
  /** Undefined: the process's own. */
  readonly #secureContext: SecureContext | undefined;
  readonly #files: KeyFiles | undefined;
  /** Of before the start, until the first `want`. */
  #restored: Map<string, KeptKeys>;
  readonly #entries = new Map<string, Entry>();
  readonly #queue = new Set<Entry>();
  readonly #running = new Set<Promise<void>>();
  readonly #listeners = new Set<(uri: string) => void>();
  #closed = false;

  private constructor(
    options: JwksKeeperOptions,
    files: KeyFiles | undefined,
    restored: Map<string, KeptKeys>,
  ) {
    this.#options = options;
    this.#schedule = {
      refreshMs: options.refreshMs ?? 20 * 60_000,
      minRefreshMs: options.minRefreshMs ?? 60_000,
      maxRefreshMs: options.maxRefreshMs ?? 60 * 60_000,
      retryMs: options.retryMs ?? 1_000,
      maxRetryMs: options.maxRetryMs ?? 5 * 60_000,
    };
    this.#after = options.after ?? timerAfter;
    const { trustedCa = [] } = options;
    this.#secureContext =
      trustedCa.length === 0
        ? undefined
        : createSecureContext({ ca: [...getCACertificates('default'), ...trustedCa] });
    this.#files = files;
    this.#restored = restored;
  }

  /** @throws JwksError `store-unusable`, `store-too-open` */
  static async open(options: JwksKeeperOptions): Promise<JwksKeeper> {
    if (options.directory === undefined) return new JwksKeeper(options, undefined, new Map());
    const onError = (error: Error): void => options.observer.notKept(error);
    const { files, kept } = await KeyFiles.open(options.directory, onError);
    return new JwksKeeper(options, files, kept);
  }

  /**
   * The URIs in use from now on. A new one has its keys of before a restart at once, and is fetched. All others are
   * forgotten, with their files: the first call is for when all policies are known.
   * @param uris with the time that one whole fetch may take, ms
   */
  want(uris: ReadonlyMap<string, { readonly timeoutMs: number }>): void {
    if (this.#closed) return;
    for (const [uri, { timeoutMs }] of uris) {
      const known = this.#entries.get(uri);
      if (known === undefined) this.#add(uri, timeoutMs);
      else known.timeoutMs = timeoutMs;
    }
    for (const entry of this.#entries.values()) {
      if (!uris.has(entry.uri)) this.#forget(entry);
    }
    for (const uri of this.#restored.keys()) {
      if (!uris.has(uri)) this.#files?.remove(uri);
    }
    this.#restored = new Map();
    this.#startNext();
  }

  /** The last good keys: a JWKS document in canonical form, public parts only. Undefined: none yet. */
  get(uri: string): string | undefined {
    return this.#entries.get(uri)?.kept?.set.text;
  }

  /**
   * Calls back, synchronously, when a URI's keys are other keys than before, or its first ones.
   * @returns the function that stops it
   */
  onChange(listener: (uri: string) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** In the order of the URIs. */
  status(): readonly JwksStatus[] {
    return [...this.#entries.values()]
      .map(({ uri, kept, failure, nextTryMs }) => ({
        uri,
        keys: kept?.set.keys ?? 0,
        lastGoodAtMs: kept?.fetchedAtMs,
        failure,
        nextTryMs,
      }))
      .sort((a, b) => (a.uri < b.uri ? -1 : 1));
  }

  /** Ends what is under way, and tells nobody anything more. The keys stay in their directory. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#listeners.clear();
    for (const entry of this.#entries.values()) this.#stop(entry);
    this.#entries.clear();
    await Promise.all(this.#running);
    await this.#files?.close();
  }

  #add(uri: string, timeoutMs: number): void {
    const entry: Entry = {
      uri,
      timeoutMs,
      kept: this.#restored.get(uri),
      failure: undefined,
      failures: 0,
      nextTryMs: this.#options.nowMs(),
      cancelTimer: nothing,
      abort: nothing,
    };
    this.#entries.set(uri, entry);
    this.#queue.add(entry);
  }

  #forget(entry: Entry): void {
    this.#stop(entry);
    this.#entries.delete(entry.uri);
    this.#files?.remove(entry.uri);
  }

  #stop(entry: Entry): void {
    entry.cancelTimer();
    this.#queue.delete(entry);
    entry.abort(new Error('no longer wanted'));
  }

  #startNext(): void {
    while (this.#running.size < (this.#options.maxConcurrent ?? 16)) {
      // Whatever fails waits behind what does not: many dead URIs of one namespace must not hold up the others.
      const [entry] = [...this.#queue].sort((a, b) => a.failures - b.failures);
      if (entry === undefined) return;
      this.#queue.delete(entry);
      const running = this.#fetch(entry).finally(() => {
        this.#running.delete(running);
        this.#startNext();
      });
      this.#running.add(running);
    }
  }

  async #fetch(entry: Entry): Promise<void> {
    const controller = new AbortController();
    entry.abort = (reason): void => controller.abort(reason);
    const timeoutMs = Math.min(entry.timeoutMs, this.#options.maxTimeoutMs ?? 60_000);
    const cancelTimeout = this.#after(timeoutMs, () => {
      entry.abort(new JwksError('timeout', `The server's answer was not complete after ${timeoutMs} ms.`));
    });
    try {
      const answer = await fetchDocument(entry.uri, {
        signal: controller.signal,
        maxBytes: this.#options.maxBytes ?? 1_048_576,
        resolve: this.#options.resolve ?? systemResolve,
        allowLoopback: this.#options.allowLoopback ?? false,
        secureContext: this.#secureContext,
      });
      const set = parseKeySet(answer.body);
      if (this.#wants(entry)) this.#succeed(entry, set, answer);
    } catch (error) {
      if (this.#wants(entry)) this.#fail(entry, error);
    } finally {
      cancelTimeout();
      entry.abort = nothing;
    }
  }

  #wants(entry: Entry): boolean {
    return this.#entries.get(entry.uri) === entry;
  }

  #succeed(entry: Entry, set: KeySet, { maxAgeMs }: Answer): void {
    const nowMs = this.#options.nowMs();
    const changed = entry.kept?.set.text !== set.text;
    entry.kept = { set, fetchedAtMs: nowMs };
    entry.failure = undefined;
    entry.failures = 0;
    this.#wait(entry, refreshDelayMs(this.#schedule, maxAgeMs, this.#options.random()));
    this.#files?.save(entry.uri, set.text, nowMs);
    const { keys, secrets, unused } = set;
    this.#options.observer.fetched(entry.uri, { keys, changed, secrets, unused });
    if (changed) this.#tell(entry.uri);
  }

  #fail(entry: Entry, error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    entry.failure = { atMs: this.#options.nowMs(), message };
    entry.failures += 1;
    this.#wait(entry, retryDelayMs(this.#schedule, entry.failures, this.#options.random()));
    const { kept, nextTryMs } = entry;
    this.#options.observer.failed(entry.uri, message, { lastGoodAtMs: kept?.fetchedAtMs, nextTryMs });
  }

  #wait(entry: Entry, delayMs: number): void {
    entry.nextTryMs = this.#options.nowMs() + delayMs;
    entry.cancelTimer = this.#after(delayMs, () => {
      this.#queue.add(entry);
      this.#startNext();
    });
  }

  #tell(uri: string): void {
    for (const listener of this.#listeners) {
      try {
        listener(uri);
      } catch (error) {
        this.#options.observer.listenerFailed(error instanceof Error ? error : new Error(String(error)));
      }
    }
  }
}
