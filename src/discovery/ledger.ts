import type { Push, Verdict } from './machine.ts';
import type { NameError, Outgoing, Status } from './messages.ts';
import type { Lookup, Resource, ResourceStatus, TypeStatus } from './types.ts';

/** Longer texts of a client are cut: they are kept per stream, and shown. */
const MAX_NACK_MESSAGE = 2048;

/** What is due in one response. */
export interface Due {
  readonly resources: Resource[];
  readonly removed: string[];
  readonly errors: NameError[];
}

/**
 * How a client is told that there is nothing under a name: not at all, by `removed_resources`, or by that only
 * if it holds something and otherwise by a NOT_FOUND in `resource_errors`.
 */
export type Absence = 'unsaid' | 'removed' | 'removed if held';

/** The books on one type of one stream: what the client was told, what it runs, what is not answered yet. */
export class Ledger {
  readonly typeUrl: string;
  /** Name to a mark of what was last said about it; see `markOf`. */
  readonly told: Map<string, string> = new Map();
  /** Name to the version that the client ACKed last. */
  readonly acked: Map<string, string> = new Map();
  #waiting: Push | undefined;
  #lastNonce = '';
  /** The last response that was answered was NACKed. */
  #rejected = false;
  #rejection: string | undefined;
  /** Name to what the client said of a response with it, until one with it is ACKed. */
  readonly #rejections: Map<string, string> = new Map();
  #suspects: Set<string> = new Set();
  #oneByOne = false;

  constructor(typeUrl: string) {
    this.typeUrl = typeUrl;
  }

  get waiting(): Push | undefined {
    return this.#waiting;
  }

  get lastNonce(): string {
    return this.#lastNonce;
  }

  /** Versions last sent, ACKed or not. */
  sent(): Map<string, string> {
    const versions = new Map<string, string>();
    for (const [name, mark] of this.told) if (mark.startsWith(SENT)) versions.set(name, mark.slice(1));
    return versions;
  }

