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

interface Said {
  readonly containers?: boolean;
  readonly ready?: boolean;
  readonly deleted?: boolean;
}

function pod(name: string, version: number, said: Said = {}): object {
  const { containers = true, ready = containers, deleted = false } = said;
  const condition = (type: string, holds: boolean): object => ({ type, status: holds ? 'True' : 'False' });
  return {
    metadata: {
      name,
      resourceVersion: String(version),
      ...(deleted && { deletionTimestamp: '2026-01-01T00:00:00Z' }),
    },
    status: {
      phase: 'Running',
      conditions: [condition('ContainersReady', containers), condition('Ready', ready)],
    },
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
  it('are those of the own service account whose containers are ready, beside the own', async () => {
    await start(pod('me', 1), pod('other', 2), pod('starting', 3, { containers: false }));
    expect(pods.unknownSinceMs).toBe(5);
    await until('the watch', () => watch !== undefined);
    expect([pods.own, [...pods.others], pods.unknownSinceMs]).toEqual([
      'me',
      [['other', { sinceMs: 5, lost: false }]],
      undefined,
    ]);
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
      ['other', { sinceMs: 5, lost: false }],
      ['starting', { sinceMs: 9, lost: false }],
    ]);
    watch?.events(
      { type: 'MODIFIED', object: pod('other', 7, { containers: false }) },
      { type: 'DELETED', object: pod('starting', 8) },
    );
    await until('nobody', () => pods.others.size === 0);
  });

  it('are there on a node out of reach, until they are gone', async () => {
    await start(pod('other', 1), pod('another', 2, { ready: false }));
    await until('the watch', () => watch !== undefined);
    expect(pods.others.get('another')).toEqual({ sinceMs: 5, lost: true });
    clockMs = 9;
    const isLost = (): boolean => pods.others.get('other')?.lost === true;
    watch?.events({ type: 'MODIFIED', object: pod('other', 3, { ready: false }) });
    await until('the loss', isLost);
    watch?.events({ type: 'MODIFIED', object: pod('other', 4) });
    await until('the return', () => !isLost());
    watch?.events({ type: 'MODIFIED', object: pod('other', 5, { deleted: true }) });
    await until('the eviction', isLost);
    expect(pods.others.get('other')).toEqual({ sinceMs: 5, lost: true });
    watch?.events(
      { type: 'DELETED', object: pod('other', 6, { deleted: true }) },
      // It has stopped, and its node says so.
      { type: 'MODIFIED', object: pod('another', 7, { containers: false, deleted: true }) },
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
