import { join } from 'node:path';
import type { TestCluster } from '../cluster/cluster.ts';
import { hostAddress } from '../cluster/host-address.ts';
import { countersign } from '../harness/paths.ts';
import { freePort } from '../harness/ports.ts';
import { Child } from '../harness/process.ts';
import { waitFor } from '../harness/wait.ts';
import { namespace, only, render } from './chart.ts';

/** One of the release's replicas, as a process. */
export interface Replica {
  /** Of its gRPC port. */
  readonly address: string;
  readonly child: Child;
}

/**
 * The replicas of an installed release as processes: there is no kubelet here. They have the arguments, the service
 * account and the Service that the chart gives them; only addresses and folders differ. Ready, the webhook too.
 */
export async function startReplicas(cluster: TestCluster, folder: string): Promise<readonly Replica[]> {
  const { replicas: count, template } = only(await render(), 'Deployment')['spec'] as {
    replicas: number;
    template: { spec: { containers: [{ args: string[] }] } };
  };
  const replicas: Replica[] = [];
  try {
    for (let index = 0; index < count; index += 1) {
      replicas.push(
        await startReplica(cluster, join(folder, `replica-${index}`), template.spec.containers[0].args),
      );
    }
    for (const { child } of replicas) {
      await waitFor(
        'a control plane that is ready',
        () => {
          child.assertRunning();
          return child.stderr.includes('"msg":"ready"') || undefined;
        },
        { timeoutMs: 60_000 },
      );
    }
    await waitFor('the webhook to be trusted', async () => await isJudged(cluster), { everyMs: 200 });
    return replicas;
  } catch (error) {
    for (const { child } of replicas) await child.stop();
    throw error;
  }
}

async function startReplica(cluster: TestCluster, folder: string, args: readonly string[]): Promise<Replica> {
  const address = `127.0.0.1:${await freePort()}`;
  const host = hostAddress();
  const port = await freePort();
  const mine: Readonly<Record<string, string>> = {
    '--data-dir': folder,
    '--listen': address,
    '--admin': '127.0.0.1:0',
    '--admission': `${host}:${port}`,
  };
  const flags = args.map((arg) => {
    const [flag = ''] = arg.split('=');
    return flag in mine ? `${flag}=${mine[flag]}` : arg;
  });
  const kubeconfig = await cluster.kubeconfigOf({ namespace, serviceAccount: 'countersign' });
  const child = new Child('control-plane', countersign, [...flags, `--kubeconfig=${kubeconfig}`]);
  await cluster.make.endpointSlice({
    namespace,
    service: 'countersign',
    name: `countersign-${port}`,
    endpoints: [{ ip: host }],
    ports: [{ name: 'https-webhook', port }],
  });
  return { address, child };
}

/** Whether a policy outside of the own namespace would be let in. */
async function isJudged(cluster: TestCluster): Promise<true | undefined> {
  const policy = {
    apiVersion: 'security.countersign.dev/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'asks', namespace: 'default' },
  };
  const apply = ['apply', '--dry-run=server', '--filename', '-'];
  const { code, stderr } = await cluster.kubectl(apply, JSON.stringify(policy));
  if (code === 0) return true;
  throw new Error(stderr);
}
