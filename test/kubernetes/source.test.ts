import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ApiServer, openAccess } from '../../src/kubernetes/index.ts';
import { Mesh } from '../../src/mesh/index.ts';
import type { MeshNotice } from '../../src/mesh/index.ts';
import { KubernetesSource } from '../../src/sources/kubernetes/index.ts';
import type { KubernetesReport, PolicyStatus } from '../../src/sources/kubernetes/index.ts';
import { at } from '../cluster/api-client.ts';
import { waitFor } from '../harness/wait.ts';
import { bareCrd } from './crds.ts';
import { KubernetesWorld, policy } from './world.ts';

const monotonicMs = (): number => performance.now();
const patience = { timeoutMs: 60_000 };
const toNobody = { action: 'ALLOW', rules: [] };
const denyAll = { action: 'DENY', rules: [{}] };

let world: KubernetesWorld;
let folder: string;
let mesh: Mesh;
let notices: MeshNotice[];
let reports: KubernetesReport[];
let api: ApiServer;
let source: KubernetesSource | undefined;

beforeAll(async () => {
  world = await KubernetesWorld.start();
  const { make } = world.cluster;
  await make.node('node-1');
  await make.namespace('shop', { team: 'shop' });
  await make.serviceAccount('shop', 'cart');
  await make.service('shop', 'cart', [{ name: 'http', port: 80, targetPort: 8080 }]);
  await createPod('cart-1', '10.1.0.1');
});
afterAll(async () => world.dispose());

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'countersign-source-'));
  // A test that failed halfway leaves it cut, and the others are to say nothing of that.
  world.wire.mend();
  begin();
});
afterEach(async () => {
  await end();
  rmSync(folder, { recursive: true, force: true });
});

/** As a process begins: with nothing. */
function begin(): void {
  mesh = new Mesh({ rootNamespace: 'countersign-system' });
  notices = [];
  reports = [];
  mesh.subscribe((notice) => notices.push(notice));
  api = new ApiServer({
    access: openAccess(world.kubeconfig, monotonicMs),
    times: { connectMs: 2_000, pingMs: 200, pongMs: 1_000 },
  });
}

async function end(): Promise<void> {
  await source?.close();
  source = undefined;
  await api.close();
}

async function open(): Promise<KubernetesSource> {
  source = await KubernetesSource.open({
    api,
    mesh,
    random: Math.random,
    monotonicMs,
    rootNamespace: 'countersign-system',
    stateFile: join(folder, 'mesh.json'),
    onReport: (report) => reports.push(report),
    patienceMs: 500,
    absentMs: 200,
    pageSize: 3,
    backOff: { firstMs: 50, mostMs: 500 },
  });
  return source;
}

async function createPod(name: string, ip: string): Promise<void> {
  const labels = { app: 'cart' };
  await world.cluster.make.pod({
    namespace: 'shop',
    name,
    serviceAccount: 'cart',
    node: 'node-1',
    ips: [ip],
    labels,
  });
}

async function deletePod(name: string): Promise<void> {
  await world.cluster.operator.delete(at('pods', 'shop', name));
}

async function seen(what: string, probe: () => boolean): Promise<void> {
  await waitFor(what, () => (probe() ? true : undefined), patience);
}

function statusOf(name: string, group = 'security.countersign.dev'): PolicyStatus | undefined {
  return source?.policies().find((status) => status.name === name && status.resource.endsWith(`.${group}`));
}

function policyNames(): string[] {
  return mesh
    .list('AuthorizationPolicy')
    .map(({ name }) => name)
    .sort();
}

