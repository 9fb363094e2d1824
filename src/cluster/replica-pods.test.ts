import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { waitFor } from '../../test/harness/wait.ts';
import { ApiServer } from '../kubernetes/index.ts';
import { FakeApiServer, listOf, type Opened } from '../kubernetes/testing.ts';
import { ReplicaPods } from './replica-pods.ts';

let server: FakeApiServer;
let api: ApiServer;
let pods: ReplicaPods;
let told: string[];
let watch: Opened | undefined;
let clockMs: number;
let self: { body: object; status?: number };
let stop: () => Promise<void>;

const me = {
  username: 'system:serviceaccount:home:countersign',
  extra: { 'authentication.kubernetes.io/pod-name': ['me'] },
};

function pod(name: string, version: number, ready = 'True', more: object = {}): object {
  return {
    metadata: { name, resourceVersion: String(version), ...more },
    status: { phase: 'Running', conditions: [{ type: 'Ready', status: ready }] },
  };
}

async function start(...there: readonly object[]): Promise<void> {
  server.answer = (asked) => {
    if (asked.method === 'POST') asked.json(self.body, self.status ?? 201);
    else if (asked.query.has('watch')) watch = asked.open();
    else asked.json(listOf(1, there));
  };
  pods = new ReplicaPods({
    api,
    namespace: 'home',
    monotonicMs: () => clockMs,
    random: () => 0,
    onChange: () => {},
    onFailing: (what) => told.push(what),
    onRecovered: (what) => told.push(`recovered: ${what}`),
  });
  const stopping = new AbortController();
  const done = pods.run(stopping.signal);
  stop = async () => {
    stopping.abort();
    await done;
  };
}

async function until(what: string, holds: () => boolean): Promise<void> {
  await waitFor(what, () => (holds() ? true : undefined), { timeoutMs: 5_000, everyMs: 10 });
}

beforeEach(async () => {
  [told, watch, clockMs, self] = [[], undefined, 5, { body: { status: { userInfo: me } } }];
  server = new FakeApiServer();
  api = new ApiServer({ access: await server.start() });
});
afterEach(async () => {
  await stop();
  await api.close();
  await server.stop();
});

describe('the pods of the replicas', () => {
  it('are the ready ones of the own service account, beside the own', async () => {
    await start(
      pod('me', 1),
      pod('other', 2),
      pod('starting', 3, 'False'),
      pod('going', 4, 'True', { deletionTimestamp: '2026-01-01T00:00:00Z' }),
    );
    expect(pods.unknownSinceMs).toBe(5);
    await until('the watch', () => watch !== undefined);
    expect([pods.own, [...pods.others], pods.unknownSinceMs]).toEqual(['me', [['other', 5]], undefined]);
    expect(server.requests.find((each) => each.includes('/pods?'))).toContain(
      'fieldSelector=spec.serviceAccountName%3Dcountersign',
    );
    clockMs = 9;
    watch?.events(
      { type: 'MODIFIED', object: pod('starting', 5) },
      { type: 'MODIFIED', object: pod('other', 6) },
    );
    await until('both', () => pods.others.size === 2);
    expect([...pods.others]).toEqual([
      ['other', 5],
      ['starting', 9],
    ]);
    watch?.events(
      { type: 'MODIFIED', object: pod('other', 7, 'False') },
      { type: 'DELETED', object: pod('starting', 8) },
    );
    await until('nobody', () => pods.others.size === 0);
  });

  it.each([
    ['a user', { username: 'kubernetes-admin' }],
    ['a token that is bound to no pod', { ...me, extra: {} }],
    ['an account of another namespace', { ...me, username: 'system:serviceaccount:other:countersign' }],
  ])('are nobody for %s', async (_what, userInfo) => {
    self = { body: { status: { userInfo } } };
    await start();
    await until('that it is known', () => pods.unknownSinceMs === undefined);
    expect([pods.own, pods.others.size]).toEqual([undefined, 0]);
  });

  it('are not known while nobody says who this replica is', async () => {
    self = { body: { message: 'no' }, status: 403 };
    await start(pod('other', 2));
    await until('the failure', () => told.length === 1);
    expect([told, pods.unknownSinceMs]).toEqual([['who this replica is'], 5]);
    self = { body: { status: { userInfo: me } } };
    await until('the answer', () => pods.others.size === 1);
    expect(told).toEqual(['who this replica is', 'recovered: who this replica is']);
  });
});
