import { stringify } from 'yaml';
import { hostAddress } from '../cluster/host-address.ts';
import { only, render } from '../deploy/chart.ts';
import { freePort } from '../harness/ports.ts';
import { waitFor } from '../harness/wait.ts';
import { controlPlaneAccount, policy, type KubernetesWorld } from './world.ts';

/**
 * The chart's webhook configuration, and a Service that leads to this machine. From now on nobody writes a policy
 * unless a control plane with these flags answers.
 */
export async function installWebhook(world: KubernetesWorld): Promise<readonly string[]> {
  const { cluster } = world;
  const { namespace } = controlPlaneAccount;
  const host = hostAddress();
  const port = await freePort();
  await cluster.make.service(namespace, 'countersign', [{ port: 15_017, targetPort: port }]);
  await cluster.make.endpointSlice({
    namespace,
    service: 'countersign',
    endpoints: [{ ip: host }],
    ports: [{ port }],
  });
  await world.apply(only(await render(), 'ValidatingWebhookConfiguration'));
  return ['--admission', `${host}:${port}`];
}

/** Until the API server has the certificate of the control plane's webhook. */
export async function webhookTrusted({ cluster }: KubernetesWorld): Promise<void> {
  const document = stringify(policy('webhook-probe', { rules: [] }));
  await waitFor('the webhook to be trusted', async () => {
    const { code } = await cluster.kubectl(['apply', '--dry-run=server', '-f', '-'], document);
    return code === 0 ? true : undefined;
  });
}
