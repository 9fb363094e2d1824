import * as grpc from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import {
  ADS,
  ADS_DELTA,
  CLUSTER,
  ECDS_DELTA,
  EXTENSION,
  FakeTimers,
  FakeView,
  LIMITS,
  RawClient,
  SDS,
  SDS_DELTA,
  SECRET,
  XdsClient,
  eventually,
  resource,
  serve,
  sessionOf,
} from './testing.ts';
import type { TestServer } from './testing.ts';
import type { Credentials, Session, StreamEnd } from './types.ts';

let server: TestServer | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
});

const bearer = (value: string): grpc.Metadata => {
  const metadata = new grpc.Metadata();
  metadata.set('authorization', value);
  return metadata;
};

/** Names on all streams. */
function subscribed(): number {
  const types = server?.discovery.streams().flatMap((stream) => stream.types) ?? [];
  return types.reduce((sum, { names }) => sum + names.length, 0);
}

describe('services', () => {
  it('serves a secret over ADS in state of the world, takes the ACK, and pushes its change', async () => {
    const view = new FakeView();
    view.set(SECRET, 'default', '1');
    server = await serve(() => sessionOf(view));
    const xds = new XdsClient(server.client(), ADS);
    xds.send({ node: { id: 'envoy-1' }, type_url: SECRET, resource_names: ['default'] });
    const first = await xds.next();
    expect(first).toMatchObject({ version_info: '1', type_url: SECRET, nonce: '1' });
    expect(Buffer.from(first.resources[0]!.value).toString()).toBe('default@1');
    xds.send({ type_url: SECRET, resource_names: ['default'], response_nonce: '1', version_info: '1' });
    view.set(SECRET, 'default', '2');
    expect(await xds.next()).toMatchObject({ version_info: '2', nonce: '2' });
    expect(server.discovery.streams()).toMatchObject([
      {
        client: 'shop/web',
        nodeId: 'envoy-1',
        method: 'StreamAggregatedResources',
        types: [{ typeUrl: SECRET, names: ['default'], resources: [{ version: '2', running: '1' }] }],
      },
    ]);
  });

  it('serves filters over delta ECDS without a type_url, names what is gone', async () => {
    const view = new FakeView();
    view.set(EXTENSION, 'deny', '1');
    server = await serve(() => sessionOf(view));
    const xds = new XdsClient(server.client(), ECDS_DELTA);
    xds.send({ resource_names_subscribe: ['deny', 'allow'] });
    const first = await xds.next();
    expect(first.resources).toMatchObject([
      { name: 'deny', version: '1', resource: { type_url: EXTENSION } },
    ]);
    expect(first.resource_errors).toMatchObject([
      { resource_name: { name: 'allow' }, error_detail: { code: 5 } },
    ]);
    xds.send({ response_nonce: first.nonce });
    view.set(EXTENSION, 'deny', { kind: 'absent' });
    expect(await xds.next()).toMatchObject({ removed_resources: ['deny'] });
  });

  it('tells both variants which name it refuses, on a stream that lives on', async () => {
    const view = new FakeView();
    view.set(SECRET, 'other', { kind: 'refused', code: 'PERMISSION_DENIED', reason: "another's" });
    view.set(SECRET, 'default', '1');
    server = await serve(() => sessionOf(view));
    const error = { resource_name: { name: 'other' }, error_detail: { code: 7, message: "another's" } };
    const sotw = new XdsClient(server.client(), SDS);
    sotw.send({ resource_names: ['default', 'other'] });
    expect(await sotw.next()).toMatchObject({ resource_errors: [error], resources: [{}] });
    const delta = new XdsClient(server.client(), ADS_DELTA);
    delta.send({ type_url: SECRET, resource_names_subscribe: ['default', 'other'] });
    expect(await delta.next()).toMatchObject({
      resource_errors: [error],
      removed_resources: [],
      resources: [{ name: 'default' }],
    });
  });

  it('answers what was asked before the client closed its side, then ends with OK', async () => {
    const view = new FakeView();
    view.set(SECRET, 'default', '1');
    server = await serve(() => sessionOf(view));
    const xds = new XdsClient(server.client(), SDS);
    xds.send({ resource_names: ['default'] });
    xds.call.end();
    expect(await xds.next()).toMatchObject({ version_info: '1' });
    expect(await xds.end()).toMatchObject({ code: grpc.status.OK });
  });

  it('sends all changes of one tick together, a type after the other by the given order', async () => {
    const view = new FakeView();
    const order = (typeUrl: string): number => (typeUrl === SECRET ? 0 : 1);
    server = await serve(() => sessionOf(view), { order });
    const xds = new XdsClient(server.client(), ADS);
    xds.send({ type_url: EXTENSION, resource_names: ['deny'] });
    xds.send({ type_url: SECRET, resource_names: ['default', 'ROOTCA'] });
    await eventually(() => subscribed() === 3);
    view.set(EXTENSION, 'deny', '1');
    view.set(SECRET, 'default', '1');
    view.set(SECRET, 'ROOTCA', '1');
    expect(await xds.next()).toMatchObject({ type_url: SECRET, resources: [{}, {}] });
    expect(await xds.next()).toMatchObject({ type_url: EXTENSION, resources: [{}] });
  });

  it('tells its observer once a response of all names that it refused', async () => {
    const view = new FakeView();
    for (const name of ['a', 'b', 'c']) {
      view.set(SECRET, name, { kind: 'refused', code: 'PERMISSION_DENIED', reason: `not ${name}` });
    }
    const told: unknown[] = [];
    server = await serve(() => sessionOf(view), {
      observer: {
        refused: ({ client, typeUrl, names }) =>
          void told.push([client, typeUrl, names.map(({ name, reason }) => `${name}: ${reason}`)]),
      },
    });
    const xds = new XdsClient(server.client(), SDS_DELTA);
    xds.send({ resource_names_subscribe: ['a', 'b', 'c', 'absent'] });
    await xds.next();
    expect(told).toEqual([['shop/web', SECRET, ['a: not a', 'b: not b', 'c: not c']]]);
  });

  it('flushes the streams of one client in one turn, however many others are due', async () => {
    const shared = new FakeView();
    const views = [...Array.from({ length: 31 }, () => new FakeView()), shared, shared];
    let turn = 0;
    const turns = new Map<string, Set<number>>();
    server = await serve(({ bearer: at }) => sessionOf(views[Number(at)]!, at), {
      soon: (run) =>
        void setImmediate(() => {
          turn += 1;
          run();
        }),
      observer: {
        pushed: ({ client }) => void turns.set(client, (turns.get(client) ?? new Set()).add(turn)),
      },
    });
    const client = server.client();
    const streams = views.map((view, at) => {
      const xds = new XdsClient(client, SDS, bearer(`Bearer ${Math.min(at, 31)}`));
      xds.send({ resource_names: [view === shared ? `of ${at}` : 'default'] });
      return xds;
    });
    await eventually(() => subscribed() === views.length);
    for (const view of views) for (const name of ['default', 'of 31', 'of 32']) view.set(SECRET, name, '1');
    await Promise.all(streams.map((xds) => xds.next()));
    expect(new Set([...turns.values()].flatMap((of) => [...of])).size, 'more than one turn').toBe(2);
    expect(turns.get('31')?.size).toBe(1);
  });

  it('has no one-time fetch, and says what to use', async () => {
    server = await serve(() => sessionOf(new FakeView()));
    const same = (bytes: Buffer): Buffer => bytes;
    const path = SDS.replace('StreamSecrets', 'FetchSecrets');
    const client = server.client();
    const error = await new Promise<grpc.ServiceError | null>((resolve) => {
      client.makeUnaryRequest(path, same, same, Buffer.alloc(0), (failure) => resolve(failure));
    });
    expect(error).toMatchObject({
      code: grpc.status.UNIMPLEMENTED,
      details: expect.stringContaining('stream'),
    });
  });
});

