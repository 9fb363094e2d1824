import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  Authority,
  AuthorityError,
  memoryKeyStore,
  serializeStored,
  type KeyStore,
} from '../authority/index.ts';
import { TrustDomain } from '../identity/index.ts';
import { ApiServer } from '../kubernetes/index.ts';
import { FakeApiServer, listOf, type Opened } from '../kubernetes/testing.ts';
import { RootFollower } from './root-follower.ts';
import { RootSecret } from './root-secret.ts';

const trustDomain = TrustDomain.parse('cluster.local');

let fake: FakeApiServer;
let api: ApiServer;
let theirs: KeyStore;
let other: Authority;
let told: string[];
const stopping = new AbortController();

beforeEach(async () => {
  fake = new FakeApiServer();
  api = new ApiServer({ access: await fake.start() });
  theirs = memoryKeyStore();
  other = await open(theirs);
  told = [];
});
afterEach(async () => {
  stopping.abort();
  await api.close();
  await fake.stop();
});

async function open(store: KeyStore): Promise<Authority> {
  return await Authority.open({ store, trustDomain, nowMs: Date.now, svidTtlMs: 60_000 });
}

/** The Secret, as the other replica has kept it by now. */
async function object(version: number): Promise<object> {
  const text = serializeStored((await theirs.load())!);
  return {
    metadata: { name: 'countersign-root', resourceVersion: String(version) },
    data: { 'authority.json': Buffer.from(text).toString('base64') },
  };
}

it('takes steps over and copies them, suspends at an old copy and at none, and resumes', async () => {
  const first = await object(10);
  const store = memoryKeyStore();
  await store.save((await theirs.load())!);
  const authority = await open(store);
  const copy = memoryKeyStore();
  let watch: Opened | undefined;
  fake.answer = ({ query, json, open: head }) => {
    if (query.get('fieldSelector') !== 'metadata.name=countersign-root') json({}, 500);
    else if (query.has('watch')) watch = head();
    else json(listOf(10, [first]));
  };
  const secret = new RootSecret({
    api,
    mark: { trustDomain: trustDomain.name, namespace: 'home' },
    copy,
    signal: stopping.signal,
    monotonicMs: () => performance.now(),
    random: () => 0.5,
    onAway: () => {},
    onCopyServes: () => {},
    onCopyFailed: (error) => told.push(String(error)),
  });
  const follower = new RootFollower({
    api,
    secret,
    authority,
    random: () => 0.5,
    monotonicMs: () => performance.now(),
    observer: {
      followed: () => told.push(`followed ${authority.rotation.step}`),
      suspended: (why) => told.push(`suspended ${/old copy|is gone|has no/u.exec(why)?.[0] ?? why}`),
      resumed: () => told.push('resumed'),
      failed: ({ code }) => told.push(`failed ${code}`),
      recovered: () => told.push('recovered'),
    },
  });
  const running = follower.run(stopping.signal);
  const expectTold = async (...expected: readonly string[]): Promise<void> => {
    await vi.waitFor(() => expect(told).toEqual(expected));
    told = [];
  };
  await vi.waitFor(() => expect(watch).toBeDefined());
  await vi.waitFor(async () => expect(await copy.load()).toBeDefined());

  await other.prepareRotation();
  watch!.events({ type: 'MODIFIED', object: await object(11) });
  await expectTold('followed prepared');
  expect(authority.bundle.toPem()).toBe(other.bundle.toPem());
  expect(serializeStored((await copy.load())!) === serializeStored((await theirs.load())!)).toBe(true);

  const old = { ...first, metadata: { name: 'countersign-root', resourceVersion: '12' } };
  watch!.events({ type: 'MODIFIED', object: old });
  await expectTold('suspended old copy');
  watch!.events({ type: 'MODIFIED', object: { ...old, metadata: { resourceVersion: '13' }, data: {} } });
  await expectTold('suspended has no');
  watch!.events({ type: 'MODIFIED', object: await object(14) });
  await expectTold('resumed');
  watch!.events({ type: 'DELETED', object: await object(15) });
  await expectTold('suspended is gone');
  expect(authority.suspended).toContain('the Secret home/countersign-root is gone');
  await other.activateRotation();
  watch!.events({ type: 'ADDED', object: await object(16) });
  await expectTold('resumed', 'followed activated');
  stopping.abort();
  await running;
});