  /** Takes a request's nonce. Only the nonce that is waited for is an answer (xDS protocol, ACK and NACK). */
  judge(nonce: string, error: Status | undefined): Verdict {
    const push = this.#waiting;
    if (nonce === '' || (nonce === this.#lastNonce && push === undefined)) return { kind: 'none' };
    if (push === undefined || nonce !== push.nonce) return { kind: 'stale' };
    this.#waiting = undefined;
    if (error !== undefined) {
      const message = error.message.slice(0, MAX_NACK_MESSAGE);
      this.#rejected = true;
      this.#rejection = message;
      for (const name of push.resources.keys()) this.#rejections.set(name, message);
      // Which of several was bad, the client does not say, and it may have dropped the good ones, and not have
      // dropped what was to go.
      if (push.resources.size + push.removed.length > 1) {
        this.#suspects = new Set([...push.resources.keys(), ...push.removed]);
      }
      return { kind: 'nack', push, message };
    }
    this.#rejected = false;
    for (const [name, version] of push.resources) {
      this.acked.set(name, version);
      this.#rejections.delete(name);
    }
    if (this.#rejections.size === 0) this.#rejection = undefined;
    for (const name of push.removed) this.acked.delete(name);
    return { kind: 'ack', push };
  }

  /** All there is to say about these names. */
  everything(names: Iterable<string>, lookup: (name: string) => Lookup): Due {
    const due: Due = { resources: [], removed: [], errors: [] };
    for (const name of names) this.#add(due, name, lookup(name), 'unsaid');
    return due;
  }

  /** Of these names, what the client has not been told yet. */
  news(names: Iterable<string>, lookup: (name: string) => Lookup, absence: Absence): Due {
    const due: Due = { resources: [], removed: [], errors: [] };
    for (const name of names) {
      const answer = lookup(name);
      if (answer.kind !== 'pending' && this.told.get(name) !== markOf(answer)) {
        this.#add(due, name, answer, absence);
      }
    }
    return due;
  }

  #add(due: Due, name: string, answer: Lookup, absence: Absence): void {
    if (answer.kind === 'pending') return;
    if (answer.kind === 'found') {
      due.resources.push(answer.resource);
      return;
    }
    const removed = absence === 'removed' || (absence === 'removed if held' && this.#holds(name));
    if (removed) due.removed.push(name);
    if (answer.kind === 'refused') {
      due.errors.push({ name, code: answer.code, reason: answer.reason, refused: true });
    } else if (absence === 'unsaid') {
      // Forgotten, so that it is sent when it comes back, even unchanged.
      this.forget(name);
    } else if (!removed) {
      due.errors.push({
        name,
        code: 'NOT_FOUND',
        reason: 'there is nothing under this name now',
        refused: false,
      });
    }
  }

  #holds(name: string): boolean {
    return this.acked.has(name) || this.told.get(name)?.startsWith(SENT) === true;
  }

  /** The client has exactly this. */
  isTold(due: Due): boolean {
    return (
      this.told.size === due.resources.length + due.errors.length &&
      due.resources.every(
        (resource) => this.told.get(resource.name) === markOf({ kind: 'found', resource }),
      ) &&
      due.errors.every((error) => this.told.get(error.name) === refusal(error))
    );
  }

  /**
   * After a NACK of several things at once, the next change sends them one by one, what is gone first, so that a bad
   * one no longer keeps the good ones from the client. (Not at once: a NACKed response is not repeated by itself.)
   * @returns what to send now; the rest stays due.
   */
  pace(due: Due): { readonly now: Due; readonly more: boolean } {
    const things = due.resources.length + Math.min(due.removed.length, 1);
    if (this.#suspects.size > 0 && things > 0) {
      for (const name of this.#suspects) this.told.set(name, UNSURE);
      this.#suspects.clear();
      this.#oneByOne = true;
      return { now: firstOf(due), more: true };
    }
    const more = this.#oneByOne && things > 1;
    this.#oneByOne = more;
    return { now: more ? firstOf(due) : due, more };
  }

  forget(name: string): void {
    this.told.delete(name);
    this.acked.delete(name);
    this.#suspects.delete(name);
    this.#rejections.delete(name);
  }

  /** Books a response as sent. */
  send(due: Due, version: string, nonce: string, nowMs: number): Outgoing {
    const resources = new Map<string, string>();
    for (const resource of due.resources) {
      resources.set(resource.name, resource.version);
      this.told.set(resource.name, SENT + resource.version);
    }
    for (const name of due.removed) this.told.set(name, GONE);
    for (const error of due.errors) this.told.set(error.name, error.refused ? refusal(error) : GONE);
    this.#lastNonce = nonce;
    this.#waiting = { nonce, resources, removed: due.removed, errors: due.errors, sentAtMs: nowMs };
    return { typeUrl: this.typeUrl, nonce, version, ...due };
  }

  status(wildcard: boolean, names: ReadonlySet<string>): TypeStatus {
    return {
      typeUrl: this.typeUrl,
      wildcard,
      names: [...names],
      resources: this.#resources(),
      state: this.#answer(),
      nonce: this.#lastNonce,
      waitingSinceMs: this.#waiting?.sentAtMs,
      rejection: this.#rejection,
    };
  }

  #resources(): ResourceStatus[] {
    return [...this.sent()].map(([name, version]) => {
      const running = this.acked.get(name);
      const rejection = this.#rejections.get(name);
      return { name, version, running, acknowledged: running === version, rejection };
    });
  }

  #answer(): TypeStatus['state'] {
    if (this.#lastNonce === '') return 'quiet';
    if (this.#waiting !== undefined) return 'waiting';
    return this.#rejected ? 'nacked' : 'acked';
  }
}

function firstOf(due: Due): Due {
  return { ...due, resources: due.removed.length > 0 ? [] : due.resources.slice(0, 1) };
}

/** A mark that equals no answer: whatever the answer is, it is news. */
export const UNSURE = '?';
const SENT = '=';
const GONE = '-';

function markOf(answer: Exclude<Lookup, { kind: 'pending' }>): string {
  if (answer.kind === 'found') return SENT + answer.resource.version;
  return answer.kind === 'refused' ? refusal(answer) : GONE;
}

function refusal(error: { readonly code: string; readonly reason: string }): string {
  return `!${error.code}:${error.reason}`;
}

/** Marks a name as held by the client in this version, though this stream did not send it. */
export function heldMark(version: string): string {
  return SENT + version;
}
