import { readFileSync } from 'node:fs';
import { stringify } from 'yaml';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { at, type KubeObject } from '../cluster/api-client.ts';
import { TestCluster, type Ran } from '../cluster/cluster.ts';
import { root } from '../harness/paths.ts';
import { chart, namespace, objectsIn, only, podOf, render, type Values } from './chart.ts';

const restricted = { 'pod-security.kubernetes.io/enforce': 'restricted' };
const webhook = at(
  'admissionregistration.k8s.io/v1/validatingwebhookconfigurations',
  undefined,
  `countersign-${namespace}`,
);
const silent: Ran = { code: 0, stdout: expect.anything() as string, stderr: '' };
let cluster: TestCluster;

beforeAll(async () => {
  cluster = await TestCluster.start();
  await cluster.make.namespace(namespace, restricted);
}, 600_000);

afterAll(async () => {
  await cluster.dispose();
});

async function release(command: 'install' | 'upgrade', values: Values = {}): Promise<Ran> {
  const flags = ['--namespace', namespace, '--values', '-'];
  return await cluster.helm([command, 'countersign', chart, ...flags], stringify(values));
}

async function startPodOf(deployment: KubeObject, inNamespace: string): Promise<Ran> {
  const pod = podOf(deployment, deployment.metadata.name);
  return await cluster.kubectl(['--namespace', inNamespace, 'apply', '--filename', '-'], JSON.stringify(pod));
}

describe('helm, in a real cluster', () => {
  it('installs the chart, and says how a pod runs Envoy', async () => {
    const { code, stdout, stderr } = await release('install');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain('--control-plane countersign.countersign-system.svc:15012');
    expect(stdout).toContain(
      'serviceAccountToken: {audience: countersign, expirationSeconds: 3600, path: token}',
    );
  });

  it('changes nothing with an upgrade to the same', async () => {
    const before = await generations();
    expect(await release('upgrade')).toMatchObject({ code: 0, stderr: '' });
    expect(await generations()).toEqual(before);
  });

  it('leaves alone the caBundle that the control plane wrote', async () => {
    const { webhooks } = (await cluster.operator.get(webhook)) as unknown as { webhooks: [Hook] };
    const caBundle = Buffer.from(readFileSync(`${cluster.folder}/tls/apiserver.crt`)).toString('base64');
    const filled = webhooks.map((hook) => ({ ...hook, clientConfig: { ...hook.clientConfig, caBundle } }));
    await cluster.operator.merge(webhook, { webhooks: filled });
    const values = { webhook: { timeoutSeconds: 7 } };
    expect(await release('upgrade', values)).toMatchObject({ code: 0, stderr: '' });
    const after = (await cluster.operator.get(webhook)) as unknown as { webhooks: [Hook] };
    expect(after.webhooks[0]).toMatchObject({ timeoutSeconds: 7, clientConfig: { caBundle } });
  });

  it('refuses policies while the webhook has nobody to ask, but not those of its own namespace', async () => {
    await cluster.make.namespace('shop');
    const policy = (name: string): object => ({
      apiVersion: 'security.countersign.dev/v1',
      kind: 'AuthorizationPolicy',
      metadata: { name },
    });
    const policies = 'security.countersign.dev/v1/authorizationpolicies';
    await expect(cluster.operator.create(at(policies, 'shop'), policy('p'))).rejects.toThrow(
      /failed calling webhook/u,
    );
    await cluster.operator.create(at(policies, namespace), policy('kept'));
  });

  it('keeps the CRDs and the policies when it is uninstalled, and takes them over when it comes back', async () => {
    const { code } = await cluster.helm(['uninstall', 'countersign', '--namespace', namespace]);
    expect(code).toBe(0);
    const policies = at('security.countersign.dev/v1/authorizationpolicies', namespace);
    expect((await cluster.operator.list(policies)).map(({ metadata }) => metadata.name)).toEqual(['kept']);
    expect(await release('install')).toMatchObject({ code: 0, stderr: '' });
    expect(await cluster.operator.list(policies)).toHaveLength(1);
  });

  it('renders only what the API server takes, with everything switched on', async () => {
    const objects = await render({
      replicas: 3,
      networkPolicy: {
        metricsFrom: [{ podSelector: {} }],
        extraEgress: [{ to: [{ ipBlock: { cidr: '192.0.2.0/24' } }] }],
      },
      tolerations: [{ key: 'dedicated', operator: 'Exists' }],
      affinity: { nodeAffinity: {} },
      nodeSelector: { 'kubernetes.io/os': 'linux' },
      resources: { requests: { cpu: 1 }, limits: { memory: '2Gi' } },
    });
    const text = objects.map((object) => JSON.stringify(object)).join('\n---\n');
    const apply = ['apply', '--server-side', '--force-conflicts', '--dry-run=server', '--filename', '-'];
    expect(await cluster.kubectl(apply, text)).toMatchObject({ code: 0, stderr: '' });
  });
});

describe('pod security', () => {
  it('admits the control plane into a restricted namespace', async () => {
    expect(await startPodOf(only(await render(), 'Deployment'), namespace)).toEqual(silent);
    const pod = await cluster.operator.get(at('pods', namespace, 'countersign'));
    expect(pod['spec']).toMatchObject({ priority: 2_000_000_000, serviceAccountName: 'countersign' });
  });

  it("admits the example's pods, app and Envoy, into the restricted namespace that it makes", async () => {
    const objects = objectsIn(readFileSync(`${root}deploy/examples/shop.yaml`, 'utf8'));
    const text = objects.map((object) => JSON.stringify(object)).join('\n---\n');
    expect(await cluster.kubectl(['apply', '--filename', '-'], text)).toMatchObject({ code: 0 });
    const { metadata } = await cluster.operator.get(at('namespaces', undefined, 'shop'));
    expect(metadata.labels).toMatchObject(restricted);
    for (const name of ['web', 'cart']) {
      expect(await startPodOf(only(objects, 'Deployment', name), 'shop')).toEqual(silent);
    }
  });
});

interface Hook {
  readonly clientConfig: object;
}

/** Of whatever an upgrade could have written anew. */
async function generations(): Promise<object> {
  const paths = [
    ['apps/v1/deployments', namespace],
    ['networking.k8s.io/v1/networkpolicies', namespace],
    ['policy/v1/poddisruptionbudgets', namespace],
    ['apiextensions.k8s.io/v1/customresourcedefinitions', undefined],
  ] as const;
  const lists = await Promise.all(
    paths.map(async ([resource, where]) => await cluster.operator.list(at(resource, where))),
  );
  return Object.fromEntries(lists.flat().map(({ metadata }) => [metadata.name, metadata.generation]));
}
