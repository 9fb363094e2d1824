import { renameSync } from 'node:fs';
import { stringify } from 'yaml';
import { at } from '../cluster/api-client.ts';
import { TestCluster } from '../cluster/cluster.ts';
import type { TokenOptions } from '../cluster/tokens.ts';
import { Wire } from '../cluster/wire.ts';
import { bareCrd, pluralOf } from './crds.ts';

export const audience = 'countersign';
export const home = 'countersign-system';
const account = 'control-plane';
/** Who the control plane is at the API server. */
export const controlPlaneAccount: TokenOptions = { namespace: home, serviceAccount: account };
/** What it is called there. */
export const controlPlaneUser: string = `system:serviceaccount:${home}:${account}`;

/** What the control plane may do, and no more. */
const rules = [
  {
    apiGroups: [''],
    resources: ['pods', 'namespaces', 'serviceaccounts', 'services'],
    verbs: ['list', 'watch'],
  },
  {
    apiGroups: ['security.countersign.dev', 'security.istio.io'],
    resources: ['*'],
    verbs: ['list', 'watch'],
  },
  { apiGroups: ['authentication.k8s.io'], resources: ['tokenreviews'], verbs: ['create'] },
  {
    apiGroups: ['security.countersign.dev'],
    resources: ['authorizationpolicies', 'peerauthentications', 'requestauthentications'].map(
      (each) => `${each}/status`,
    ),
    verbs: ['patch'],
  },
  {
    apiGroups: ['admissionregistration.k8s.io'],
    resources: ['validatingwebhookconfigurations'],
    resourceNames: ['countersign-countersign-system'],
    verbs: ['list', 'watch', 'patch'],
  },
  { apiGroups: [''], resources: ['configmaps'], verbs: ['create'] },
  {
    apiGroups: [''],
    resources: ['configmaps'],
    resourceNames: ['countersign-trust-bundle'],
    verbs: ['get', 'list', 'watch', 'update'],
  },
  { apiGroups: ['certificates.k8s.io'], resources: ['clustertrustbundles'], verbs: ['create'] },
  {
    apiGroups: ['certificates.k8s.io'],
    resources: ['clustertrustbundles'],
    resourceNames: ['countersign-cluster.local', 'countersign-other.example'],
    verbs: ['update'],
  },
];

/** What it may do in its own namespace beside that. */
const ownRules = [
  { apiGroups: [''], resources: ['configmaps'], verbs: ['list', 'watch', 'create', 'patch', 'delete'] },
  { apiGroups: [''], resources: ['secrets'], verbs: ['create'] },
  {
    apiGroups: [''],
    resources: ['secrets'],
    resourceNames: ['countersign-root'],
    verbs: ['get', 'list', 'watch', 'update'],
  },
  { apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['create'] },
  {
    apiGroups: ['coordination.k8s.io'],
    resources: ['leases'],
    resourceNames: ['countersign'],
    verbs: ['get', 'update'],
  },
];

/** A real cluster with the bare CRD of our own group, and the way of the control plane into it. */
export class KubernetesWorld {
  readonly cluster: TestCluster;
  /** Between the control plane and the API server. */
  readonly wire: Wire;
  /** Of the control plane's service account, by way of the wire. */
  readonly kubeconfig: string;

  private constructor(cluster: TestCluster, wire: Wire, kubeconfig: string) {
    this.cluster = cluster;
    this.wire = wire;
    this.kubeconfig = kubeconfig;
  }

  static async start(): Promise<KubernetesWorld> {
    // Else it waits for watches to end before it stops, and they do not.
    const cluster = await TestCluster.start({ flags: ['--shutdown-watch-termination-grace-period=1s'] });
    const wire = await Wire.to(cluster.url);
    try {
      await makeHome(cluster, home);
      const kubeconfig = await cluster.kubeconfigOf(controlPlaneAccount, wire.url);
      const world = new KubernetesWorld(cluster, wire, kubeconfig);
      await world.installCrd('security.countersign.dev');
      return world;
    } catch (error) {
      wire.close();
      await cluster.dispose();
      throw error;
    }
  }

  /** As a kubelet does: the control plane's token is replaced where it stands. */
  async renewToken(): Promise<void> {
    renameSync(await this.cluster.kubeconfigOf(controlPlaneAccount, this.wire.url), this.kubeconfig);
  }

  /** The path of a kubeconfig with a token that is bound to a pod of the control plane's: as its replica there has. */
  async kubeconfigIn(pod: string): Promise<string> {
    return await this.cluster.kubeconfigOf({ ...controlPlaneAccount, pod }, this.wire.url);
  }

  /** Where another mesh's control plane may run, with the same rights. */
  async secondHome(namespace: string): Promise<void> {
    await makeHome(this.cluster, namespace);
  }

  /** Of that one's service account. */
  async kubeconfigOf(namespace: string): Promise<string> {
    return await this.cluster.kubeconfigOf({ ...controlPlaneAccount, namespace }, this.wire.url);
  }

  async installCrd(group: Parameters<typeof bareCrd>[0], kind = 'AuthorizationPolicy'): Promise<void> {
    await this.kubectl(['apply', '-f', '-'], bareCrd(group, kind));
    const name = `${pluralOf(kind)}.${group}`;
    await this.kubectl(['wait', '--for', 'condition=Established', '--timeout', '30s', `crd/${name}`]);
  }

  async removeCrd(group: Parameters<typeof bareCrd>[0], kind = 'AuthorizationPolicy'): Promise<void> {
    await this.kubectl(['delete', '--wait', '-f', '-'], bareCrd(group, kind));
  }

  /** @throws Error with its stderr, where it fails */
  async kubectl(args: readonly string[], ...documents: readonly object[]): Promise<string> {
    const input = documents.map((document) => stringify(document)).join('---\n');
    const { code, stdout, stderr } = await this.cluster.kubectl(args, input);
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${stderr}`);
    return stdout;
  }

  async apply(...documents: readonly object[]): Promise<void> {
    await this.kubectl(['apply', '-f', '-'], ...documents);
  }

  async dispose(): Promise<void> {
    this.wire.close();
    await this.cluster.dispose();
  }
}

/** A namespace whose service account is a control plane's. */
async function makeHome({ operator, make }: TestCluster, namespace: string): Promise<void> {
  await make.namespace(namespace);
  await make.serviceAccount(namespace, account);
  const name = 'countersign-control-plane';
  const wide = namespace === home ? name : `${name}-${namespace}`;
  const rbac = 'rbac.authorization.k8s.io/v1';
  const subjects = [{ kind: 'ServiceAccount', namespace, name: account }];
  await operator.create(at(`${rbac}/clusterroles`), { metadata: { name: wide }, rules });
  await operator.create(at(`${rbac}/clusterrolebindings`), {
    metadata: { name: wide },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: wide },
    subjects,
  });
  await operator.create(at(`${rbac}/roles`, namespace), { metadata: { name }, rules: ownRules });
  await operator.create(at(`${rbac}/rolebindings`, namespace), {
    metadata: { name },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name },
    subjects,
  });
}

/** An AuthorizationPolicy of either group. */
export function policy(
  name: string,
  spec: object,
  { group = 'security.countersign.dev', namespace = 'shop' }: { group?: string; namespace?: string } = {},
): object {
  return { apiVersion: `${group}/v1`, kind: 'AuthorizationPolicy', metadata: { name, namespace }, spec };
}
