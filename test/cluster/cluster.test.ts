import { X509Certificate } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { TrustDomain } from '../../src/identity/index.ts';
import { FakeCa } from '../fake/ca.ts';
import { root } from '../harness/paths.ts';
import { waitFor } from '../harness/wait.ts';
import { at, type KubeObject, type WatchEvent } from './api-client.ts';
import { TestCluster } from './cluster.ts';
import { hostAddress } from './host-address.ts';
import { Wire } from './wire.ts';

let cluster: TestCluster;
let pod: KubeObject;

beforeAll(async () => {
  cluster = await TestCluster.start();
  await cluster.make.namespace('shop', { mesh: 'on' });
  await cluster.make.serviceAccount('shop', 'web');
  await cluster.make.node('node-1');
  pod = await cluster.make.pod({
    namespace: 'shop',
    name: 'web-1',
    serviceAccount: 'web',
    node: 'node-1',
    ips: ['127.1.2.3', 'fd00::3'],
    labels: { app: 'web' },
  });
});
afterAll(async () => await cluster?.dispose());

const webToken = async (audience = 'countersign'): Promise<string> =>
  await cluster.token({ namespace: 'shop', serviceAccount: 'web', pod: 'web-1', audiences: [audience] });

async function reasonOf(call: Promise<unknown>): Promise<string> {
  return await call.then(
    () => 'succeeded',
    (error: unknown) => (error as { reason?: string }).reason ?? String(error),
  );
}

/** The first events of a watch that are meant. */
async function firstEvents(path: string, count: number, query = {}): Promise<WatchEvent[]> {
  const events: WatchEvent[] = [];
  for await (const event of cluster.operator.watch(path, query)) {
    if (events.push(event) === count) break;
  }
  return events;
}

describe('the tools', () => {
  it('are of the version that the module names', async () => {
    const version = /k8s\.io\/kubernetes (v[0-9.]+)/u.exec(
      readFileSync(`${root}test/cluster/go.mod`, 'utf8'),
    )?.[1];
    const { stdout } = await cluster.kubectl(['version', '--output', 'json']);
    const versions = JSON.parse(stdout) as Record<string, { gitVersion: string }>;
    expect(versions['clientVersion']?.gitVersion).toBe(version);
    expect(versions['serverVersion']?.gitVersion).toBe(version);
  });

  it('act as an operator does: kubectl applies from stdin and reads back', async () => {
    const applied = await cluster.kubectl(
      ['apply', '-f', '-'],
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: { name: 'settings', namespace: 'shop' },
        data: { a: '1' },
      }),
    );
    expect(applied).toMatchObject({ code: 0, stdout: 'configmap/settings created\n' });
    const missing = await cluster.kubectl(['get', 'configmap', 'nothing', '-n', 'shop']);
    expect(missing).toMatchObject({ code: 1, stderr: expect.stringContaining('not found') as string });
  });

  it('install a chart: helm renders, applies and lists it', async () => {
    const chart = join(cluster.folder, 'chart');
    mkdirSync(join(chart, 'templates'), { recursive: true });
    writeFileSync(join(chart, 'Chart.yaml'), 'apiVersion: v2\nname: tiny\nversion: 0.1.0\n');
    writeFileSync(
      join(chart, 'templates', 'map.yaml'),
      'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: {{ .Release.Name }}-map }\ndata: { of: {{ .Capabilities.KubeVersion.Minor | quote }} }\n',
    );
    expect(await cluster.helm(['install', 'first', chart, '-n', 'shop'])).toMatchObject({ code: 0 });
    const map = await cluster.operator.get(at('configmaps', 'shop', 'first-map'));
    expect(map['data']).toEqual({ of: '36' });
    const { stdout } = await cluster.helm(['list', '-n', 'shop', '--short']);
    expect(stdout.trim()).toBe('first');
  });
});

describe('what the harness makes', () => {
  it('is there: a pod that runs, with its addresses and node', async () => {
    expect(pod['status']).toMatchObject({
      phase: 'Running',
      podIP: '127.1.2.3',
      podIPs: [{ ip: '127.1.2.3' }, { ip: 'fd00::3' }],
    });
    const { stdout } = await cluster.kubectl(['get', 'pods', '-n', 'shop', '-o', 'wide', '--no-headers']);
    expect(stdout).toMatch(/^web-1 .* Running .* 127\.1\.2\.3 +node-1 /u);
  });

  it('is judged by the admission plugins: no pod without its service account', async () => {
    const orphan = cluster.make.pod({ namespace: 'shop', name: 'orphan', serviceAccount: 'nobody' });
    await expect(orphan).rejects.toThrow(/serviceaccount "nobody" not found/u);
  });

  it('services with endpoints', async () => {
    const service = await cluster.make.service('shop', 'web', [{ port: 80, targetPort: 8_080 }]);
    expect((service['spec'] as { clusterIP: string }).clusterIP).toMatch(/^10\.96\./u);
    await cluster.make.endpointSlice({
      namespace: 'shop',
      service: 'web',
      endpoints: [{ ip: '10.1.2.3', pod: 'web-1', node: 'node-1' }],
      ports: [{ port: 80, targetPort: 8_080 }],
    });
    const [slice] = await cluster.operator.list(at('discovery.k8s.io/v1/endpointslices', 'shop'));
    expect(slice).toMatchObject({ endpoints: [{ addresses: ['10.1.2.3'] }], ports: [{ port: 8_080 }] });
  });
});