describe('admission', () => {
  it('hands bearer and peer address to the authenticator, before any request', async () => {
    const seen: Credentials[] = [];
    server = await serve((credentials) => {
      seen.push(credentials);
      return sessionOf(new FakeView());
    });
    const xds = new XdsClient(server.client(), ADS, bearer('Bearer t0ken'));
    await eventually(() => seen.length === 1);
    expect(seen).toEqual([{ bearer: 't0ken', peerAddress: '127.0.0.1' }]);
    xds.call.cancel();
  });

  it('passes a refusal on as it is and looks at no request', async () => {
    const end: StreamEnd = { code: 'UNAUTHENTICATED', message: 'token refused' };
    server = await serve(() => sessionOf(new FakeView()), {
      authenticator: { admit: async () => ({ ok: false, end }) },
    });
    const xds = new XdsClient(server.client(), ADS);
    xds.call.write(Buffer.from('garbage'));
    expect(await xds.end()).toMatchObject({ code: grpc.status.UNAUTHENTICATED, details: 'token refused' });
    expect(server.discovery.streams()).toEqual([]);
  });

  it('answers UNAVAILABLE, without detail, when the authenticator fails, and reports the error', async () => {
    const failures: unknown[] = [];
    server = await serve(() => sessionOf(new FakeView()), {
      authenticator: { admit: () => Promise.reject(new Error('no JWKS at 10.0.0.1')) },
      observer: { failed: ({ error }) => void failures.push(error) },
    });
    const end = await new XdsClient(server.client(), ADS).end();
    expect(end.code).toBe(grpc.status.UNAVAILABLE);
    expect(end.details).not.toContain('JWKS');
    expect(failures).toEqual([new Error('no JWKS at 10.0.0.1')]);
  });

  it('tells whom it turns away when to come back', async () => {
    const end: StreamEnd = { code: 'RESOURCE_EXHAUSTED', message: 'too many', retryAfterMs: 1_500 };
    server = await serve(() => sessionOf(new FakeView()), {
      authenticator: { admit: async () => ({ ok: false, end }) },
    });
    const { code, metadata } = await new XdsClient(server.client(), ADS).end();
    expect(code).toBe(grpc.status.RESOURCE_EXHAUSTED);
    expect(metadata.get('grpc-retry-pushback-ms')).toEqual(['1500']);
  });

  it('tells the authenticator when the caller went away meanwhile, and closes the session it still gets', async () => {
    let signal: AbortSignal | undefined;
    let finish: (() => void) | undefined;
    let closed = 0;
    const session: Session = { ...sessionOf(new FakeView()), closed: () => void (closed += 1) };
    server = await serve(() => session, {
      authenticator: {
        admit: (_credentials, given) => {
          signal = given;
          return new Promise((resolve) => (finish = (): void => resolve({ ok: true, session })));
        },
      },
    });
    const xds = new XdsClient(server.client(), ADS);
    await eventually(() => signal !== undefined);
    xds.call.cancel();
    await eventually(() => signal?.aborted === true);
    finish?.();
    await eventually(() => closed === 1);
    expect(server.discovery.streams()).toEqual([]);
  });

  it('bounds the streams of one client, not of others, and counts a stream until it is gone', async () => {
    let closed = 0;
    server = await serve(
      ({ bearer: client = '' }) => ({
        ...sessionOf(new FakeView(), client),
        closed: () => void (closed += 1),
      }),
      { limits: { ...LIMITS, maxStreamsPerClient: 1 } },
    );
    const client = server.client();
    const open = (name: string): XdsClient => new XdsClient(client, ADS, bearer(`Bearer ${name}`));
    const first = open('a');
    await eventually(() => server?.discovery.streams().length === 1);
    const end = await open('a').end();
    expect(end).toMatchObject({ code: grpc.status.RESOURCE_EXHAUSTED });
    expect(end.details).toContain('1 streams already');
    expect(closed).toBe(1);
    open('b');
    await eventually(() => server?.discovery.streams().length === 2);
    first.call.cancel();
    await eventually(() => closed === 2);
    open('a');
    await eventually(() => server?.discovery.streams().length === 2);
  });
});

