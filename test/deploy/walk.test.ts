import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { at } from '../cluster/api-client.ts';
import { TestCluster } from '../cluster/cluster.ts';
import { httpApp, type App } from '../harness/app.ts';
import { call } from '../harness/http.ts';
import { envoyPath, root } from '../harness/paths.ts';
import { freePort, loopbackSubnet } from '../harness/ports.ts';
import { Child } from '../harness/process.ts';
import { waitFor } from '../harness/wait.ts';
import { chart, namespace, podOf } from './chart.ts';
import { commandsOf, exampleDeployment, examplePod, page } from './page.ts';
import { startReplicas, type Replica } from './release.ts';

/**
 * The five minutes of docs/kubernetes.md with processes for pods, as there is no kubelet here: the control plane's two
 * replicas with the arguments and the rights that the chart gives them, Envoys with the bootstraps that the page's
 * commands put into ConfigMaps, and tokens and trust bundle as a kubelet projects them. Only addresses and folders
 * differ.
 */
describe('the five minutes of docs/kubernetes.md', () => {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-walk-'));
  const cartIp = `${loopbackSubnet()}.2`;
  const running: { stop(): Promise<unknown> }[] = [];
  let cluster: TestCluster;
  let app: App;
  let replicas: readonly Replica[];
  let out: number;

  beforeAll(async () => {
    cluster = await TestCluster.start();
    app = await httpApp('cart');
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

  it('starts two replicas with the arguments and the rights of the chart', { timeout: 120_000 }, async () => {
    replicas = await startReplicas(cluster, folder);
    running.push(...replicas.map(({ child }) => child));
    expect(replicas).toHaveLength(2);
  });

  it('runs both workloads, each at another replica, with the bootstraps that the page prints', async () => {
    await sh('kubectl apply --filename deploy/examples/shop.yaml');
    for (const [index, name] of ['cart', 'web'].entries()) {
      const command = commandsOf().find((line) => line.includes(`--pod shop/${name} `)) ?? '';
      expect(await sh(command)).toMatchObject({ code: 0, stderr: '' });
      const { address } = replicas[index]!;
      await startPod(name, name === 'cart' ? cartIp : '127.0.0.1', address);
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

  it('shows in the status that the policy is enforced, and waits until it is', async () => {
    const wait = commandsOf().find((line) => line.startsWith('kubectl wait')) ?? '';
    expect(await sh(wait)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('condition met') as string,
    });
    const { stdout } = await sh('kubectl --namespace shop get ap');
    expect(stdout).toMatch(/PROGRAMMED.*\ncart-from-web .* True +True /u);
    const path = `{.status.conditions[?(@.type=="Programmed")].message}`;
    // A replica that has just started is heard of within its first seconds.
    await waitFor('the word of the replica that cart is attached to', async () => {
      const { stdout: message } = await sh(
        `kubectl --namespace shop get ap cart-from-web --output 'jsonpath=${path}'`,
      );
      return message === '1/1 proxies' ? true : undefined;
    });
    // All but its age.
    for (const line of stdout.trim().split('\n')) expect(page).toContain(line.replace(/\S+$/u, ''));
  });

  it('says why', async () => {
    const command = commandsOf().find((line) => line.includes('authz check')) ?? '';
    const { code, stdout } = await sh(command);
    expect(code).toBe(1);
    expect(page).toContain(stdout.trim());
  });

  /** What a kubelet mounts: it waits until it is there. */
  async function configMap(name: string, key: string): Promise<string> {
    return await waitFor(name, async () => {
      const { data } = await cluster.operator.get(at('configmaps', 'shop', name));
      return (data as Readonly<Record<string, string>>)[key];
    });
  }

  /** What a kubelet would do for the pod of a Deployment of the example. */
  async function startPod(name: string, ip: string, controlPlane: string): Promise<void> {
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
    const bundle = join(volumes, 'bundle.pem');
    writeFileSync(bundle, await configMap('countersign-trust-bundle', 'bundle.pem'));
    const printed = await configMap(`${name}-envoy`, 'envoy.json');
    const admin = await freePort();
    const edits: readonly (readonly [string, string])[] = [
      ['"countersign.countersign-system.svc:15012"', `"${controlPlane}"`],
      ['/etc/countersign/bundle.pem', bundle],
      ['/var/run/secrets/countersign/token', join(volumes, 'token')],
      ['"address": "0.0.0.0"', `"address": "${cartIp}"`],
      ['"address": "cart.shop.svc"', `"address": "${cartIp}"`],
      ['"port_value": 8081', `"port_value": ${app.port}`],
      ['"port_value": 9001', `"port_value": ${out}`],
      ['"port_value": 15000', `"port_value": ${admin}`],
    ];
    const bootstrap = edits.reduce((text, [from, to]) => text.replaceAll(from, to), printed);
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
