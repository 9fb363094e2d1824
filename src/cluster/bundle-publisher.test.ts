import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Authority, memoryKeyStore } from '../authority/index.ts';
import { TrustDomain } from '../identity/index.ts';
import { ApiServer } from '../kubernetes/index.ts';
import { FakeApiServer, listOf } from '../kubernetes/testing.ts';
import { BundlePublisher } from './bundle-publisher.ts';
import { ObjectShelf } from './testing.ts';

const trustDomain = TrustDomain.parse('cluster.local');
const group = '/apis/certificates.k8s.io';
const of = 'countersign-cluster.local';

let fake: FakeApiServer;
let shelf: ObjectShelf;
let api: ApiServer;
let authority: Authority;
let written: string[];
const served = new Set<string>();
const stopping = new AbortController();

beforeEach(async () => {
  fake = new FakeApiServer();
  shelf = new ObjectShelf();
  written = [];
  fake.answer = (asked) => {
    const { method, path, query } = asked;
    const unserved = path.startsWith(group) && ![...served].some((version) => path.includes(`/${version}/`));
    if (unserved) asked.json({ message: 'no such kind' }, 404);
    else if (method !== 'GET') shelf.answer(asked);
    else if (query.has('watch')) asked.open();
    else asked.json(listOf(100, path === '/api/v1/namespaces' ? [{ metadata: { name: 'shop' } }] : []));
  };
  api = new ApiServer({ access: await fake.start() });
  authority = await Authority.open({
    store: memoryKeyStore(),
    trustDomain,
    nowMs: Date.now,
    svidTtlMs: 60_000,
  });
});
afterEach(async () => {
  stopping.abort();
  await api.close();
  await fake.stop();
});

it('publishes to the namespaces, and to the cluster once it has ClusterTrustBundles, each change too', async () => {
  const publisher = new BundlePublisher({
    api,
    mark: { trustDomain: trustDomain.name, namespace: 'home' },
    bundle: () => authority.bundle,
    onBundleChange: (listener) => authority.onBundleChange(listener),
    onOwners: () => {},
    random: () => 0.5,
    monotonicMs: () => performance.now(),
    absentMs: 5,
    observer: {
      written: (path) => written.push(path),
      taken: (path) => written.push(`taken ${path}`),
      failed: (path) => written.push(`failed ${path}`),
      unfollowed: (path) => written.push(`unfollowed ${path}`),
      followed: () => {},
    },
  });
  const running = publisher.run(stopping.signal);
  const configMap = '/api/v1/namespaces/shop/configmaps/countersign-trust-bundle';
  await vi.waitFor(() => expect(written).toEqual([configMap]));

  served.add('v1beta1');
  const older = `${group}/v1beta1/clustertrustbundles/${of}`;
  await vi.waitFor(() => expect(written).toEqual([configMap, older]), { timeout: 5_000 });
  served.add('v1');
  const newer = `${group}/v1/clustertrustbundles/${of}`;
  await vi.waitFor(() => expect(written).toEqual([configMap, older, newer]), { timeout: 5_000 });

  written = [];
  await authority.prepareRotation();
  await vi.waitFor(() => expect(written.toSorted()).toEqual([configMap, newer].toSorted()));
  expect(shelf.objects.get(newer)).toMatchObject({ spec: { trustBundle: authority.bundle.toPem() } });
  stopping.abort();
  await running;
});
