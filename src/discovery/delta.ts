import { Dirt } from './dirt.ts';
import { Ledger, UNSURE, heldMark } from './ledger.ts';
import type { Absence } from './ledger.ts';
import { EXTENSION_CONFIG_TYPE, SECRET_TYPE } from './services.ts';
import { WILDCARD } from './machine.ts';
import type { Machine, Reception } from './machine.ts';
import type { DeltaDiscoveryRequest, Outgoing } from './messages.ts';
import type { Lookup, TypeStatus, View } from './types.ts';

/**
 * Types that Envoy starts up with. Told that one which it never had is "removed", Envoy 1.40 stops its initial
 * fetch timeout and never starts; told nothing or an error, it goes on without it after the timeout.
 */
const WAITED_FOR: ReadonlySet<string> = new Set([SECRET_TYPE, EXTENSION_CONFIG_TYPE]);
const ABSENT: Lookup = { kind: 'absent' };

/**
 * Incremental xDS, one type on one stream: only what changed goes out, and what is gone is named. A stale
 * nonce makes a request no answer, yet its subscriptions count ("Incremental xDS").
 */
export class DeltaMachine implements Machine<DeltaDiscoveryRequest> {
  readonly #view: View;
  readonly #typeUrl: string;
  readonly #ledger: Ledger;
  readonly #dirt: Dirt = new Dirt();
  readonly #names: Set<string> = new Set();
  readonly #absence: Absence;
  readonly #hasWildcard: boolean;
  #wildcard = false;
  #started = false;

  constructor(typeUrl: string, view: View) {
    this.#view = view;
    this.#typeUrl = typeUrl;
    this.#ledger = new Ledger(typeUrl);
    this.#absence = WAITED_FOR.has(typeUrl) ? 'removed if held' : 'removed';
    this.#hasWildcard = view.wildcard(typeUrl) !== undefined;
  }

  get names(): ReadonlySet<string> {
    return this.#names;
  }

  receive(request: DeltaDiscoveryRequest): Reception {
    const verdict = this.#ledger.judge(request.response_nonce, request.error_detail);
    const { resource_names_subscribe: subscribe, resource_names_unsubscribe: unsubscribe } = request;
    const first = !this.#started;
    this.#started = true;
    const added = this.#subscribe(subscribe);
    this.#unsubscribe(unsubscribe);
    if (first) {
      if (this.#hasWildcard && subscribe.length === 0 && unsubscribe.length === 0) this.#startWildcard();
      this.#resume(request.initial_resource_versions);
    }
    return { verdict, added };
  }

  /** Each name is answered, also one that was subscribed before: the client may have forgotten it. */
  #subscribe(names: readonly string[]): string[] {
    const added = [];
    for (const name of names) {
      if (name === WILDCARD && this.#hasWildcard) {
        this.#startWildcard();
        continue;
      }
      if (!this.#names.has(name)) {
        this.#names.add(name);
        added.push(name);
      }
      this.#ledger.told.set(name, UNSURE);
      this.#mark(name);
    }
    return added;
  }

  #unsubscribe(names: readonly string[]): void {
    for (const name of names) {
      if (name === WILDCARD && this.#hasWildcard) {
        this.#wildcard = false;
        for (const told of this.#ledger.told.keys()) if (!this.#names.has(told)) this.#ledger.forget(told);
      } else if (this.#names.delete(name)) {
        this.#ledger.forget(name);
        if (!this.#wildcard) continue;
        // The client cannot know whether the wildcard covers it: say which ("Unsubscribing from Resources").
        this.#ledger.told.set(name, UNSURE);
        this.#mark(name);
      }
    }
  }

  #startWildcard(): void {
    this.#wildcard = true;
    this.#dirt.all();
  }

  /** What the client holds from an earlier stream is not sent again while it is current. */
  #resume(versions: ReadonlyMap<string, string>): void {
    for (const [name, version] of versions) {
      if (!this.#wildcard && !this.#names.has(name)) continue;
      this.#ledger.told.set(name, heldMark(version));
      this.#ledger.acked.set(name, version);
      this.#mark(name);
    }
  }

  #mark(name: string): void {
    this.#dirt.add(name, this.#names.size + this.#ledger.told.size);
  }

  changed(names: ReadonlySet<string> | undefined): void {
    if (names === undefined) {
      if (this.#wildcard || this.#names.size > 0) this.#dirt.all();
    } else if (this.#wildcard) {
      for (const name of names) this.#mark(name);
    } else {
      for (const name of this.#names) if (names.has(name)) this.#mark(name);
    }
  }

  next(nonce: () => string, nowMs: number): Outgoing | undefined {
    if (this.#dirt.clean || this.#ledger.waiting !== undefined) return undefined;
    const ledger = this.#ledger;
    const covered = new Set(this.#wildcard ? this.#view.wildcard(this.#typeUrl) : undefined);
    const lookup = (name: string): Lookup =>
      this.#names.has(name) || covered.has(name) ? this.#view.lookup(this.#typeUrl, name) : ABSENT;
    const dirty = this.#dirt.take() ?? new Set([...this.#names, ...covered, ...ledger.told.keys()]);
    const known = [...dirty].filter(
      (name) => this.#names.has(name) || covered.has(name) || ledger.told.has(name),
    );
    const { now, more } = ledger.pace(ledger.news(known, lookup, this.#absence));
    if (more) this.#dirt.all();
    if (now.resources.length + now.removed.length + now.errors.length === 0) return undefined;
    const response = ledger.send(now, '', nonce(), nowMs);
    for (const name of now.removed) {
      if (!this.#names.has(name) && !covered.has(name)) ledger.told.delete(name);
    }
    return response;
  }

  status(): TypeStatus {
    return this.#ledger.status(this.#wildcard, this.#names);
  }
}
