import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Authority, memoryKeyStore, parseStored, type KeyStore } from '../authority/index.ts';
import { SpiffeId, TrustDomain } from '../identity/index.ts';
import { ApiServer } from '../kubernetes/index.ts';
import { FakeApiServer, type Asked } from '../kubernetes/testing.ts';
import { RootSecret } from './root-secret.ts';
import { ObjectShelf } from './testing.ts';

const trustDomain = TrustDomain.parse('cluster.local');
const secretPath = '/api/v1/namespaces/home/secrets/countersign-root';
const bundlePath = '/api/v1/namespaces/home/configmaps/countersign-trust-bundle';
const web = SpiffeId.workload(trustDomain, 'shop', 'web');

let fake: FakeApiServer;
let shelf: ObjectShelf;
let told: string[];
let access: Awaited<ReturnType<FakeApiServer['start']>>;
const apis: ApiServer[] = [];

beforeEach(async () => {
  fake = new FakeApiServer();
  shelf = new ObjectShelf();
  fake.answer = shelf.answer;
  access = await fake.start();
  told = [];
});
afterEach(async () => {
  for (const api of apis.splice(0)) await api.close();
  await fake.stop();
});

function secret(copy: KeyStore = memoryKeyStore(), patienceMs = 0): RootSecret {
  const api = new ApiServer({ access });
  apis.push(api);
  return new RootSecret({
    api,
    mark: { trustDomain: trustDomain.name, namespace: 'home' },
    copy,
    signal: new AbortController().signal,
    monotonicMs: () => performance.now(),
    random: () => 0.5,
    onAway: () => told.push('away'),
    onCopyServes: () => told.push('copy'),
    onCopyFailed: (error) => told.push(`copy failed: ${String(error)}`),
    times: { patienceMs, retryMs: 2 },
  });
}
async function open(store: KeyStore): Promise<Authority> {
  return await Authority.open({ store, trustDomain, nowMs: Date.now, svidTtlMs: 3_600_000 });
}

function code(expected: string): object {
  return expect.objectContaining({ code: expected }) as object;
}

describe('the Secret with the root', () => {
  it('is one, however many replicas start at once', async () => {
    // Each is told that there is none before any of them makes one.
    const waiting: Asked[] = [];
    fake.answer = (asked) => {
      if (asked.path !== secretPath || waiting.length === 3) shelf.answer(asked);
      else if (waiting.push(asked) === 3) for (const one of waiting) shelf.answer(one);
    };
    const stores = [secret(), secret(), secret()];
    const [first, ...others] = await Promise.all(stores.map(open));
    for (const other of others) expect(other.bundle.toPem()).toBe(first!.bundle.toPem());
    expect(fake.requests.filter((line) => line.startsWith('POST'))).toHaveLength(3);
  });

  it('is not made anew where a bundle or a copy says that there was one', async () => {
    shelf.put(bundlePath, { metadata: { name: 'countersign-trust-bundle' } });
    await expect(open(secret())).rejects.toEqual(code('root-lost'));
    shelf.objects.clear();
    const copy = memoryKeyStore();
    await open(copy);
    await expect(open(secret(copy))).rejects.toEqual(code('root-lost'));
    expect(fake.requests.filter((line) => line.startsWith('POST'))).toEqual([]);
  });

  it('is made where the bundle is that of another mesh', async () => {
    const annotations = { 'countersign.dev/trust-domain': 'other.example' };
    shelf.put(bundlePath, { metadata: { name: 'countersign-trust-bundle', ...{ annotations } } });
    await open(secret());
    expect(shelf.objects.has(secretPath)).toBe(true);
  });

  it('keeps a step only where nobody was first, with the labels and type that it had', async () => {
    const one = await open(secret());
    const two = await open(secret());
    await one.prepareRotation();
    await expect(two.prepareRotation()).rejects.toEqual(code('store-conflict'));
    expect(two.rotation.step).toBe('steady');
    const kept = shelf.objects.get(secretPath)!;
    shelf.put(secretPath, { ...kept, metadata: { ...kept.metadata, ...{ labels: { theirs: 'x' } } } });
    const three = await open(secret());
    await three.activateRotation();
    expect(shelf.objects.get(secretPath)).toMatchObject({
      type: 'countersign.dev/root',
      metadata: { labels: { theirs: 'x' } },
    });
    shelf.objects.delete(secretPath);
    await expect(three.abortRotation(true)).rejects.toEqual(code('store-conflict'));
  });

  it('need not be there while the API server is away, where a copy is', async () => {
    const copy = memoryKeyStore();
    const before = await open(secret(copy));
    expect(before.issue(web).chain).toHaveLength(2);
    fake.answer = ({ json }) => json({ message: 'starting' }, 503);
    const again = await open(secret(copy));
    expect(again.bundle.toPem()).toBe(before.bundle.toPem());
    expect(told).toEqual(['away', 'copy']);
  });

  it('nor while the API server takes connections and never answers', async () => {
    const copy = memoryKeyStore();
    const before = await open(secret(copy));
    fake.answer = () => {};
    const again = await open(secret(copy));
    expect(again.bundle.toPem()).toBe(before.bundle.toPem());
    expect(told).toEqual(['away', 'copy']);
  });

  it('is waited for where there is no copy', async () => {
    let asked = 0;
    fake.answer = (one) => {
      asked += 1;
      if (asked > 3) shelf.answer(one);
      else one.json({ message: 'starting' }, 503);
    };
    await open(secret());
    expect(told).toEqual(['away']);
  });

  it('is refused where it may not be read, and where it is older than the copy', async () => {
    fake.answer = ({ json }) => json({ message: 'no' }, 403);
    await expect(open(secret())).rejects.toEqual(code('store-unreadable'));
    fake.answer = shelf.answer;
    const copy = memoryKeyStore();
    const authority = await open(secret(copy));
    const old = shelf.objects.get(secretPath)!;
    await authority.prepareRotation();
    shelf.put(secretPath, old);
    await expect(open(secret(copy))).rejects.toEqual(code('root-outdated'));
  });

  it('without its content, or with another, is refused and not replaced', async () => {
    const store = secret();
    await open(store);
    const object = (data: object): object => ({ metadata: { resourceVersion: '900' }, data });
    expect(() => store.read(object({}) as never, true)).toThrow(code('store-corrupted'));
    const text = Buffer.from('{"format":2}').toString('base64');
    expect(() => store.read(object({ 'authority.json': text }) as never, true)).toThrow(/is damaged/u);
    const older = { metadata: { resourceVersion: '1' }, data: {} };
    expect(store.read(older, false)).toBeUndefined();
    const kept = shelf.objects.get(secretPath) as unknown as { data: Record<string, string> };
    const stored = Buffer.from(kept.data['authority.json']!, 'base64').toString();
    expect(parseStored(stored, 'it').trustDomain).toBe('cluster.local');
  });
});