describe('what could not be taken', () => {
  let refusal: AuthorityError | undefined;
  let asked: number;
  let watch: Opened | undefined;
  let follower: RootFollower;
  let mine: AbortController;
  let running: Promise<void>;
  /** What is waited for before an answer. */
  let answering: Promise<void>;

  beforeEach(async () => {
    [asked, watch, answering] = [0, undefined, Promise.resolve()];
    const authority = {
      suspended: undefined as string | undefined,
      suspend: (why: string): void => {
        authority.suspended = why;
      },
      follow: async (): Promise<boolean> => {
        asked += 1;
        await answering;
        if (refusal !== undefined) throw refusal;
        authority.suspended = undefined;
        return true;
      },
    };
    const held = await object(10);
    fake.answer = ({ query, json, open: head }) => {
      if (query.has('watch')) watch = head();
      else json(listOf(10, [held]));
    };
    const secret = new RootSecret({
      api,
      mark: { trustDomain: trustDomain.name, namespace: 'home' },
      copy: memoryKeyStore(),
      signal: stopping.signal,
      monotonicMs: () => performance.now(),
      random: () => 0.5,
      onAway: () => {},
      onCopyServes: () => {},
      onCopyFailed: () => {},
    });
    follower = new RootFollower({
      api,
      secret,
      authority,
      random: () => 0.5,
      monotonicMs: () => performance.now(),
      observer: {
        followed: () => told.push('followed'),
        suspended: (why) => told.push(`suspended: ${/is gone/u.exec(why)?.[0] ?? why}`),
        resumed: () => told.push('resumed'),
        failed: () => {},
        recovered: () => {},
      },
      retry: { firstMs: 5, mostMs: 20 },
    });
    mine = new AbortController();
  });
  afterEach(async () => {
    mine.abort();
    await running;
  });

  async function start(refused: AuthorityError): Promise<void> {
    refusal = refused;
    running = follower.run(mine.signal);
    await vi.waitFor(() => expect(told).toEqual([`suspended: ${refused.message}`]));
    await vi.waitFor(() => expect(watch).toBeDefined());
  }

  it('is taken when what was missing is there', async () => {
    await start(new AuthorityError('ca-missing', 'no CA is at hand'));
    refusal = undefined;
    follower.again();
    await vi.waitFor(() => expect(told.slice(1)).toEqual(['resumed', 'followed']));
    follower.again();
    mine.abort();
    await running;
    expect(told).toHaveLength(3);
  });

  it.each(['signer-unavailable', 'root-expired'] as const)(
    'for the moment (%s) is tried again by itself, and told once',
    async (code) => {
      await start(new AuthorityError(code, 'not now'));
      await vi.waitFor(() => expect(asked).toBeGreaterThan(3));
      refusal = undefined;
      await vi.waitFor(() => expect(told).toEqual(['suspended: not now', 'resumed', 'followed']));
    },
  );

  it('is not taken any more when the Secret is gone', async () => {
    await start(new AuthorityError('ca-missing', 'no CA is at hand'));
    watch!.events({ type: 'DELETED', object: await object(11) });
    await vi.waitFor(() => expect(told.slice(1)).toEqual(['suspended: is gone']));
    refusal = undefined;
    follower.again();
    watch!.events({ type: 'ADDED', object: await object(12) });
    await vi.waitFor(() => expect(told.slice(2)).toEqual(['resumed', 'followed']));
    // The first one, and the one that was restored.
    expect(asked).toBe(2);
  });

  it('is not taken any more once something newer was', async () => {
    await start(new AuthorityError('ca-missing', 'no CA is at hand'));
    refusal = undefined;
    const { promise, resolve } = Promise.withResolvers<void>();
    answering = promise;
    watch!.events({ type: 'MODIFIED', object: await object(11) });
    await vi.waitFor(() => expect(asked).toBe(2));
    follower.again();
    watch!.events({ type: 'MODIFIED', object: await object(12) });
    resolve();
    await vi.waitFor(() => expect(told).toContain('resumed'));
    await vi.waitFor(() => expect(told.filter((each) => each === 'followed')).toHaveLength(2));
    expect(asked).toBe(3);
  });
});
