import { describe, expect, it } from 'vitest';
import { DeltaMachine } from './delta.ts';
import type { DeltaDiscoveryRequest, Outgoing } from './messages.ts';
import { CLUSTER, EXTENSION, FakeView, SECRET } from './testing.ts';

const ROUTE = 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration';

interface Ask {
  readonly add?: readonly string[];
  readonly drop?: readonly string[];
  readonly nonce?: string;
  readonly error?: string;
  readonly held?: Readonly<Record<string, string>>;
}

class Driver {
  readonly view: FakeView = new FakeView();
  readonly machine: DeltaMachine;
  readonly #typeUrl: string;
  #nonce = 0;

  constructor(typeUrl: string, wildcard?: readonly string[]) {
    this.#typeUrl = typeUrl;
    if (wildcard !== undefined) this.view.wildcards.set(typeUrl, wildcard);
    this.machine = new DeltaMachine(typeUrl, this.view);
    this.view.watch((change) => this.machine.changed(change.names));
  }

  request({ add = [], drop = [], nonce = '', error, held = {} }: Ask): string {
    const request: DeltaDiscoveryRequest = {
      node_id: '',
      type_url: this.#typeUrl,
      resource_names_subscribe: add,
      resource_names_unsubscribe: drop,
      initial_resource_versions: new Map(Object.entries(held)),
      response_nonce: nonce,
      error_detail: error === undefined ? undefined : { code: 3, message: error },
    };
    return this.machine.receive(request).verdict.kind;
  }

  /** `name@version` of what is sent, `-name` of what is removed; `undefined`: no response. */
  next(): readonly string[] | undefined {
    const response = this.response();
    return (
      response && [
        ...response.resources.map(({ name, version }) => `${name}@${version}`),
        ...response.removed.map((name) => `-${name}`),
      ]
    );
  }

  response(): Outgoing | undefined {
    return this.machine.next(() => `n${(this.#nonce += 1)}`, 1000);
  }
}

describe('delta: answers and nonces', () => {
  it('sends only what changed', () => {
    const on = new Driver(EXTENSION);
    for (const name of ['a', 'b']) on.view.set(EXTENSION, name, '1');
    on.request({ add: ['a', 'b'] });
    expect(on.next()).toEqual(['a@1', 'b@1']);
    expect(on.request({ nonce: 'n1' })).toBe('ack');
    on.view.set(EXTENSION, 'b', '2');
    expect(on.next()).toEqual(['b@2']);
  });

  it('keeps a NACK and does not repeat what was rejected until it changes', () => {
    const on = new Driver(EXTENSION);
    on.view.set(EXTENSION, 'a', '1');
    on.request({ add: ['a'] });
    on.next();
    expect(on.request({ nonce: 'n1', error: 'no' })).toBe('nack');
    on.view.notify({ typeUrl: EXTENSION });
    expect(on.next()).toBeUndefined();
    expect(on.machine.status()).toMatchObject({ state: 'nacked', rejection: 'no' });
    on.view.set(EXTENSION, 'a', '2');
    expect(on.next()).toEqual(['a@2']);
  });

  it('honours the subscriptions of a request with a stale nonce', () => {
    const on = new Driver(EXTENSION);
    for (const name of ['a', 'b']) on.view.set(EXTENSION, name, '1');
    on.request({ add: ['a'] });
    on.next();
    expect(on.request({ add: ['b'], nonce: 'n0' })).toBe('stale');
    expect(on.machine.status()).toMatchObject({ state: 'waiting', names: ['a', 'b'] });
    on.request({ nonce: 'n1' });
    expect(on.next()).toEqual(['b@1']);
  });

  it('has at most one response unanswered, and then sends the latest state only', () => {
    const on = new Driver(EXTENSION);
    on.view.set(EXTENSION, 'a', '1');
    on.request({ add: ['a'] });
    on.next();
    for (const version of ['2', '3']) on.view.set(EXTENSION, 'a', version);
    expect(on.next()).toBeUndefined();
    on.request({ nonce: 'n1' });
    expect(on.next()).toEqual(['a@3']);
  });

  it('sends the resources of a rejected batch one by one at the next change', () => {
    const on = new Driver(EXTENSION);
    for (const name of ['bad', 'b']) on.view.set(EXTENSION, name, '1');
    on.request({ add: ['bad', 'b'] });
    on.next();
    on.request({ nonce: 'n1', error: 'bad is bad' });
    expect(on.next()).toBeUndefined();
    on.view.set(EXTENSION, 'bad', '2');
    expect(on.next()).toEqual(['bad@2']);
    on.request({ nonce: 'n2', error: 'bad is still bad' });
    expect(on.next()).toEqual(['b@1']);
  });
});