describe('the source that watches an API server', () => {
  it('gives everything that there is as one batch, reduced to what is used', async () => {
    await world.apply(policy('first', toNobody));
    await open();
    expect(notices).toHaveLength(1);
    expect(source?.synced).toBe(true);
    expect(mesh.get('Pod', 'shop/cart-1')).toEqual({
      kind: 'Pod',
      namespace: 'shop',
      name: 'cart-1',
      uid: expect.stringMatching(/^[0-9a-f-]{36}$/u),
      labels: { app: 'cart' },
      annotations: {},
      serviceAccount: 'cart',
      nodeName: 'node-1',
      ips: ['10.1.0.1'],
      phase: 'Running',
      terminating: false,
    });
    expect(mesh.get('Service', 'shop/cart')).toMatchObject({
      selector: { app: 'cart' },
      ports: [{ name: 'http', port: 80, targetPort: 8080, protocol: 'TCP' }],
    });
    expect(mesh.get('Namespace', 'shop')?.labels).toMatchObject({ team: 'shop' });
    expect(mesh.get('ServiceAccount', 'shop/cart')?.uid).not.toBe('');
    expect(mesh.get('AuthorizationPolicy', 'shop/first')?.policy.action).toBe('ALLOW');
    await world.kubectl(['delete', '-n', 'shop', 'authorizationpolicies', 'first']);
    await seen('the policy to go', () => mesh.count('AuthorizationPolicy') === 0);
  });

  it('follows what is made, changed and deleted', async () => {
    await open();
    await createPod('cart-2', '10.1.0.2');
    await seen('the pod', () => mesh.podsByIp('10.1.0.2').length === 1);
    await world.cluster.make.podStatus('shop', 'cart-2', { ips: ['10.1.0.3'] });
    await seen('its new address', () => mesh.podsByIp('10.1.0.3').length === 1);
    // A pod on a node stays, terminating, until its kubelet says that it is gone.
    await world.cluster.operator.delete(at('pods', 'shop', 'cart-2'), 30);
    await seen('it to terminate', () => mesh.get('Pod', 'shop/cart-2')?.terminating === true);
    await deletePod('cart-2');
    await seen('it to go', () => mesh.get('Pod', 'shop/cart-2') === undefined);
  });

  it('misses nothing while it is cut off: it resumes', async () => {
    await open();
    world.wire.cut();
    await seen('the failures', () => reports.filter(({ kind }) => kind === 'failing').length >= 6);
    await createPod('cart-3', '10.1.0.3');
    await deletePod('cart-3');
    await createPod('cart-4', '10.1.0.4');
    const { length } = notices;
    expect(mesh.get('Pod', 'shop/cart-1')).toBeDefined();
    world.wire.mend();
    await seen('the pod', () => mesh.get('Pod', 'shop/cart-4') !== undefined);
    await seen('the recovery', () => reports.filter(({ kind }) => kind === 'recovered').length >= 6);
    // The one that came and went was seen too, at once or one after the other: nothing was listed anew.
    const changed = new Set(notices.slice(length).flatMap(({ changes }) => changes.map(({ key }) => key)));
    expect(['shop/cart-3 shop/cart-4', 'shop/cart-4']).toContain([...changed].join(' '));
    await deletePod('cart-4');
    await seen('it to go', () => mesh.get('Pod', 'shop/cart-4') === undefined);
  });

  it('finds what it missed when the API server has forgotten it (410)', async () => {
    await createPod('cart-5', '10.1.0.5');
    await open();
    const before = world.cluster.audit.requests(
      ({ verb, resource, userAgent }) =>
        verb === 'list' && resource === 'pods' && userAgent === 'countersign',
    ).length;
    world.wire.cut();
    await deletePod('cart-5');
    await createPod('cart-6', '10.1.0.6');
    await world.cluster.etcd.compact();
    await world.cluster.apiServer.restart();
    world.wire.mend();
    await seen('the new pod', () => mesh.get('Pod', 'shop/cart-6') !== undefined);
    expect(mesh.get('Pod', 'shop/cart-5')).toBeUndefined();
    await seen(
      'a new list',
      () =>
        world.cluster.audit.requests(
          ({ verb, resource, userAgent }) =>
            verb === 'list' && resource === 'pods' && userAgent === 'countersign',
        ).length > before,
    );
    await deletePod('cart-6');
  });

  it('finds out that the API server is frozen, and keeps what it knows', async () => {
    await open();
    world.cluster.apiServer.freeze();
    await seen('the failures', () => reports.filter(({ kind }) => kind === 'failing').length >= 6);
    expect(mesh.get('Pod', 'shop/cart-1')).toBeDefined();
    world.cluster.apiServer.thaw();
    await createPod('cart-7', '10.1.0.7');
    await seen('the pod', () => mesh.get('Pod', 'shop/cart-7') !== undefined);
    await deletePod('cart-7');
  });

  it('outlives the API server, and asks no more than it must', async () => {
    await open();
    await world.cluster.apiServer.kill();
    await seen('the failures', () => reports.filter(({ kind }) => kind === 'failing').length >= 6);
    expect(mesh.get('Pod', 'shop/cart-1')).toBeDefined();
    await world.cluster.apiServer.start();
    await createPod('cart-8', '10.1.0.8');
    await seen('the pod', () => mesh.get('Pod', 'shop/cart-8') !== undefined);
    expect(reports.filter((report) => report.kind === 'failing' && report.resource === 'pods')).toHaveLength(
      1,
    );
    await deletePod('cart-8');
  });

  it('starts with what an earlier run knew while the API server is away, and catches up', async () => {
    await world.apply(policy('kept', denyAll));
    await open();
    await createPod('cart-9', '10.1.0.9');
    // It is made first, and has its address with the next event.
    await seen('the pod', () => mesh.get('Pod', 'shop/cart-9')?.ips.length === 1);
    await end();
    world.wire.cut();
    begin();
    await open();
    expect(source?.synced).toBe(false);
    expect(mesh.get('Pod', 'shop/cart-9')?.ips).toEqual(['10.1.0.9']);
    expect(mesh.get('AuthorizationPolicy', 'shop/kept')?.policy.action).toBe('DENY');
    expect(reports.map(({ kind }) => kind)).toContain('remembered');
    await deletePod('cart-9');
    await world.kubectl(['delete', '-n', 'shop', 'authorizationpolicies', 'kept']);
    world.wire.mend();
    await seen('everything', () => source?.synced === true);
    expect(mesh.get('Pod', 'shop/cart-9')).toBeUndefined();
    expect(mesh.get('AuthorizationPolicy', 'shop/kept')).toBeUndefined();
    expect(mesh.get('Pod', 'shop/cart-1')).toBeDefined();
  });

  it('keeps the last good version of a policy that can be used no more, over a restart too', async () => {
    await open();
    await world.apply(policy('strict', denyAll));
    await seen('the policy', () => mesh.get('AuthorizationPolicy', 'shop/strict') !== undefined);
    await world.apply(policy('strict', { action: 'NONSENSE' }));
    await seen('the refusal', () => statusOf('strict')?.ok === false);
    expect(statusOf('strict')).toMatchObject({ inForce: 'earlier', generation: 2 });
    expect(statusOf('strict')?.issues[0]).toMatchObject({ path: 'spec.action' });
    expect(mesh.get('AuthorizationPolicy', 'shop/strict')?.policy.action).toBe('DENY');
    await end();
    begin();
    await open();
    expect(mesh.get('AuthorizationPolicy', 'shop/strict')?.policy.action).toBe('DENY');
    // Made anew, it is another object, and inherits nothing.
    await world.kubectl(['delete', '-n', 'shop', 'authorizationpolicies', 'strict']);
    await world.apply(policy('strict', { action: 'NONSENSE' }));
    await seen('the new one', () => statusOf('strict')?.inForce === 'none');
    expect(mesh.get('AuthorizationPolicy', 'shop/strict')).toBeUndefined();
    await world.kubectl(['delete', '-n', 'shop', 'authorizationpolicies', 'strict']);
  });

  it('tells of a policy once: that its status was written is no news', async () => {
    await open();
    await world.apply(policy('told', toNobody));
    await seen('the policy', () => statusOf('told') !== undefined);
    const { resourceVersion } = statusOf('told') ?? {};
    const path = at('security.countersign.dev/v1/authorizationpolicies', 'shop', 'told', 'status');
    await world.cluster.operator.merge(path, { status: { conditions: [], observed: 1 } });
    await seen('the change', () => statusOf('told')?.resourceVersion !== resourceVersion);
    expect(
      reports.filter((report) => report.kind === 'policy' && report.status.name === 'told'),
    ).toHaveLength(1);
    await world.kubectl(['delete', '-n', 'shop', 'authorizationpolicies', 'told']);
    await seen('it to go', () => reports.some(({ kind }) => kind === 'policy-gone'));
  });

  it('notices when a CRD is installed and removed; of two policies of one name both count', async () => {
    await open();
    expect(reports).toContainEqual({
      kind: 'not-served',
      resource: 'authorizationpolicies.security.istio.io',
    });
    await world.installCrd('security.istio.io');
    await world.apply(
      policy('both', toNobody),
      policy('both', denyAll, { group: 'security.istio.io' }),
      policy('alone', denyAll, { group: 'security.istio.io' }),
    );
    await seen('all three', () => mesh.count('AuthorizationPolicy') === 3);
    expect(policyNames()).toEqual(['alone', 'both', 'both@security.istio.io']);
    expect(mesh.get('AuthorizationPolicy', 'shop/both')?.policy.action).toBe('ALLOW');
    expect(mesh.get('AuthorizationPolicy', 'shop/both@security.istio.io')?.policy).toMatchObject({
      action: 'DENY',
      name: 'both@security.istio.io',
    });
    expect(statusOf('both', 'security.istio.io')?.key).toBe('shop/both@security.istio.io');
    await world.kubectl(['delete', '-n', 'shop', 'authorizationpolicies.security.countersign.dev', 'both']);
    await seen('the other to have the name', () => policyNames().join() === 'alone,both');
    expect(mesh.get('AuthorizationPolicy', 'shop/both')?.policy.action).toBe('DENY');

    await world.removeCrd('security.istio.io');
    await seen('them to go', () => mesh.count('AuthorizationPolicy') === 0);
    await seen(
      'the absence',
      () =>
        reports.at(-1)?.kind === 'not-served' ||
        reports.filter(({ kind }) => kind === 'not-served').length === 2,
    );
    await world.installCrd('security.istio.io');
    await world.apply(policy('again', denyAll, { group: 'security.istio.io' }));
    await seen('it to be back', () => policyNames().join() === 'again');
    await world.removeCrd('security.istio.io');
  });

  it('reads what is served as v1beta1 alone, and follows the versions that come and go', async () => {
    await open();
    const group = 'security.istio.io';
    const serve = async (...served: readonly string[]): Promise<void> =>
      await world.apply(bareCrd(group, 'AuthorizationPolicy', served));
    const written = (version: string, name: string): object => ({
      ...policy(name, denyAll, { group }),
      apiVersion: `${group}/${version}`,
    });
    const found = async (...names: readonly string[]): Promise<void> =>
      await seen(names.join(), () => policyNames().join() === names.join());
    const put = async (version: string, name: string): Promise<void> => {
      await waitFor(`${version} to be served`, async () => {
        await world.apply(written(version, name));
        return true;
      });
    };
    await serve('v1beta1');
    await put('v1beta1', 'beta');
    await found('beta');
    await serve('v1beta1', 'v1');
    await put('v1', 'one');
    await found('beta', 'one');
    // What is stored stays readable: v1beta1 is kept and not served.
    const path = at(
      'apiextensions.k8s.io/v1/customresourcedefinitions',
      undefined,
      `authorizationpolicies.${group}`,
    );
    const crd = (await world.cluster.operator.get(path)) as unknown as {
      spec: { versions: { name: string }[] };
    };
    const only = async (name: string): Promise<void> => {
      const versions = crd.spec.versions.map((each) => ({ ...each, served: each.name === name }));
      await world.cluster.operator.merge(path, { spec: { versions } });
    };
    await only('v1');
    await put('v1', 'two');
    await found('beta', 'one', 'two');
    await only('v1beta1');
    await put('v1beta1', 'three');
    await found('beta', 'one', 'three', 'two');
    // Nobody had lost them for as long as it took.
    expect(notices.flatMap(({ changes }) => changes).some((each) => each.after === undefined)).toBe(false);
    await world.kubectl(['delete', 'crd', `authorizationpolicies.${group}`]);
    await found();
  });

  it('gives up a start when it is told to', async () => {
    world.wire.cut();
    const stopping = new AbortController();
    const opening = KubernetesSource.open(
      { api, mesh, random: Math.random, monotonicMs, rootNamespace: 'root', onReport: () => {} },
      stopping.signal,
    );
    setTimeout(() => stopping.abort(new Error('enough')), 100);
    await expect(opening).rejects.toThrow('enough');
    world.wire.mend();
  });
});
