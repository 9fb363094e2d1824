import { Dirt } from './dirt.ts';
import { Ledger } from './ledger.ts';
import { WILDCARD } from './machine.ts';
import type { Machine, Reception } from './machine.ts';
import type { DiscoveryRequest, Outgoing } from './messages.ts';
import type { Lookup, TypeStatus, View } from './types.ts';
import { typeVersion } from './version.ts';

/**
 * State of the world, one type on one stream.
 *
 * A type with a wildcard (listeners, clusters) is sent whole each time, as what is missing from a response is
 * deleted; of any other type just what changed is sent, as nothing can be deleted ("Grouping Resources into
 * Responses"). A request with a stale nonce is ignored as a whole: the client's answer to the newest response
 * carries its newest names.
 */
export class SotwMachine implements Machine<DiscoveryRequest> {
  readonly #view: View;
  readonly #ledger: Ledger;
  readonly #lookup: (name: string) => Lookup;
  /** The type has a wildcard, and so is sent whole. */
  readonly #whole: boolean;
  readonly #dirt: Dirt = new Dirt();
  #names: ReadonlySet<string> = new Set();
  #wildcard = false;
  /** Some request named something: from then on, no names means none, not all. */
  #named = false;
  /** Send the whole type even if it is what was sent before. */
  #forced = false;

  constructor(typeUrl: string, view: View) {
    this.#view = view;
    this.#ledger = new Ledger(typeUrl);
    this.#lookup = (name): Lookup => view.lookup(typeUrl, name);
    this.#whole = view.wildcard(typeUrl) !== undefined;
  }

  get names(): ReadonlySet<string> {
    return this.#names;
  }

  receive(request: DiscoveryRequest): Reception {
    const { lastNonce } = this.#ledger;
    // Before the first response a nonce can only be of an earlier stream: it says nothing.
    if (lastNonce !== '' && request.response_nonce !== lastNonce) {
      this.#doubt(request.resource_names);
      return { verdict: { kind: 'stale' }, added: [] };
    }
    const verdict = this.#ledger.judge(lastNonce, request.error_detail);
    return { verdict, added: this.#subscribe(request.resource_names) };
  }

  /**
   * What an ignored request leaves out, the client may have forgotten; should its answer name it again, it waits for
   * what it was already told.
   */
  #doubt(requested: readonly string[]): void {
    const still = new Set(requested);
    for (const name of this.#names) {
      if (still.has(name)) continue;
      this.#ledger.forget(name);
      this.#dirt.add(name, this.#names.size);
      this.#forced = this.#whole;
    }
  }

  /** @returns the names that are new */
  #subscribe(requested: readonly string[]): string[] {
    const names = new Set(requested);
    if (names.size > 0) this.#named = true;
    const wildcard = this.#whole && (names.delete(WILDCARD) || !this.#named);
    const before = this.#names;
    const added = [...names].filter((name) => !before.has(name));
    this.#names = names;
    if (!this.#whole) for (const name of before) if (!names.has(name)) this.#ledger.forget(name);
    for (const name of added) this.#dirt.add(name, names.size);
    if (this.#whole && (added.length > 0 || (wildcard && !this.#wildcard))) {
      this.#dirt.all();
      this.#forced = true;
    }
    this.#wildcard = wildcard;
    return added;
  }

  changed(names: ReadonlySet<string> | undefined): void {
    if (names === undefined || this.#wildcard) {
      if (this.#wildcard || this.#names.size > 0) this.#dirt.all();
      return;
    }
    for (const name of this.#names) if (names.has(name)) this.#dirt.add(name, this.#names.size);
  }

  next(nonce: () => string, nowMs: number): Outgoing | undefined {
    if (this.#dirt.clean || this.#ledger.waiting !== undefined) return undefined;
    return this.#whole ? this.#nextWhole(nonce, nowMs) : this.#nextChanged(nonce, nowMs);
  }

  #nextChanged(nonce: () => string, nowMs: number): Outgoing | undefined {
    const ledger = this.#ledger;
    const names = [...(this.#dirt.take() ?? this.#names)].filter((name) => this.#names.has(name));
    const { now, more } = ledger.pace(ledger.news(names, this.#lookup, 'unsaid'));
    if (more) this.#dirt.all();
    if (now.resources.length + now.errors.length === 0) return undefined;
    const versions = ledger.sent();
    for (const resource of now.resources) versions.set(resource.name, resource.version);
    return ledger.send(now, typeVersion(versions), nonce(), nowMs);
  }

  #nextWhole(nonce: () => string, nowMs: number): Outgoing | undefined {
    this.#dirt.take();
    const forced = this.#forced;
    this.#forced = false;
    if (!this.#wildcard && this.#names.size === 0) return undefined;
    const names = new Set(this.#names);
    if (this.#wildcard) for (const name of this.#view.wildcard(this.#ledger.typeUrl) ?? []) names.add(name);
    const whole = this.#ledger.everything(names, this.#lookup);
    if (!forced && this.#ledger.isTold(whole)) return undefined;
    this.#ledger.told.clear();
    const versions = new Map(whole.resources.map((resource) => [resource.name, resource.version]));
    return this.#ledger.send(whole, typeVersion(versions), nonce(), nowMs);
  }

  status(): TypeStatus {
    return this.#ledger.status(this.#wildcard, this.#names);
  }
}
