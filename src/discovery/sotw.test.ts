import { describe, expect, it } from 'vitest';
import type { DiscoveryRequest, Outgoing } from './messages.ts';
import { SotwMachine } from './sotw.ts';
import { CLUSTER, FakeView, SECRET } from './testing.ts';

/** One type on one stream, driven by hand: nonces count up from n1. */
class Driver {
  readonly view: FakeView = new FakeView();
  readonly machine: SotwMachine;
  readonly #typeUrl: string;
  #nonce = 0;

  constructor(typeUrl: string, wildcard?: readonly string[]) {
    this.#typeUrl = typeUrl;
    if (wildcard !== undefined) this.view.wildcards.set(typeUrl, wildcard);
    this.machine = new SotwMachine(typeUrl, this.view);
    this.view.watch((change) => this.machine.changed(change.names));
  }

  request(names: readonly string[], more: Partial<DiscoveryRequest> = {}): string {
    return this.machine.receive({
      node_id: '',
      type_url: this.#typeUrl,
      version_info: '',
      resource_names: names,
      response_nonce: '',
      error_detail: undefined,
      ...more,
    }).verdict.kind;
  }

  nack(names: readonly string[], nonce: string, message = 'bad'): string {
    return this.request(names, { response_nonce: nonce, error_detail: { code: 3, message } });
  }

  /** Name@version of each resource due now; `undefined`: nothing is sent. */
  next(): readonly string[] | undefined {
    return this.response()?.resources.map(({ name, version }) => `${name}@${version}`);
  }

  response(): Outgoing | undefined {
    return this.machine.next(() => `n${(this.#nonce += 1)}`, 1000);
  }
}

describe('SotW: answers and nonces', () => {
  it('answers the first request with what exists, under a nonce and the version', () => {
    const on = new Driver(SECRET);
    on.view.set(SECRET, 'a', '1');
    on.request(['a']);
    expect(on.response()).toMatchObject({ nonce: 'n1', version: '1', typeUrl: SECRET, removed: [] });
  });

  it('sends nothing more after an ACK until something changes', () => {
    const on = new Driver(SECRET);
    on.view.set(SECRET, 'a', '1');
    on.request(['a']);
    on.next();
    expect(on.request(['a'], { response_nonce: 'n1', version_info: '1' })).toBe('ack');
    on.view.notify({ typeUrl: SECRET });
    expect(on.next()).toBeUndefined();
    on.view.set(SECRET, 'a', '2');
    expect(on.next()).toEqual(['a@2']);
  });

  it('keeps a NACK and does not repeat what was rejected until it changes', () => {
    const on = new Driver(SECRET);
    on.view.set(SECRET, 'a', '1');
    on.request(['a']);
    on.next();
    expect(on.nack(['a'], 'n1', 'no such curve')).toBe('nack');
    on.view.notify({ typeUrl: SECRET });
    expect(on.next()).toBeUndefined();
    expect(on.machine.status()).toMatchObject({
      state: 'nacked',
      rejection: 'no such curve',
      resources: [{ name: 'a', version: '1', running: undefined, acknowledged: false }],
    });
    on.view.set(SECRET, 'a', '2');
    expect(on.next()).toEqual(['a@2']);
    on.request(['a'], { response_nonce: 'n2' });
    expect(on.machine.status()).toMatchObject({ state: 'acked', rejection: undefined });
  });

  it('detects a NACK by error_detail alone, not by the version', () => {
    const on = new Driver(SECRET);
    on.view.set(SECRET, 'a', '1');
    on.request(['a']);
    on.next();
    expect(on.request(['a'], { response_nonce: 'n1', version_info: 'of before' })).toBe('ack');
  });

  it('ignores a request with a stale nonce, names and all', () => {
    const on = new Driver(SECRET);
    on.view.set(SECRET, 'a', '1');
    on.view.set(SECRET, 'b', '1');
    on.request(['a']);
    on.next();
    expect(on.request(['a', 'b'])).toBe('stale');
    expect([...on.machine.names]).toEqual(['a']);
    expect(on.request(['a', 'b'], { response_nonce: 'n1' })).toBe('ack');
    expect(on.next()).toEqual(['b@1']);
  });

  it('takes the nonce of an earlier stream on the first request for nothing', () => {
    const on = new Driver(SECRET);
    on.view.set(SECRET, 'a', '1');
    on.request(['a'], { response_nonce: '77', version_info: '1' });
    expect(on.next()).toEqual(['a@1']);
  });

  it('has at most one response unanswered, and then sends the latest state only', () => {
    const on = new Driver(SECRET);
    on.view.set(SECRET, 'a', '1');
    on.request(['a']);
    on.next();
    for (const version of ['2', '3', '4']) {
      on.view.set(SECRET, 'a', version);
      expect(on.next()).toBeUndefined();
    }
    on.request(['a'], { response_nonce: 'n1' });
    expect(on.next()).toEqual(['a@4']);
  });

  it('counts one answer a response: the same nonce again is a subscription', () => {
    const on = new Driver(SECRET);
    on.view.set(SECRET, 'a', '1');
    on.request(['a']);
    on.next();
    on.request(['a'], { response_nonce: 'n1' });
    expect(on.request(['a'], { response_nonce: 'n1' })).toBe('none');
  });
});

