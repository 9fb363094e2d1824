import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiError, at, type KubeObject } from '../cluster/api-client.ts';
import { TestCluster } from '../cluster/cluster.ts';
import { admission } from '../control-plane/envoy-client.ts';
import { countersign } from '../harness/paths.ts';
import { freePort } from '../harness/ports.ts';
import { Child, run } from '../harness/process.ts';
import { waitFor } from '../harness/wait.ts';
import { crdFiles, namespace, only, render } from './chart.ts';

/** A Lease is renewed every 10 s. */
const timeoutMs = 30_000;

const webhooks = 'admissionregistration.k8s.io/v1/validatingwebhookconfigurations';

/** One thing that one rule of a role allows. */
interface Permission {
  readonly apiGroup: string;
  readonly resource: string;
  readonly resourceNames: readonly string[] | undefined;
  readonly verb: string;
  /** By a ClusterRole: in every namespace. Otherwise in the control plane's own. */
  readonly everywhere: boolean;
}

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

function permissionsOf(objects: readonly KubeObject[]): Permission[] {
  const roles = objects.filter(({ kind }) => kind === 'ClusterRole' || kind === 'Role');
  return roles.flatMap((role) =>
    permissionsIn(role['rules'] as readonly Rule[], role.kind === 'ClusterRole'),
  );
}

function permissionsIn(rules: readonly Rule[], everywhere: boolean): Permission[] {
  return rules.flatMap(({ apiGroups, resources, resourceNames, verbs }) =>
    apiGroups.flatMap((apiGroup) =>
      resources.flatMap((resource) =>
        verbs.map((verb) => ({ apiGroup, resource, resourceNames, verb, everywhere })),
      ),
    ),
  );
}

function ruleFor({ apiGroup, resource, resourceNames, verb }: Permission): Rule {
  const names = resourceNames === undefined ? {} : { resourceNames };
  return { apiGroups: [apiGroup], resources: [resource], ...names, verbs: [verb] };
}

function words({ apiGroup, resource, verb }: Permission): string {
  return `${verb} ${resource}${apiGroup === '' ? '' : `.${apiGroup}`}`;
}

/** In the API server's own words. */
function refusal({ apiGroup, resource, verb, everywhere }: Permission): string {
  const scope = everywhere ? 'at the cluster scope' : `in the namespace "${namespace}"`;
  const what = `cannot ${verb} resource "${resource}" in API group "${apiGroup}"`;
  return followed.has(verb) || !everywhere ? `${what} ${scope}` : what;
}

const followed: ReadonlySet<string> = new Set(['list', 'watch']);
const kinds: Readonly<Record<string, string>> = {
  authorizationpolicies: 'AuthorizationPolicy',
  peerauthentications: 'PeerAuthentication',
  requestauthentications: 'RequestAuthentication',
};
/** It is not ready, and does nothing else, before these are listed. */
const first: ReadonlySet<string> = new Set([
  'pods',
  'serviceaccounts',
  'namespaces',
  'services',
  ...Object.keys(kinds),
]);

/**
 * Permissions of one trial: each of them is asked for whether or not the others are there. No two speak of the same
 * resource, so none could stand in for another. Whatever ends the control plane, or hides a further complaint, is alone.
 */
function trialsOf(permissions: readonly Permission[]): readonly (readonly Permission[])[] {
  const trials = Map.groupBy(permissions, (permission) => {
    const { verb, resource, everywhere } = permission;
    // Before all else it reads who is in quarantine.
    const isFirst = first.has(resource) || (resource === 'configmaps' && !everywhere);
    if (followed.has(verb)) return `${verb} ${everywhere} ${verb === 'list' && isFirst}`;
    return everywhere && verb !== 'patch' ? verb : `${words(permission)} alone`;
  });
  return [...trials.values()];
}

