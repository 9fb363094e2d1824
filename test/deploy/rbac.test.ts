import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { at, type KubeObject } from '../cluster/api-client.ts';
import { TestCluster } from '../cluster/cluster.ts';
import { admission } from '../control-plane/envoy-client.ts';
import { countersign } from '../harness/paths.ts';
import { freePort } from '../harness/ports.ts';
import { Child } from '../harness/process.ts';
import { waitFor } from '../harness/wait.ts';
import { crdFiles, namespace, render } from './chart.ts';

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

/** The API server's own, as it stands in a log of JSON lines. */
function refusal({ apiGroup, resource, verb }: Permission): string {
  return `cannot ${verb} resource \\"${resource}\\" in API group \\"${apiGroup}\\"`;
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
      { everyMs: 200 },
    );
  }

  async stop(): Promise<void> {
    await this.#child.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

describe('the rights of the control plane', () => {
  let cluster: TestCluster;
  let all: Permission[];
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
    all = permissionsOf(await render());
  }, 600_000);

  afterAll(async () => {
    await cluster.dispose();
  });

  it('are enough: it watches everything, proves a pod, and is refused nothing', async () => {
    const trial = await Trial.start(cluster, 'all', all);
    try {
      await trial.prove(token);
      for (const permission of all) {
        await waitFor(words(permission), () => used(permission, trial.user));
      }
      expect(cluster.audit.requests(({ user, status }) => user === trial.user && status === 403)).toEqual([]);
      expect(trial.log).not.toContain('"level":"error"');
    } finally {
      await trial.stop();
    }
  });

  it('are all needed: without any one of them, it says which', { timeout: 300_000 }, async () => {
    expect(all.length).toBeGreaterThan(10);
    for (const [index, missing] of all.entries()) {
      const trial = await Trial.start(
        cluster,
        `without-${index}`,
        all.filter((each) => each !== missing),
      );
      try {
        if (missing.resource === 'tokenreviews') await trial.prove(token);
        await waitFor(
          `a complaint: ${words(missing)}`,
          () => trial.log.includes(refusal(missing)) || undefined,
        );
      } finally {
        await trial.stop();
      }
    }
  });

  /** By the API server's audit log. */
  function used({ resource, verb }: Permission, user: string): true | undefined {
    const found = cluster.audit.requests(
      (request) =>
        request.user === user &&
        request.verb === verb &&
        request.resource === resource &&
        request.status < 300,
    );
    return found.length > 0 ? true : undefined;
  }
});
