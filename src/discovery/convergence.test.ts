import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DeltaMachine } from './delta.ts';
import type { Outgoing, Status } from './messages.ts';
import { SotwMachine } from './sotw.ts';
import { FakeView, SECRET } from './testing.ts';
import type { Lookup } from './types.ts';

/*
 * Whatever happens in whatever order, once all is delivered and answered the client holds exactly what the view
 * has for its names: the property that everything else in the engine serves. The client here applies a response
 * wholly or, when one resource in it is bad, not at all.
 */

type Step =
  | { readonly kind: 'set'; readonly name: string; readonly version: string | undefined }
  | { readonly kind: 'names'; readonly names: readonly string[] }
  | { readonly kind: 'send' }
  | { readonly kind: 'answer' };

const NAMES = ['a', 'b', 'c', 'd'];
const BAD = 'bad';
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constant('set' as const),
      name: fc.constantFrom(...NAMES),
      version: fc.option(fc.constantFrom('1', '2', '3', BAD), { nil: undefined }),
    }),
    fc.record({ kind: fc.constant('names' as const), names: fc.uniqueArray(fc.constantFrom(...NAMES)) }),
    fc.constant({ kind: 'send' as const }),
    fc.constant({ kind: 'answer' as const }),
  ),
  { maxLength: 40 },
);

interface Answer {
  readonly nonce: string;
  readonly error_detail: Status | undefined;
}

abstract class Client {
  readonly view: FakeView = new FakeView();
  readonly held: Map<string, string> = new Map();
  names: readonly string[] = [];
  #sent: Outgoing[] = [];
  #nonce = 0;

  abstract next(nonce: () => string): Outgoing | undefined;
  abstract say(added: readonly string[], dropped: readonly string[], answer: Answer | undefined): void;

  run(actions: readonly Step[]): void {
    for (const action of actions) this.#step(action);
    this.#step({ kind: 'names', names: NAMES });
    this.#rest();
    // What a rejected batch took with it comes back with the next change.
    this.view.set(SECRET, 'a', 'last');
    this.#rest();
  }

  #step(action: Step): void {
    if (action.kind === 'set') this.view.set(SECRET, action.name, answerOf(action.version));
    else if (action.kind === 'names') this.#subscribe(action.names);
    else if (action.kind === 'send') this.#send();
    else this.#answer();
    expect(this.#sent.length).toBeLessThanOrEqual(1);
  }

  #rest(): void {
    for (let round = 0; round < 40; round += 1) if (!this.#send() && !this.#answer()) return;
    throw new Error('it never comes to rest');
  }

  #send(): boolean {
    const response = this.next(() => `n${(this.#nonce += 1)}`);
    if (response !== undefined) this.#sent.push(response);
    return response !== undefined;
  }

  #answer(): boolean {
    const response = this.#sent.shift();
    if (response === undefined) return false;
    const bad = response.resources.some(({ version }) => version === BAD);
    if (!bad) {
      for (const { name, version } of response.resources) {
        if (this.names.includes(name)) this.held.set(name, version);
      }
      for (const name of response.removed) this.held.delete(name);
    }
    this.say([], [], { nonce: response.nonce, error_detail: bad ? { code: 3, message: 'bad' } : undefined });
    return true;
  }

  #subscribe(names: readonly string[]): void {
    const added = names.filter((name) => !this.names.includes(name));
    const dropped = this.names.filter((name) => !names.includes(name));
    this.names = names;
    for (const name of dropped) this.held.delete(name);
    this.say(added, dropped, undefined);
  }
}

class SotwClient extends Client {
  readonly #machine: SotwMachine = new SotwMachine(SECRET, this.view);
  #nonce = '';

  constructor() {
    super();
    this.view.watch((change) => this.#machine.changed(change.names));
  }

  override next(nonce: () => string): Outgoing | undefined {
    return this.#machine.next(nonce, 0);
  }

  override say(_added: readonly string[], _dropped: readonly string[], answer: Answer | undefined): void {
    if (answer !== undefined) this.#nonce = answer.nonce;
    this.#machine.receive({
      node_id: '',
      type_url: SECRET,
      version_info: '',
      resource_names: this.names,
      response_nonce: this.#nonce,
      error_detail: answer?.error_detail,
    });
  }
}

class DeltaClient extends Client {
  readonly #machine: DeltaMachine = new DeltaMachine(SECRET, this.view);

  constructor() {
    super();
    this.view.watch((change) => this.#machine.changed(change.names));
  }

  override next(nonce: () => string): Outgoing | undefined {
    return this.#machine.next(nonce, 0);
  }

  override say(added: readonly string[], dropped: readonly string[], answer: Answer | undefined): void {
    this.#machine.receive({
      node_id: '',
      type_url: SECRET,
      resource_names_subscribe: added,
      resource_names_unsubscribe: dropped,
      initial_resource_versions: new Map(),
      response_nonce: answer?.nonce ?? '',
      error_detail: answer?.error_detail,
    });
  }
}

function answerOf(version: string | undefined): Lookup | string {
  return version ?? { kind: 'absent' };
}

/** Names and versions that the client must hold in the end: what exists and is good. */
function due(client: Client): [string, string][] {
  return client.names.flatMap((name) => {
    const answer = client.view.lookup(SECRET, name);
    return answer.kind === 'found' && answer.resource.version !== BAD
      ? [[name, answer.resource.version]]
      : [];
  });
}

/** A removal that went out with a bad resource, and was lost when the client took neither. */
const lostRemoval: Step[] = [
  { kind: 'names', names: ['c'] },
  { kind: 'set', name: 'c', version: '1' },
  { kind: 'send' },
  { kind: 'set', name: 'c', version: undefined },
  { kind: 'set', name: 'a', version: BAD },
];

/** Dropped and wanted again while a response was under way: the server saw neither request. */
const wantedAgain: Step[] = [
  { kind: 'set', name: 'b', version: '1' },
  { kind: 'names', names: ['a', 'b'] },
  { kind: 'send' },
  { kind: 'answer' },
  { kind: 'set', name: 'a', version: '1' },
  { kind: 'send' },
  { kind: 'names', names: [] },
];

describe('convergence', () => {
  it('SotW: the client ends with the newest good version of each name it wants', () => {
    fc.assert(
      fc.property(steps, (actions) => {
        const client = new SotwClient();
        client.run(actions);
        expect(Object.fromEntries(client.held)).toMatchObject(Object.fromEntries(due(client)));
      }),
      { numRuns: 500, examples: [[wantedAgain]] },
    );
  });

  it('delta: the same, and what is gone is gone', () => {
    fc.assert(
      fc.property(steps, (actions) => {
        const client = new DeltaClient();
        client.run(actions);
        expect(Object.fromEntries(client.held)).toMatchObject(Object.fromEntries(due(client)));
        for (const name of client.held.keys()) {
          expect(client.view.lookup(SECRET, name).kind).toBe('found');
        }
      }),
      { numRuns: 500, examples: [[lostRemoval]] },
    );
  });
});