/** A control plane whose service account may do just that, and an Envoy that asks it. */
class Trial {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'countersign-rbac-'));
  readonly bundle: string = join(this.folder, 'data', 'bundle.pem');
  readonly address: string;
  readonly user: string;
  readonly #child: Child;

  private constructor(name: string, address: string, kubeconfig: string) {
    this.address = address;
    this.user = `system:serviceaccount:${namespace}:${name}`;
    const flags = {
      kubeconfig,
      'data-dir': join(this.folder, 'data'),
      listen: address,
      admin: '127.0.0.1:0',
      admission: '127.0.0.1:0',
    };
    this.#child = new Child('control-plane', countersign, [
      'control-plane',
      ...Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`),
    ]);
  }

  static async start(cluster: TestCluster, name: string, permissions: readonly Permission[]): Promise<Trial> {
    const rbac = 'rbac.authorization.k8s.io';
    await cluster.make.serviceAccount(namespace, name);
    for (const kind of ['ClusterRole', 'Role'] as const) {
      const everywhere = kind === 'ClusterRole';
      const path = (plural: string): string => at(`${rbac}/v1/${plural}`, everywhere ? undefined : namespace);
      await cluster.operator.create(path(`${kind.toLowerCase()}s`), {
        metadata: { name },
        rules: permissions.filter((permission) => permission.everywhere === everywhere).map(ruleFor),
      });
      await cluster.operator.create(path(`${kind.toLowerCase()}bindings`), {
        metadata: { name },
        roleRef: { apiGroup: rbac, kind, name },
        subjects: [{ kind: 'ServiceAccount', namespace, name }],
      });
    }
    const kubeconfig = await cluster.kubeconfigOf({ namespace, serviceAccount: name });
    return new Trial(name, `127.0.0.1:${await freePort()}`, kubeconfig);
  }

  get log(): string {
    return this.#child.stderr;
  }

  /** Of its log, as people read it. */
  get words(): string {
    return this.log.replaceAll('\\"', '"');
  }

  /** A step that changes the Secret, and the trust bundle wherever it is. Until it is taken, or refused. */
  async rotate(): Promise<void> {
    await waitFor(
      'a step of the rotation',
      async () => {
        this.#child.assertRunning();
        const dataDir = join(this.folder, 'data');
        const { code } = await run(countersign, ['rotate', 'prepare', '--data-dir', dataDir]);
        return code === 0 || this.words.includes('cannot update') || undefined;
      },
      { timeoutMs, everyMs: 500 },
    );
  }

  /** Until the pod with that token is proven. */
  async prove(token: string): Promise<void> {
    await waitFor(
      'a proven pod',
      async () => {
        this.#child.assertRunning();
        const outcome = await admission(this, token);
        if (outcome === 'admitted') return true;
        throw new Error(outcome);
      },
      { timeoutMs, everyMs: 200 },
    );
  }

  /** What it tells the other replicas is there. */
  async reported(cluster: TestCluster): Promise<true | undefined> {
    const all = await cluster.operator.list(at('configmaps', namespace));
    return all.some(({ metadata }) => metadata.name.startsWith('countersign-report-')) || undefined;
  }

  async stop(): Promise<void> {
    await this.#child.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

describe('the rights of the control plane', () => {
  let cluster: TestCluster;
  let all: Permission[];
  let webhook: KubeObject;
  let token: string;
  beforeAll(async () => {
    cluster = await TestCluster.start();
    for (const file of crdFiles()) {
      const text = readFileSync(file, 'utf8');
      for (const crd of [text, text.replaceAll('security.countersign.dev', 'security.istio.io')]) {
        expect(await cluster.kubectl(['apply', '--server-side', '--filename', '-'], crd)).toMatchObject({
          code: 0,
        });
      }
    }
    await cluster.make.namespace(namespace);
    await cluster.make.namespace('shop');
    await cluster.make.serviceAccount('shop', 'web');
    await cluster.make.node('node-1');
    const pod = { namespace: 'shop', name: 'web', serviceAccount: 'web' };
    await cluster.make.pod({ ...pod, node: 'node-1', ips: ['127.0.0.1'] });
    token = await cluster.token({
      namespace: 'shop',
      serviceAccount: 'web',
      pod: 'web',
      audiences: ['countersign'],
    });
    const objects = await render();
    all = permissionsOf(objects);
    webhook = only(objects, 'ValidatingWebhookConfiguration');
    await cluster.operator.create(at(webhooks), webhook);
  }, 600_000);

  afterAll(async () => {
    await cluster.dispose();
  });

  it('are enough: it does all that they allow, and is refused nothing', { timeout: 120_000 }, async () => {
    await clear();
    const trial = await Trial.start(cluster, 'all', all);
    try {
      await trial.prove(token);
      await trial.rotate();
      const atTheEnd = (permission: Permission): boolean =>
        ['delete configmaps', 'update leases.coordination.k8s.io'].includes(words(permission));
      for (const permission of all.filter((each) => !atTheEnd(each)))
        await waitFor(words(permission), () => used(permission, trial.user), { timeoutMs });
      await trial.stop();
      for (const permission of all.filter(atTheEnd))
        await waitFor(words(permission), () => used(permission, trial.user));
      expect(cluster.audit.requests(({ user, status }) => user === trial.user && status === 403)).toEqual([]);
      expect(trial.log).not.toContain('"level":"error"');
    } finally {
      await trial.stop();
    }
  });

  it('are all needed: without any one of them, it says which', { timeout: 600_000 }, async () => {
    expect(all.length).toBeGreaterThan(40);
    for (const [index, missing] of trialsOf(all).entries()) {
      const resources = missing.map(({ apiGroup, resource }) => `${resource}.${apiGroup}`);
      expect(new Set(resources).size).toBe(missing.length);
      await clear();
      const rest = all.filter((each) => !missing.includes(each));
      const trial = await Trial.start(cluster, `without-${index}`, rest);
      try {
        if (missing.some(({ resource }) => resource === 'tokenreviews')) await trial.prove(token);
        if (missing.some(({ verb }) => verb === 'update')) await trial.rotate();
        // Only what it leaves is deleted: its report to the other replicas.
        if (missing.some(({ verb }) => verb === 'delete')) {
          await waitFor('a report', () => trial.reported(cluster), { timeoutMs });
          await trial.stop();
        }
        for (const each of missing) {
          const complaint = (): true | undefined => trial.words.includes(refusal(each)) || undefined;
          await waitFor(`a complaint: ${words(each)}`, complaint, { timeoutMs });
        }
      } finally {
        await trial.stop();
      }
    }
  });

  /** As nothing had ever run: no root, no leader, no bundle, nothing said of the policies. */
  async function clear(): Promise<void> {
    const { operator } = cluster;
    const gone = async (path: string): Promise<void> => {
      await operator.delete(path).catch((error: unknown) => {
        if (!(error instanceof ApiError) || error.status !== 404) throw error;
      });
    };
    await gone(at('configmaps', namespace));
    await gone(at('configmaps', 'shop', 'countersign-trust-bundle'));
    await gone(at('secrets', namespace, 'countersign-root'));
    await gone(at('coordination.k8s.io/v1/leases', namespace, 'countersign'));
    await gone(at('certificates.k8s.io/v1beta1/clustertrustbundles', undefined, 'countersign-cluster.local'));
    await operator.merge(at(webhooks, undefined, webhook.metadata.name), { webhooks: webhook['webhooks'] });
    for (const [plural, kind] of Object.entries(kinds)) {
      const apiVersion = 'security.countersign.dev/v1';
      const path = at(`${apiVersion}/${plural}`, namespace);
      await gone(path);
      // In the namespace that the webhook leaves alone: nobody calls this one.
      await operator.create(path, { apiVersion, kind, metadata: { name: 'one' }, spec: {} });
    }
  }

  /** By the API server's audit log. */
  function used({ apiGroup, resource, verb, everywhere }: Permission, user: string): true | undefined {
    const group = apiGroup === '' ? '/api/v1/' : `/apis/${apiGroup}/`;
    const where = everywhere && followed.has(verb) ? '' : everywhere ? undefined : namespace;
    const found = cluster.audit.requests(
      (request) =>
        request.user === user &&
        request.verb === verb &&
        request.resource === resource &&
        request.path.startsWith(group) &&
        (where === undefined || request.namespace === where) &&
        // What is not there yet may be asked for.
        (request.status < 300 || (verb === 'get' && request.status === 404)),
    );
    return found.length > 0 ? true : undefined;
  }
});