describe('bad input', () => {
  const endOf = async (path: string, ...requests: (Record<string, unknown> | Buffer)[]): Promise<number> => {
    server = await serve(() => sessionOf(new FakeView()));
    const xds = new XdsClient(server.client(), path);
    for (const request of requests) {
      if (Buffer.isBuffer(request)) xds.call.write(request);
      else xds.send(request);
    }
    const end = await xds.end();
    expect(server.discovery.streams()).toEqual([]);
    return end.code;
  };

  it('ends a stream of garbage with INVALID_ARGUMENT', async () => {
    expect(await endOf(ADS, Buffer.from([0xff, 0xff, 0xff]))).toBe(grpc.status.INVALID_ARGUMENT);
  });

  it('ends a request over the size limit with RESOURCE_EXHAUSTED', async () => {
    const huge = Buffer.alloc(LIMITS.maxMessageBytes + 1);
    expect(await endOf(ADS_DELTA, huge)).toBe(grpc.status.RESOURCE_EXHAUSTED);
  });

  it('needs a type_url on an aggregated stream', async () => {
    expect(await endOf(ADS, { resource_names: ['a'] })).toBe(grpc.status.INVALID_ARGUMENT);
  });

  it('serves no other type on a single-type service', async () => {
    expect(await endOf(SDS_DELTA, { type_url: CLUSTER })).toBe(grpc.status.INVALID_ARGUMENT);
  });

  it('bounds the names of a stream over all types, and lets go of those it had', async () => {
    const view = new FakeView();
    server = await serve(() => sessionOf(view));
    const xds = new XdsClient(server.client(), ADS_DELTA);
    const names = (prefix: string, count: number): string[] =>
      Array.from({ length: count }, (_, index) => `${prefix}${index}`);
    xds.send({ type_url: SECRET, resource_names_subscribe: names('s', 30) });
    await eventually(() => subscribed() === 30);
    xds.send({ type_url: EXTENSION, resource_names_subscribe: names('e', 21) });
    expect(await xds.end()).toMatchObject({
      code: grpc.status.RESOURCE_EXHAUSTED,
      details: 'this stream subscribes to 51 names; at most 50 are allowed',
    });
    expect(view.listeners.size).toBe(0);
  });

  it('bounds the types of a stream', async () => {
    const requests = Array.from({ length: 33 }, (_, index) => ({ type_url: `t${index}` }));
    expect(await endOf(ADS, ...requests)).toBe(grpc.status.RESOURCE_EXHAUSTED);
  });

  it('ends only the stream whose view throws, and reports it', async () => {
    const good = new FakeView();
    good.set(SECRET, 'default', '1');
    const bad = new FakeView();
    bad.lookup = (): never => {
      throw new Error('bug');
    };
    const failures: unknown[] = [];
    server = await serve(({ bearer: client }) => sessionOf(client === 'bad' ? bad : good), {
      observer: { failed: ({ error }) => void failures.push(error) },
    });
    const client = server.client();
    const victim = new XdsClient(client, SDS, bearer('Bearer bad'));
    victim.send({ resource_names: ['default'] });
    expect(await victim.end()).toMatchObject({ code: grpc.status.UNAVAILABLE });
    const other = new XdsClient(client, SDS, bearer('Bearer good'));
    other.send({ resource_names: ['default'] });
    expect(await other.next()).toMatchObject({ version_info: '1' });
    expect(failures).toEqual([new Error('bug')]);
  });
});