describe('delta: subscriptions', () => {
  it('answers a name again that the client subscribes again', () => {
    const on = new Driver(EXTENSION);
    on.view.set(EXTENSION, 'a', '1');
    on.request({ add: ['a'] });
    on.next();
    on.request({ add: ['a'], nonce: 'n1' });
    expect(on.next()).toEqual(['a@1']);
  });

  it('says at once that a name does not exist, sends it when it does, and names its end', () => {
    const on = new Driver(ROUTE);
    on.request({ add: ['a'] });
    expect(on.next()).toEqual(['-a']);
    on.request({ nonce: 'n1' });
    on.view.set(ROUTE, 'a', '1');
    expect(on.next()).toEqual(['a@1']);
    on.request({ nonce: 'n2' });
    on.view.set(ROUTE, 'a', { kind: 'absent' });
    expect(on.next()).toEqual(['-a']);
    on.request({ nonce: 'n3' });
    on.view.notify({ typeUrl: ROUTE });
    expect(on.next()).toBeUndefined();
  });

  it('says nothing of a name that is being made', () => {
    const on = new Driver(ROUTE);
    on.view.set(ROUTE, 'a', { kind: 'pending' });
    on.request({ add: ['a'] });
    expect(on.next()).toBeUndefined();
    on.view.set(ROUTE, 'a', '1');
    expect(on.next()).toEqual(['a@1']);
  });

  it('lists a refused name as removed too, so that nothing waits for it', () => {
    const on = new Driver(ROUTE);
    on.view.set(ROUTE, 'x', { kind: 'refused', code: 'PERMISSION_DENIED', reason: "another's" });
    on.request({ add: ['x'] });
    expect(on.response()).toMatchObject({ removed: ['x'], errors: [{ name: 'x', reason: "another's" }] });
    on.request({ nonce: 'n1' });
    on.view.notify({ typeUrl: ROUTE });
    expect(on.next()).toBeUndefined();
  });

  it('sends nothing for an unsubscription, a phantom one included, and nothing of that name afterwards', () => {
    const on = new Driver(EXTENSION);
    on.view.set(EXTENSION, 'a', '1');
    on.request({ add: ['a'] });
    on.next();
    on.request({ drop: ['a', 'never'], nonce: 'n1' });
    expect(on.next()).toBeUndefined();
    on.view.set(EXTENSION, 'a', '2');
    expect(on.next()).toBeUndefined();
    on.request({ add: ['a'] });
    expect(on.next()).toEqual(['a@2']);
  });

  it('does not send again what a returning client holds, but what is newer or gone', () => {
    const on = new Driver(EXTENSION);
    for (const name of ['same', 'newer']) on.view.set(EXTENSION, name, '2');
    on.request({ add: ['same', 'newer', 'gone'], held: { same: '2', newer: '1', gone: '1', foreign: '9' } });
    expect(on.next()).toEqual(['newer@2', '-gone']);
    expect(on.machine.status().resources).toContainEqual({
      name: 'same',
      version: '2',
      running: '2',
      acknowledged: true,
      rejection: undefined,
    });
  });
});