describe('tokens', () => {
  it('carry what a projected token carries', async () => {
    const token = await webToken();
    const account = await cluster.operator.get(at('serviceaccounts', 'shop', 'web'));
    expect(decodeProtectedHeader(token).alg).toBe('RS256');
    expect(decodeJwt(token)).toMatchObject({
      iss: cluster.issuer,
      aud: ['countersign'],
      sub: 'system:serviceaccount:shop:web',
      jti: expect.any(String) as string,
      'kubernetes.io': {
        namespace: 'shop',
        node: { name: 'node-1' },
        pod: { name: 'web-1', uid: pod.metadata.uid },
        serviceaccount: { name: 'web', uid: account.metadata.uid },
      },
    });
  });

  it('are reviewed: pod and node are told, the audience is echoed', async () => {
    const review = await cluster.review(await webToken(), ['countersign', 'other']);
    expect(review).toMatchObject({
      authenticated: true,
      audiences: ['countersign'],
      user: {
        username: 'system:serviceaccount:shop:web',
        extra: {
          'authentication.kubernetes.io/pod-name': ['web-1'],
          'authentication.kubernetes.io/pod-uid': [pod.metadata.uid],
          'authentication.kubernetes.io/node-name': ['node-1'],
          'authentication.kubernetes.io/credential-id': [expect.stringMatching(/^JTI=/u)],
        },
      },
    });
  });

  it('are refused for another audience, and once their pod is gone', async () => {
    expect(await cluster.review(await webToken('other'), ['countersign'])).toMatchObject({
      authenticated: false,
    });
    await cluster.make.pod({
      namespace: 'shop',
      name: 'short',
      serviceAccount: 'web',
      node: 'node-1',
      ips: ['127.1.2.4'],
    });
    const token = await cluster.token({
      namespace: 'shop',
      serviceAccount: 'web',
      pod: 'short',
      audiences: ['countersign'],
    });
    expect(await cluster.review(token, ['countersign'])).toMatchObject({ authenticated: true });
    await cluster.operator.delete(at('pods', 'shop', 'short'));
    await waitFor('the token to be refused', async () => {
      const review = await cluster.review(token, ['countersign']);
      return review.authenticated ? undefined : true;
    });
  });
});

describe('the API', () => {
  it('lets a service account do what RBAC gives it, and no more', async () => {
    const kubeconfig = await cluster.kubeconfigOf({ namespace: 'shop', serviceAccount: 'web' });
    const pods = ['get', 'pods', '-n', 'shop', '--kubeconfig', kubeconfig];
    expect(await cluster.kubectl(pods)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('Forbidden') as string,
    });
    await cluster.kubectl(['create', 'role', 'reader', '--verb=list', '--resource=pods', '-n', 'shop']);
    await cluster.kubectl([
      'create',
      'rolebinding',
      'web',
      '--role=reader',
      '--serviceaccount=shop:web',
      '-n',
      'shop',
    ]);
    await waitFor('the role to count', async () =>
      (await cluster.kubectl(pods)).code === 0 ? true : undefined,
    );
  });

  it('takes CRDs, whose CEL rules judge, and whose objects are watched', async () => {
    const client = cluster.operator;
    await client.create(at('apiextensions.k8s.io/v1/customresourcedefinitions'), crd);
    const rules = at('test.example/v1/rules', 'shop');
    await waitFor('the kind to be served', async () =>
      (await client.list(rules)).length === 0 ? true : undefined,
    );
    const rule = (name: string, low: number): object => ({
      apiVersion: 'test.example/v1',
      kind: 'Rule',
      metadata: { name },
      spec: { low, high: 2 },
    });
    await expect(client.create(rules, rule('wrong', 3))).rejects.toThrow(/low above high/u);
    const { metadata } = await client.get(rules);
    const watched = firstEvents(rules, 2, { resourceVersion: metadata.resourceVersion });
    await client.create(rules, rule('right', 1));
    await client.delete(`${rules}/right`);
    expect((await watched).map(({ type, object }) => [type, object.metadata.name])).toEqual([
      ['ADDED', 'right'],
      ['DELETED', 'right'],
    ]);
  });

  it('calls a webhook that is named by its service, at the endpoints of that service', async () => {
    const host = hostAddress();
    const webhook = await refusingWebhook(host, 'judge.shop.svc');
    try {
      await cluster.make.service('shop', 'judge', [{ port: 443, targetPort: webhook.port }]);
      await cluster.make.endpointSlice({
        namespace: 'shop',
        service: 'judge',
        endpoints: [{ ip: host }],
        ports: [{ port: 443, targetPort: webhook.port }],
      });
      await cluster.operator.create(at(`${admission}/validatingwebhookconfigurations`), {
        metadata: { name: 'judge' },
        webhooks: [
          {
            name: 'judge.test.example',
            clientConfig: { service: { namespace: 'shop', name: 'judge' }, caBundle: webhook.caBundle },
            rules: [{ apiGroups: [''], apiVersions: ['v1'], resources: ['secrets'], operations: ['CREATE'] }],
            sideEffects: 'None',
            admissionReviewVersions: ['v1'],
          },
        ],
      });
      const secret = { metadata: { generateName: 'secret-' } };
      await waitFor('the webhook to refuse', async () => {
        const answer = await cluster.operator.create(at('secrets', 'shop'), secret).then(() => '', String);
        return /denied the request: no secrets here/u.test(answer) ? true : undefined;
      });
    } finally {
      await cluster.operator.delete(at(`${admission}/validatingwebhookconfigurations`, undefined, 'judge'));
      webhook.close();
    }
  });

  it('has ClusterTrustBundles', async () => {
    expect(await cluster.operator.list(at('certificates.k8s.io/v1beta1/clustertrustbundles'))).toEqual([]);
  });

  it('counts in its audit log who asked for what', async () => {
    const sinceMs = Date.now();
    const client = cluster.clientWith(await cluster.token({ namespace: 'shop', serviceAccount: 'default' }));
    for (let i = 0; i < 3; i += 1)
      expect(await reasonOf(client.list(at('secrets', 'shop')))).toBe('Forbidden');
    await waitFor('three requests in the audit log', () => {
      const counts = cluster.audit.counts(
        ['user', 'userAgent', 'verb', 'resource', 'status'],
        ({ user, atMs }) => {
          return user.endsWith(':shop:default') && atMs >= sinceMs;
        },
      );
      const wanted = 'system:serviceaccount:shop:default countersign-test list secrets 403';
      return counts.size === 1 && counts.get(wanted) === 3 ? true : undefined;
    });
  });
});

