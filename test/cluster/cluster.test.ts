import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { root } from '../harness/paths.ts';
import { waitFor } from '../harness/wait.ts';
import { at, firstEvents, type KubeObject } from './api-client.ts';
import { TestCluster } from './cluster.ts';
import { hostAddress } from './host-address.ts';
import { refusingWebhook } from './webhook.ts';

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

  it('a pod that is deleted with time to end in stays, terminating, until it is deleted without', async () => {
    const { operator, make } = cluster;
    await make.pod({ namespace: 'shop', name: 'ending', node: 'node-1', ips: ['127.1.2.5'] });
    const path = at('pods', 'shop', 'ending');
    await operator.delete(path, 30);
    expect((await operator.get(path)).metadata.deletionTimestamp).toBeDefined();
    await operator.delete(path);
    await expect(operator.get(path)).rejects.toMatchObject({ reason: 'NotFound' });
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
    await cluster.make.pod({ namespace: 'shop', name: 'short', serviceAccount: 'web', node: 'node-1' });
    const account = { namespace: 'shop', serviceAccount: 'web', audiences: ['countersign'] };
    const seen = await cluster.token({ ...account, pod: 'short' });
    // Another one: what was reviewed is reviewed no more for 10 s.
    const unseen = await cluster.token({ ...account, pod: 'short', ttlSeconds: 1_200 });
    expect(await cluster.review(seen, ['countersign'])).toMatchObject({ authenticated: true });
    await cluster.operator.delete(at('pods', 'shop', 'short'));
    await waitFor('the token to be refused', async () => {
      return (await cluster.review(unseen, ['countersign'])).authenticated ? undefined : true;
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
    const watched = firstEvents(cluster.operator, rules, 2, { resourceVersion: metadata.resourceVersion! });
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
      await cluster.operator.create(at(webhooks), {
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
      await cluster.operator.delete(at(webhooks, undefined, 'judge'));
    } finally {
      webhook.close();
    }
  });

  it('has ClusterTrustBundles', async () => {
    expect(await cluster.operator.list(at('certificates.k8s.io/v1beta1/clustertrustbundles'))).toEqual([]);
  });

  it('counts in its audit log who asked for what', async () => {
    const sinceMs = Date.now();
    const client = cluster.clientWith(await cluster.token({ namespace: 'shop', serviceAccount: 'default' }));
    for (let i = 0; i < 3; i += 1) {
      await expect(client.list(at('secrets', 'shop'))).rejects.toMatchObject({ reason: 'Forbidden' });
    }
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

const webhooks = 'admissionregistration.k8s.io/v1/validatingwebhookconfigurations';

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
