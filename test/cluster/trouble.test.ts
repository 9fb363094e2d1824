import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { decodeProtectedHeader } from 'jose';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { at, firstEvents, type KubeObject } from './api-client.ts';
import { TestCluster } from './cluster.ts';
import { Wire } from './wire.ts';

const web = { namespace: 'shop', serviceAccount: 'web', pod: 'web-1', audiences: ['countersign'] };

let cluster: TestCluster;
let pod: KubeObject;

beforeAll(async () => {
  cluster = await TestCluster.start();
  await cluster.make.namespace('shop');
  await cluster.make.serviceAccount('shop', 'web');
  pod = await cluster.make.pod({ namespace: 'shop', name: 'web-1', serviceAccount: 'web' });
});
afterAll(async () => await cluster?.dispose());

/** Each ends with a cluster that works again. */
describe('trouble', { timeout: 120_000 }, () => {
  it('a stop of the API server, and of etcd, loses nothing', async () => {
    const { apiServer, etcd, operator } = cluster;
    await apiServer.stop();
    await expect(operator.get(at('pods', 'shop', 'web-1'))).rejects.toThrow(/ECONNREFUSED/u);
    await etcd.restart();
    await apiServer.start();
    expect((await operator.get(at('pods', 'shop', 'web-1'))).metadata.uid).toBe(pod.metadata.uid);
  });

  it('nor does a kill of both', async () => {
    const { apiServer, etcd, operator } = cluster;
    await operator.merge(at('namespaces', undefined, 'shop'), { metadata: { labels: { late: 'yes' } } });
    await Promise.all([apiServer.kill(), etcd.kill()]);
    await etcd.start();
    await apiServer.start();
    expect((await operator.get(at('namespaces', undefined, 'shop'))).metadata.labels).toMatchObject({
      late: 'yes',
    });
  });

  it('a frozen API server does not answer, and goes on where it was', async () => {
    const { apiServer, operator } = cluster;
    apiServer.freeze();
    const asked = operator.request('GET', at('pods', 'shop', 'web-1'), { timeoutMs: 500 });
    await expect(asked).rejects.toThrow(/abort|timeout/iu);
    const patient = operator.get(at('pods', 'shop', 'web-1'));
    apiServer.thaw();
    expect((await patient).metadata.uid).toBe(pod.metadata.uid);
  });

  it('with etcd frozen nothing is written, and once it goes on all is', async () => {
    const { etcd, operator } = cluster;
    etcd.freeze();
    const write = operator.request('POST', at('configmaps', 'shop'), {
      body: { metadata: { name: 'unwritten' } },
      timeoutMs: 500,
    });
    await expect(write).rejects.toThrow(/abort|timeout/iu);
    etcd.thaw();
    await operator.create(at('configmaps', 'shop'), { metadata: { name: 'written' } });
  });

  it('a wire hangs, is cut, cuts an answer short, and is mended, for its own client alone', async () => {
    const wire = await Wire.to(cluster.url);
    const account = { namespace: 'shop', serviceAccount: 'default', ttlSeconds: 600 };
    const client = cluster.clientWith(await cluster.token(account), wire.url);
    const health = async (): Promise<string> => await client.request('GET', '/readyz', { timeoutMs: 500 });
    expect(await health()).toBe('ok');
    wire.hang();
    await expect(health()).rejects.toThrow(/abort|timeout/iu);
    expect(await cluster.operator.request('GET', '/readyz')).toBe('ok');
    wire.cut();
    await expect(health()).rejects.toThrow(/socket|ECONN/u);
    wire.mend();
    expect(await health()).toBe('ok');
    wire.cutAfter(100);
    await expect(health()).rejects.toThrow(/socket|ECONN|aborted/u);
    expect(await health()).toBe('ok');
    wire.close();
  });

  it('a watch from a forgotten revision is told so', async () => {
    const configMaps = at('configmaps', 'shop');
    const { metadata } = await cluster.operator.get(configMaps);
    await cluster.operator.create(configMaps, { metadata: { name: 'newer' } });
    await cluster.etcd.compact();
    await cluster.apiServer.restart();
    const [event] = await firstEvents(cluster.operator, configMaps, 1, {
      resourceVersion: metadata.resourceVersion!,
    });
    expect(event).toMatchObject({ type: 'ERROR', object: { code: 410 } });
  });

  it('signing keys rotate: old tokens hold until their key is retired', async () => {
    const old = await cluster.token(web);
    await cluster.rotateSigningKey();
    const fresh = await cluster.token(web);
    expect(decodeProtectedHeader(fresh).kid).not.toBe(decodeProtectedHeader(old).kid);
    const { keys } = await cluster.operator.get<{ keys: { kid: string }[] }>('/openid/v1/jwks');
    expect(keys.map(({ kid }) => kid)).toEqual(
      expect.arrayContaining([decodeProtectedHeader(old).kid, decodeProtectedHeader(fresh).kid]),
    );
    expect(await cluster.review(old, ['countersign'])).toMatchObject({ authenticated: true });
    await cluster.retireOldKeys();
    expect(await cluster.review(old, ['countersign'])).toMatchObject({ authenticated: false });
    expect(await cluster.review(fresh, ['countersign'])).toMatchObject({ authenticated: true });
  });
});

it('a start that fails says why, and leaves nothing', async () => {
  const temporary = join(cluster.folder, 'temporary');
  mkdirSync(temporary);
  vi.stubEnv('TMPDIR', temporary);
  const failed = TestCluster.start({ flags: ['--no-such-flag'] });
  await expect(failed).rejects.toThrow(/kube-apiserver did not start; its log ends:[^]*no-such-flag/u);
  expect(readdirSync(temporary)).toEqual([]);
  vi.unstubAllEnvs();
});