describe('a client that does not read', () => {
  it('holds one response, not one per change; reads the newest state next; is reset if it must go', async () => {
    const view = new FakeView();
    const big = (version: string): void => {
      const body = Buffer.alloc(300_000);
      view.set(SECRET, 'big', { kind: 'found', resource: resource(SECRET, 'big', version, body) });
    };
    big('1');
    let pushed = 0;
    const acked: string[] = [];
    const timers = new FakeTimers();
    const revoked = new AbortController();
    server = await serve(() => ({ ...sessionOf(view), revoked: revoked.signal }), {
      observer: { pushed: () => void (pushed += 1), acked: ({ nonce }) => void acked.push(nonce) },
      after: timers.after,
    });
    const raw = new RawClient(server.port, ADS_DELTA);
    raw.send({ type_url: SECRET, resource_names_subscribe: ['big'] });
    await eventually(() => pushed === 1);
    // It answers what it has not read, to have more sent: the window is still full, so nothing is.
    raw.send({ type_url: SECRET, response_nonce: '1' });
    await eventually(() => acked.length === 1);
    for (let change = 2; change < 50; change += 1) {
      big(String(change));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(pushed).toBe(1);
    raw.read();
    await eventually(() => raw.received.length === 2);
    expect(raw.received.map(({ resources }) => resources[0]!.version)).toEqual(['1', '49']);

    raw.pause();
    raw.send({ type_url: SECRET, response_nonce: '2' });
    big('50');
    await eventually(() => pushed === 3);
    revoked.abort({ code: 'PERMISSION_DENIED', message: 'the pod is gone' } satisfies StreamEnd);
    expect(server.discovery.streams()).toEqual([]);
    expect(timers.delays).toEqual([5_000]);
    timers.fire();
    await server.discovery.stop(60_000);
    raw.close();
  });
});

describe('the end of a stream', () => {
  it('comes ahead of the expiry of its proof, by the timer', async () => {
    const timers = new FakeTimers();
    let now = 1_000_000;
    const view = new FakeView();
    server = await serve(() => sessionOf(view, 'shop/web', now + 3_600_000), {
      after: timers.after,
      nowMs: () => now,
    });
    const xds = new XdsClient(server.client(), ADS);
    await eventually(() => server?.discovery.streams().length === 1);
    const { endsAtMs } = server.discovery.streams()[0]!;
    expect(timers.delays).toEqual([endsAtMs - now]);
    now = endsAtMs;
    timers.fire();
    expect(await xds.end()).toMatchObject({
      code: grpc.status.UNAVAILABLE,
      details: 'token expires soon; reconnect with a fresh one',
    });
    expect(view.listeners.size).toBe(0);
  });

  it('comes where the time passed and no timer saw it, and not before', async () => {
    const timers = new FakeTimers();
    let now = 1_000_000;
    server = await serve(() => sessionOf(new FakeView(), 'shop/web', now + 3_600_000), {
      after: timers.after,
      nowMs: () => now,
    });
    const xds = new XdsClient(server.client(), ADS);
    await eventually(() => server?.discovery.streams().length === 1);
    server.discovery.clockMoved();
    const [stream] = server.discovery.streams();
    now = stream!.endsAtMs;
    server.discovery.clockMoved();
    expect((await xds.end()).code).toBe(grpc.status.UNAVAILABLE);
    expect(server.discovery.streams()).toEqual([]);
  });

  it('comes at once where the proof has expired already', async () => {
    server = await serve(() => sessionOf(new FakeView(), 'shop/web', Date.now() - 1));
    expect((await new XdsClient(server.client(), ADS).end()).code).toBe(grpc.status.UNAUTHENTICATED);
  });

  it('comes with the reason of a revocation, now or before the stream began', async () => {
    const revoked = new AbortController();
    const reasons: string[] = [];
    server = await serve(() => ({ ...sessionOf(new FakeView()), revoked: revoked.signal }), {
      observer: { streamClosed: ({ reason }) => void reasons.push(reason) },
    });
    const client = server.client();
    const xds = new XdsClient(client, ADS);
    await eventually(() => server?.discovery.streams().length === 1);
    revoked.abort({ code: 'PERMISSION_DENIED', message: 'the pod is gone' } satisfies StreamEnd);
    const expected = { code: grpc.status.PERMISSION_DENIED, details: 'the pod is gone' };
    expect(await xds.end()).toMatchObject(expected);
    expect(await new XdsClient(client, ADS).end()).toMatchObject(expected);
    expect(reasons).toEqual(['PERMISSION_DENIED: the pod is gone']);
  });

  it('lets go of view and session once when the client goes away', async () => {
    const view = new FakeView();
    let closed = 0;
    server = await serve(() => ({ ...sessionOf(view), closed: () => void (closed += 1) }));
    const xds = new XdsClient(server.client(), SDS);
    xds.send({ resource_names: ['a', 'b'] });
    await eventually(() => subscribed() === 2);
    xds.call.cancel();
    await eventually(() => closed > 0);
    expect(closed).toBe(1);
    expect(view.listeners.size).toBe(0);
  });

  it('comes for all on stop, with what was due, and new streams are turned away', async () => {
    const view = new FakeView();
    view.set(SECRET, 'default', '1');
    server = await serve(() => sessionOf(view));
    const client = server.client();
    const streams = [ADS, ADS_DELTA, SDS].map((path) => new XdsClient(client, path));
    await eventually(() => server?.discovery.streams().length === 3);
    await server.discovery.stop(60_000);
    for (const xds of streams) expect((await xds.end()).code).toBe(grpc.status.UNAVAILABLE);
    expect((await new XdsClient(client, ADS).end()).details).toBe('the server is stopping; reconnect');
  });
});