/** Each ends with a cluster that works again. */
describe('trouble', () => {
  it('a stop of the API server, and of etcd, loses nothing', async () => {
    const { apiServer, etcd, operator } = cluster;
    await apiServer.stop();
    expect(await reasonOf(operator.get(at('pods', 'shop', 'web-1')))).toMatch(/ECONNREFUSED/u);
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

  it('with etcd frozen the API server is not ready, and nothing is written', async () => {
    const { etcd, operator } = cluster;
    etcd.freeze();
    const write = operator.request('POST', at('configmaps', 'shop'), {
      body: { metadata: { name: 'unwritten' } },
      timeoutMs: 500,
    });
    await expect(write).rejects.toThrow(/abort|timeout/iu);
    etcd.thaw();
    await waitFor('the API server to be ready', async () => {
      return (await operator.request('GET', '/readyz')) === 'ok' ? true : undefined;
    });
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
    const [event] = await firstEvents(configMaps, 1, { resourceVersion: metadata.resourceVersion });
    expect(event).toMatchObject({ type: 'ERROR', object: { code: 410 } });
  });

  it('signing keys rotate: old tokens hold until their key is retired', async () => {
    const old = await webToken();
    await cluster.rotateSigningKey();
    const fresh = await webToken();
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

const admission = 'admissionregistration.k8s.io/v1';

/** Refuses whatever it is asked about. */
async function refusingWebhook(
  host: string,
  name: string,
): Promise<{ port: number; caBundle: string; close: () => void }> {
  const validity = { notBeforeMs: Date.now() - 60_000, notAfterMs: Date.now() + 3_600_000 };
  const ca = await FakeCa.root(TrustDomain.parse('webhook'), validity);
  const leaf = await ca.leaf('', { ...validity, uris: [], dnsNames: [name] });
  const cert = new X509Certificate(leaf.der).toString();
  const key = leaf.privateKey.export({ type: 'pkcs8', format: 'pem' });
  const server = createServer({ cert, key }, (request, response) => {
    void text(request).then((body) => {
      const { uid } = (JSON.parse(body) as { request: { uid: string } }).request;
      const verdict = { uid, allowed: false, status: { message: 'no secrets here' } };
      response.setHeader('content-type', 'application/json');
      return response.end(
        JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response: verdict }),
      );
    });
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  return {
    port: (server.address() as { port: number }).port,
    caBundle: Buffer.from(new X509Certificate(ca.der).toString()).toString('base64'),
    close: (): void => {
      server.close();
      server.closeAllConnections();
    },
  };
}

const crd = {
  metadata: { name: 'rules.test.example' },
  spec: {
    group: 'test.example',
    scope: 'Namespaced',
    names: { plural: 'rules', singular: 'rule', kind: 'Rule' },
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        schema: {
          openAPIV3Schema: {
            type: 'object',
            properties: {
              spec: {
                type: 'object',
                properties: { low: { type: 'integer' }, high: { type: 'integer' } },
                'x-kubernetes-validations': [{ rule: 'self.low <= self.high', message: 'low above high' }],
              },
            },
          },
        },
      },
    ],
  },
};
