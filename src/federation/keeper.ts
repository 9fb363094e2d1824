import { IdentityError, TrustBundle, TrustDomain } from '../identity/index.ts';
import { refuseSharedKeys, refuseStep } from './accept.ts';
import { FederationError } from './errors.ts';
import { fetchBundle } from './fetch.ts';
import { originOf, readState, writeState, type KeptBundle, type KeptFederation } from './state.ts';
import type { After, FederatedDomain, FederationOptions, FederationStatus } from './types.ts';

/** Where a bundle names no time (SPIFFE_Federation section 4.1). */
const DEFAULT_REFRESH_MS = 5 * 60_000;
/** What a bundle may ask for. */
const MIN_REFRESH_MS = 1_000;
const MAX_REFRESH_MS = 60 * 60_000;
/** The oldest is forgotten: by then its last connection has ended. */
const MAX_FORMER = 256;
/** Until an endpoint has answered for the first time. */
const FIRST_RETRY_MS = 30_000;
const DEFAULT_TIMEOUT_MS = 30_000;

interface Entry {
  readonly domain: FederatedDomain;
  readonly trustDomain: TrustDomain;
  readonly origin: string;
  /** The latest, fetched or to begin with. */
  latest: TrustBundle | undefined;
  fetchedAtMs: number | undefined;
  failure: string | undefined;
  nextTryMs: number;
  cancelTimer: () => void;
  abort: () => void;
}

const timerAfter: After = (delayMs, run) => {
  const timer = setTimeout(run, delayMs).unref();
  return () => clearTimeout(timer);
};
const nothing = (): void => undefined;

/**
 * The bundles of federated trust domains: fetched at the time that each names, kept while there is no newer one,
 * each apart from all others (SPIFFE_Federation sections 4 and 6).
 */
export class FederationKeeper {
  readonly #options: FederationOptions;
  readonly #after: After;
  /** Of before the start, until the first `want`. */
  #restored: ReadonlyMap<string, KeptBundle>;
  readonly #former: Set<string>;
  readonly #entries = new Map<string, Entry>();
  readonly #running = new Set<Promise<void>>();
  readonly #listeners = new Set<() => void>();
  /** See `bundles`: Envoys ask for them often. */
  #inForceNow: { readonly own: TrustBundle; readonly bundles: ReadonlyMap<string, TrustBundle> } | undefined;
  #saving: Promise<void> = Promise.resolve();
  #closed = false;

  private constructor(options: FederationOptions, { bundles, former }: KeptFederation) {
    this.#options = options;
    this.#after = options.after ?? timerAfter;
    this.#restored = bundles;
    this.#former = new Set(former);
  }

  static async open(options: FederationOptions): Promise<FederationKeeper> {
    try {
      return new FederationKeeper(options, await readState(options.stateFile));
    } catch (error) {
      if (!(error instanceof FederationError)) throw error;
      options.observer.notKept(error);
      return new FederationKeeper(options, { bundles: new Map(), former: new Set() });
    }
  }

