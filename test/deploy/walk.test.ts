import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { at } from '../cluster/api-client.ts';
import { TestCluster } from '../cluster/cluster.ts';
import { httpApp, type App } from '../harness/app.ts';
import { call } from '../harness/http.ts';
import { countersign, envoyPath, root } from '../harness/paths.ts';
import { freePort, loopbackSubnet } from '../harness/ports.ts';
import { Child } from '../harness/process.ts';
import { waitFor } from '../harness/wait.ts';
import { chart, namespace, only, podOf, render } from './chart.ts';
import { commandsOf, exampleDeployment, examplePod, page } from './page.ts';

/**
 * The five minutes of docs/kubernetes.md with processes for pods, as there is no kubelet here: the control plane with
 * the arguments and the rights that the chart gives it, Envoys with the bootstraps that the page's commands put into
 * ConfigMaps, and tokens as a kubelet projects them. Only addresses and folders differ.
 */
describe('the five minutes of docs/kubernetes.md', () => {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-walk-'));
  const dataDir = join(folder, 'data');
  const cartIp = `${loopbackSubnet()}.2`;
  const running: { stop(): Promise<unknown> }[] = [];
  let cluster: TestCluster;
  let app: App;
  let listen: string;
  let out: number;

  beforeAll(async () => {
    cluster = await TestCluster.start();
    app = await httpApp('cart');
    listen = `127.0.0.1:${await freePort()}`;
    out = await freePort();
    await cluster.make.namespace(namespace);
    await cluster.make.node('node-1');
    const installed = await cluster.helm(['install', 'countersign', chart, '--namespace', namespace]);
    expect(installed).toMatchObject({ code: 0, stderr: '' });
  }, 600_000);

  afterAll(async () => {
    for (const each of running.toReversed()) await each.stop();
    app.close();
    await cluster.dispose();
    rmSync(folder, { recursive: true, force: true });
  });

  async function sh(command: string): Promise<{ code: number | null; stdout: string; stderr: string }> {
    return await cluster.shell(command, root);
  }

  it('starts the control plane with the arguments and the rights of the chart', async () => {
    const deployment = only(await render(), 'Deployment')['spec'] as {
      template: { spec: { containers: [{ args: string[] }] } };
    };
    const mine = { '--data-dir': dataDir, '--listen': listen, '--admin': '127.0.0.1:0' };
    const args = deployment.template.spec.containers[0].args.map((arg) => {
      const [flag = ''] = arg.split('=');
      return flag in mine ? `${flag}=${mine[flag as keyof typeof mine]}` : arg;
    });
    const kubeconfig = await cluster.kubeconfigOf({ namespace, serviceAccount: 'countersign' });
    const controlPlane = new Child('control-plane', countersign, [...args, `--kubeconfig=${kubeconfig}`]);
    running.push(controlPlane);
    await waitFor('a control plane that is ready', () => {
      controlPlane.assertRunning();
      return controlPlane.stderr.includes('"msg":"ready"') || undefined;
    });
  });

  it('runs both workloads with the bootstraps that the page prints', async () => {
    await sh('kubectl apply --filename deploy/examples/shop.yaml');
    for (const name of ['cart', 'web']) {
      const command = commandsOf().find((line) => line.includes(`--pod shop/${name} `)) ?? '';
      expect(await sh(command)).toMatchObject({ code: 0, stderr: '' });
      await startPod(name, name === 'cart' ? cartIp : '127.0.0.1');
    }
  });

  it('denies while there is no policy, allows what the policy says, and denies the rest', async () => {
    const ask = async (path: string): Promise<number> =>
      (await call({ host: '127.0.0.1', port: out, path })).status;
    await waitFor('a judged request', async () => ((await ask('/items')) === 403 ? true : undefined));
    expect(await sh('kubectl apply --filename deploy/examples/policy.yaml')).toMatchObject({ code: 0 });
    await waitFor('an allowed request', async () => ((await ask('/items')) === 200 ? true : undefined));
    expect(await ask('/admin')).toBe(403);
  });

  it('says why', async () => {
    const command = commandsOf().find((line) => line.includes('authz check')) ?? '';
    const { code, stdout } = await sh(command);
    expect(code).toBe(1);
    expect(page).toContain(stdout.trim());
  });

  /** What a kubelet would do for the pod of a Deployment of the example. */
  async function startPod(name: string, ip: string): Promise<void> {
    const pod = `${name}-1`;
    const { initContainers } = examplePod(name);
    await cluster.operator.create(at('pods', 'shop'), podOf(exampleDeployment(name), pod, 'node-1'));
    await cluster.make.podStatus('shop', pod, { ips: [ip] });
    const volumes = join(folder, name);
    mkdirSync(volumes);
    const token = await cluster.token({
      namespace: 'shop',
      serviceAccount: name,
      pod,
      audiences: ['countersign'],
    });
    writeFileSync(join(volumes, 'token'), token, { mode: 0o600 });
    const { data } = (await cluster.operator.get(at('configmaps', 'shop', `${name}-envoy`))) as unknown as {
      data: { 'envoy.json': string };
    };
    const admin = await freePort();
    const edits: readonly (readonly [string, string])[] = [
      ['"countersign.countersign-system.svc:15012"', `"${listen}"`],
      ['/etc/countersign/bundle.pem', join(dataDir, 'bundle.pem')],
      ['/var/run/secrets/countersign/token', join(volumes, 'token')],
      ['"address": "0.0.0.0"', `"address": "${cartIp}"`],
      ['"address": "cart.shop.svc"', `"address": "${cartIp}"`],
      ['"port_value": 8081', `"port_value": ${app.port}`],
      ['"port_value": 9001', `"port_value": ${out}`],
      ['"port_value": 15000', `"port_value": ${admin}`],
    ];
    const bootstrap = edits.reduce((text, [from, to]) => text.replaceAll(from, to), data['envoy.json']);
    const config = join(volumes, 'envoy.json');
    writeFileSync(config, bootstrap);
    const args = initContainers[0].args.map((arg) =>
      arg.replace('/etc/envoy/envoy.json', config).replace('$(POD_NAMESPACE)/$(POD_NAME)', `shop/${pod}`),
    );
    const baseId = ['--base-id', String(process.pid * 10 + running.length)];
    const envoy = new Child(`envoy ${pod}`, envoyPath(), [...args, ...baseId, '--log-level', 'warning']);
    running.push(envoy);
    const info = await waitFor(`the Envoy of ${pod}`, async () => {
      envoy.assertRunning();
      const response = await fetch(`http://127.0.0.1:${admin}/ready`);
      if (response.status !== 200) return undefined;
      const answer = await fetch(`http://127.0.0.1:${admin}/server_info`);
      return (await answer.json()) as { node: { id: string } };
    });
    expect(info.node.id).toBe(`shop/${pod}`);
  }
});