describe('SotW: subscriptions of a type without wildcard', () => {
  it('sends only what is new when names are added, again when they come back', () => {
    const on = new Driver(SECRET);
    for (const name of ['a', 'b']) on.view.set(SECRET, name, '1');
    on.request(['a']);
    on.next();
    on.request(['a', 'b'], { response_nonce: 'n1' });
    expect(on.next()).toEqual(['b@1']);
    on.request(['b'], { response_nonce: 'n2' });
    expect(on.next()).toBeUndefined();
    on.request(['a', 'b'], { response_nonce: 'n2' });
    expect(on.next()).toEqual(['a@1']);
  });

  it('takes no names as no subscription', () => {
    const on = new Driver(SECRET);
    on.view.set(SECRET, 'a', '1');
    on.request([]);
    on.view.notify({ typeUrl: SECRET });
    expect(on.next()).toBeUndefined();
  });

  it('waits in silence for a name that does not exist, and sends it once it does', () => {
    const on = new Driver(SECRET);
    on.request(['a']);
    expect(on.next()).toBeUndefined();
    on.view.set(SECRET, 'a', { kind: 'pending' });
    expect(on.next()).toBeUndefined();
    on.view.set(SECRET, 'a', '1');
    expect(on.next()).toEqual(['a@1']);
  });

  it('sends a resource that went and came back unchanged', () => {
    const on = new Driver(SECRET);
    on.view.set(SECRET, 'a', '1');
    on.request(['a']);
    on.next();
    on.request(['a'], { response_nonce: 'n1' });
    on.view.set(SECRET, 'a', { kind: 'absent' });
    expect(on.next()).toBeUndefined();
    on.view.set(SECRET, 'a', '1');
    expect(on.next()).toEqual(['a@1']);
  });

  it('names a refused name once, beside what it serves', () => {
    const on = new Driver(SECRET);
    on.view.set(SECRET, 'a', '1');
    on.view.set(SECRET, 'x', { kind: 'refused', code: 'NOT_FOUND', reason: 'unknown' });
    on.request(['a', 'x']);
    expect(on.response()).toMatchObject({
      resources: [{ name: 'a' }],
      errors: [{ name: 'x', code: 'NOT_FOUND' }],
    });
    on.request(['a', 'x'], { response_nonce: 'n1' });
    on.view.notify({ typeUrl: SECRET });
    expect(on.next()).toBeUndefined();
  });

  it('ignores changes of names that nobody asked for', () => {
    const on = new Driver(SECRET);
    on.view.set(SECRET, 'a', '1');
    on.request(['a']);
    on.next();
    on.request(['a'], { response_nonce: 'n1' });
    on.view.set(SECRET, 'b', '1');
    expect(on.next()).toBeUndefined();
  });

  it('sends the resources of a rejected batch one by one at the next change, so that one bad one stays alone', () => {
    const on = new Driver(SECRET);
    for (const name of ['bad', 'b', 'c']) on.view.set(SECRET, name, '1');
    on.request(['bad', 'b', 'c']);
    expect(on.next()).toEqual(['bad@1', 'b@1', 'c@1']);
    on.nack(['bad', 'b', 'c'], 'n1');
    expect(on.next()).toBeUndefined();
    on.view.set(SECRET, 'c', '2');
    expect(on.next()).toEqual(['c@2']);
    on.request(['bad', 'b', 'c'], { response_nonce: 'n2' });
    expect(on.next()).toEqual(['bad@1']);
    on.nack(['bad', 'b', 'c'], 'n3');
    expect(on.next()).toEqual(['b@1']);
    on.request(['bad', 'b', 'c'], { response_nonce: 'n4' });
    expect(on.next()).toBeUndefined();
    expect(on.machine.status().resources.filter((resource) => !resource.acknowledged)).toMatchObject([
      { name: 'bad' },
    ]);
  });
});

describe('SotW: a type with a wildcard is sent whole', () => {
  it('takes a first request without names as the wildcard; the same later, after names, as none', () => {
    const on = new Driver(CLUSTER, ['a', 'b']);
    for (const name of ['a', 'b', 'c']) on.view.set(CLUSTER, name, '1');
    on.request([]);
    expect(on.next()).toEqual(['a@1', 'b@1']);
    on.request(['*', 'c'], { response_nonce: 'n1' });
    expect(on.next()).toEqual(['c@1', 'a@1', 'b@1']);
    on.request(['c'], { response_nonce: 'n2' });
    expect(on.machine.status()).toMatchObject({ wildcard: false, names: ['c'] });
    on.request([], { response_nonce: 'n2' });
    expect(on.machine.status()).toMatchObject({ wildcard: false, names: [] });
    on.view.notify({ typeUrl: CLUSTER });
    expect(on.next()).toBeUndefined();
  });

  it('repeats the unchanged, as what is missing is deleted', () => {
    const on = new Driver(CLUSTER, ['a', 'b']);
    for (const name of ['a', 'b']) on.view.set(CLUSTER, name, '1');
    on.request([]);
    on.next();
    on.request([], { response_nonce: 'n1' });
    on.view.set(CLUSTER, 'a', '2');
    expect(on.next()).toEqual(['a@2', 'b@1']);
    on.request([], { response_nonce: 'n2' });
    on.view.wildcards.set(CLUSTER, ['b']);
    on.view.notify({ typeUrl: CLUSTER });
    expect(on.next()).toEqual(['b@1']);
    on.request([], { response_nonce: 'n3' });
    on.view.notify({ typeUrl: CLUSTER });
    expect(on.next()).toBeUndefined();
  });

  it('answers an empty world, so that the client can finish its start', () => {
    const on = new Driver(CLUSTER, []);
    on.request([]);
    expect(on.next()).toEqual([]);
    on.request([], { response_nonce: 'n1' });
    expect(on.next()).toBeUndefined();
  });
});