  /** The federated trust domains from now on. What is another relation than before begins anew; all others end. */
  want(domains: readonly FederatedDomain[]): void {
    if (this.#closed) return;
    const wanted = new Map(domains.map((domain) => [domain.trustDomain, domain]));
    const before = this.#inForce();
    for (const [name, entry] of this.#entries) {
      const domain = wanted.get(name);
      if (domain !== undefined && originOf(domain) === entry.origin) continue;
      this.#stop(entry);
      this.#entries.delete(name);
      this.#inForceNow = undefined;
    }
    for (const name of [...before.keys(), ...this.#restored.keys()])
      if (!wanted.has(name)) this.#former.add(name);
    for (const name of [...this.#former].slice(0, -MAX_FORMER)) this.#former.delete(name);
    for (const domain of domains) {
      this.#former.delete(domain.trustDomain);
      if (!this.#entries.has(domain.trustDomain)) this.#add(domain);
    }
    this.#restored = new Map();
    this.#tell(before);
  }

  /** Those in force, each of another trust domain; none of them is empty. */
  bundles(): readonly TrustBundle[] {
    return [...this.#inForce().values()];
  }

  /** Of which there is, or was, a relation, and no bundle is in force: whoever is connected is to be cut off. */
  ended(): readonly string[] {
    const inForce = this.#inForce();
    return [...this.#former, ...this.#entries.keys()].filter((name) => !inForce.has(name)).toSorted();
  }

  /** Whether this trust domain is federated, or was: whoever asked for its bundle has to be told that it is gone. */
  knows(trustDomain: string): boolean {
    return this.#entries.has(trustDomain) || this.#former.has(trustDomain);
  }

  /**
   * Calls back, synchronously, when `bundles` is another list than before.
   * @returns the function that stops it
   */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** In the order of the names. */
  status(): readonly FederationStatus[] {
    return [...this.#entries.values()]
      .map(({ domain, latest, fetchedAtMs, failure, nextTryMs }) => ({
        trustDomain: domain.trustDomain,
        url: domain.url,
        profile: domain.profile.type,
        bundle: latest,
        fetchedAtMs,
        failure: failure ?? this.#conflict(latest),
        nextTryMs,
        refreshMs: refreshMs(latest),
      }))
      .toSorted((a, b) => (a.trustDomain < b.trustDomain ? -1 : 1));
  }

  /** Ends what is under way, and tells nobody anything more. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#listeners.clear();
    for (const entry of this.#entries.values()) this.#stop(entry);
    await Promise.all(this.#running);
    await this.#saving;
  }

  #add(domain: FederatedDomain): void {
    const trustDomain = TrustDomain.parse(domain.trustDomain);
    const origin = originOf(domain);
    const kept = this.#restored.get(domain.trustDomain);
    const known = kept?.origin === origin ? kept : undefined;
    const { bootstrapBundle } = domain;
    const entry: Entry = {
      domain,
      trustDomain,
      origin,
      latest: undefined,
      fetchedAtMs: known?.fetchedAtMs,
      failure: undefined,
      nextTryMs: this.#options.nowMs(),
      cancelTimer: nothing,
      abort: nothing,
    };
    this.#entries.set(domain.trustDomain, entry);
    this.#inForceNow = undefined;
    const first =
      known?.bundle ??
      (bootstrapBundle === undefined ? undefined : TrustBundle.parse(trustDomain, bootstrapBundle));
    try {
      if (first !== undefined) refuseSharedKeys(first, this.#others(entry));
      entry.latest = first;
    } catch (error) {
      this.#fail(entry, error);
    }
    this.#start(entry);
  }

  #stop(entry: Entry): void {
    entry.cancelTimer();
    entry.abort();
  }

  #start(entry: Entry): void {
    const running = this.#poll(entry).finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  async #poll(entry: Entry): Promise<void> {
    const { timeoutMs = DEFAULT_TIMEOUT_MS, nowMs } = this.#options;
    const controller = new AbortController();
    entry.abort = (): void => controller.abort(new Error('no longer wanted'));
    const cancelTimeout = this.#after(timeoutMs, () =>
      controller.abort(new FederationError('timeout', `The bundle was not complete after ${timeoutMs} ms.`)),
    );
    try {
      const text = await fetchBundle(entry.domain.url, entry.domain.profile, {
        signal: controller.signal,
        bundleOf: (name) => this.#bundleOf(entry, name),
        nowMs,
      });
      if (this.#wants(entry)) this.#take(entry, TrustBundle.parse(entry.trustDomain, text));
    } catch (error) {
      if (this.#wants(entry)) this.#fail(entry, error);
    } finally {
      cancelTimeout();
      entry.abort = nothing;
      if (this.#wants(entry)) this.#wait(entry);
    }
  }

  /** Who may vouch for the endpoint: its own trust domain alone. */
  #bundleOf(entry: Entry, name: string): TrustBundle | undefined {
    if (name === entry.domain.trustDomain) return entry.latest;
    const own = this.#options.ownBundle();
    return name === own.trustDomain.name ? own : this.#inForce().get(name);
  }

  #take(entry: Entry, next: TrustBundle): void {
    refuseStep(entry.latest, next);
    refuseSharedKeys(next, this.#others(entry));
    const before = this.#inForce();
    const same = entry.latest?.sequence === next.sequence && next.hasSameAuthorities(entry.latest);
    entry.latest = next;
    this.#inForceNow = undefined;
    entry.fetchedAtMs = this.#options.nowMs();
    entry.failure = undefined;
    this.#options.observer.fetched(entry.domain.trustDomain, next);
    if (same) return;
    this.#tell(before);
  }

  #fail(entry: Entry, error: unknown): void {
    const expected = error instanceof FederationError || error instanceof IdentityError;
    const message = expected ? error.message : `an error of our own: ${String(error)}`;
    const again = entry.failure === message;
    entry.failure = message;
    this.#options.observer.failed(entry.domain.trustDomain, message, {
      again,
      fetchedAtMs: entry.fetchedAtMs,
    });
  }

  /** A failure waits for the next time, too: an endpoint that is down is not helped by more requests. */
  #wait(entry: Entry): void {
    const intervalMs = refreshMs(entry.latest);
    const delayMs = entry.fetchedAtMs === undefined ? Math.min(intervalMs, FIRST_RETRY_MS) : intervalMs;
    // Never later than the hint, and not all replicas at once.
    const spreadMs = Math.round(delayMs * (1 - 0.1 * this.#options.random()));
    entry.nextTryMs = this.#options.nowMs() + spreadMs;
    entry.cancelTimer = this.#after(spreadMs, () => this.#start(entry));
  }

  #wants(entry: Entry): boolean {
    return !this.#closed && this.#entries.get(entry.domain.trustDomain) === entry;
  }

  /** The own bundle and the latest of all other trust domains. */
  *#others(entry: Entry): Iterable<TrustBundle> {
    yield this.#options.ownBundle();
    for (const other of this.#entries.values())
      if (other !== entry && other.latest !== undefined) yield other.latest;
  }

  /** The own bundle may have changed since. */
  #conflict(bundle: TrustBundle | undefined): string | undefined {
    try {
      if (bundle !== undefined) refuseSharedKeys(bundle, [this.#options.ownBundle()]);
      return undefined;
    } catch (error) {
      if (error instanceof FederationError) return error.message;
      throw error;
    }
  }

  #inForce(): ReadonlyMap<string, TrustBundle> {
    const own = this.#options.ownBundle();
    if (this.#inForceNow?.own === own) return this.#inForceNow.bundles;
    const found = new Map<string, TrustBundle>();
    for (const name of [...this.#entries.keys()].toSorted()) {
      const bundle = this.#entries.get(name)?.latest;
      if (bundle === undefined || bundle.x509Authorities.length === 0) continue;
      if (this.#conflict(bundle) === undefined) found.set(name, bundle);
    }
    this.#inForceNow = { own, bundles: found };
    return found;
  }

  #tell(before: ReadonlyMap<string, TrustBundle>): void {
    this.#save();
    const after = this.#inForce();
    const names = new Set([...before.keys(), ...after.keys()]);
    const changed = [...names].filter((name) => before.get(name) !== after.get(name));
    for (const name of changed) this.#options.observer.changed(name, after.get(name));
    if (changed.length > 0) for (const listener of this.#listeners) listener();
  }

  #save(): void {
    const bundles = new Map<string, KeptBundle>();
    for (const [name, { origin, fetchedAtMs, latest }] of this.#entries)
      if (latest !== undefined) bundles.set(name, { origin, fetchedAtMs, bundle: latest });
    const state: KeptFederation = { bundles, former: new Set(this.#former) };
    const { stateFile, observer } = this.#options;
    // One after the other: what is known last is what is there.
    this.#saving = this.#saving
      .then(() => writeState(stateFile, state))
      .catch((error: unknown) =>
        observer.notKept(
          new FederationError('state-unusable', `${stateFile} cannot be written (${String(error)})`, {
            cause: error,
          }),
        ),
      );
  }
}

/** As the bundle's own hint says, within bounds. */
function refreshMs(bundle: TrustBundle | undefined): number {
  const hintMs = bundle?.refreshHintSeconds;
  const namedMs = hintMs === undefined ? DEFAULT_REFRESH_MS : hintMs * 1_000;
  return Math.min(Math.max(namedMs, MIN_REFRESH_MS), MAX_REFRESH_MS);
}