describe('delta: types that Envoy starts up with', () => {
  it.each([SECRET, EXTENSION])(
    '%s: a name it never had is an error, not removed; one it had is removed',
    (type) => {
      const on = new Driver(type);
      on.view.set(type, 'foreign', { kind: 'refused', code: 'PERMISSION_DENIED', reason: "another's" });
      on.request({ add: ['a', 'foreign'] });
      expect(on.response()).toMatchObject({
        removed: [],
        errors: [
          { name: 'a', code: 'NOT_FOUND', refused: false },
          { name: 'foreign', code: 'PERMISSION_DENIED', refused: true },
        ],
      });
      on.request({ nonce: 'n1' });
      on.view.notify({ typeUrl: type });
      expect(on.next()).toBeUndefined();
      on.view.set(type, 'a', '1');
      expect(on.next()).toEqual(['a@1']);
      on.request({ nonce: 'n2' });
      on.view.set(type, 'a', { kind: 'refused', code: 'PERMISSION_DENIED', reason: 'no longer' });
      expect(on.response()).toMatchObject({ removed: ['a'], errors: [{ name: 'a', reason: 'no longer' }] });
    },
  );
});

describe('delta: wildcard', () => {
  it('takes a first request without names as the wildcard, keeps it beside names, and ends it by "*"', () => {
    const on = new Driver(CLUSTER, ['w']);
    for (const name of ['w', 'a']) on.view.set(CLUSTER, name, '1');
    on.request({});
    expect(on.next()).toEqual(['w@1']);
    on.request({ add: ['a'], nonce: 'n1' });
    expect(on.next()).toEqual(['a@1']);
    on.request({ drop: ['*'], nonce: 'n2' });
    expect(on.machine.status()).toMatchObject({ wildcard: false, names: ['a'] });
    on.view.set(CLUSTER, 'w', '2');
    expect(on.next()).toBeUndefined();
    on.request({ drop: ['a'] });
    on.request({});
    expect(on.machine.status()).toMatchObject({ wildcard: false, names: [] });
  });

  it('follows what the wildcard covers: added, changed, removed', () => {
    const on = new Driver(CLUSTER, ['w']);
    on.view.set(CLUSTER, 'w', '1');
    on.request({ add: ['*'] });
    on.next();
    on.request({ nonce: 'n1' });
    on.view.wildcards.set(CLUSTER, ['w', 'v']);
    on.view.set(CLUSTER, 'v', '1');
    expect(on.next()).toEqual(['v@1']);
    on.request({ nonce: 'n2' });
    on.view.wildcards.set(CLUSTER, ['v']);
    on.view.set(CLUSTER, 'w', { kind: 'absent' });
    expect(on.next()).toEqual(['-w']);
    on.request({ nonce: 'n3' });
    on.view.notify({ typeUrl: CLUSTER });
    expect(on.next()).toBeUndefined();
  });

  it('answers the end of a name under a wildcard: with the resource if covered, else as removed', () => {
    const on = new Driver(CLUSTER, ['w']);
    for (const name of ['w', 'a']) on.view.set(CLUSTER, name, '1');
    on.request({ add: ['*', 'w', 'a'] });
    expect(on.next()).toEqual(['w@1', 'a@1']);
    on.request({ drop: ['w', 'a'], nonce: 'n1' });
    expect(on.next()).toEqual(['w@1', '-a']);
  });

  it('tells a returning client what the wildcard no longer covers', () => {
    const on = new Driver(CLUSTER, ['w']);
    on.view.set(CLUSTER, 'w', '1');
    on.request({ held: { w: '1', old: '3' } });
    expect(on.next()).toEqual(['-old']);
  });

  it('takes "*" as an ordinary name where the type has no wildcard', () => {
    const on = new Driver(ROUTE);
    on.request({ add: ['*'] });
    expect(on.next()).toEqual(['-*']);
  });
});
