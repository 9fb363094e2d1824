import { expect } from 'vitest';
import { useConnectionsOnce } from '../envoy/bootstrap-edits.ts';
import { httpApp, type App } from '../harness/app.ts';
import { TestEnvoy } from '../harness/envoy.ts';
import { call, Load } from '../harness/http.ts';
import { loopbackSubnet } from '../harness/ports.ts';
import { waitFor } from '../harness/wait.ts';
import { audience, policy, type KubernetesWorld } from './world.ts';

const inbound = 8_080;
const outbound = 10_001;
const node = 'shop-node';
const namespace = 'shop';
const names = ['cart', 'web', 'busy'] as const;
type Name = (typeof names)[number];

/** Where Envoys find their control plane, and what they verify it with. */
interface Served {
  readonly address: string;
  readonly bundle: string;
}

/** Three pods with real Envoys: `web` and `busy` call `cart`, `busy` over a new mTLS connection for each request. */
export class Shop {
  readonly #world: KubernetesWorld;
  readonly #subnet: string = loopbackSubnet();
  readonly #app: App;
  readonly #envoys = new Map<Name, TestEnvoy>();
  #paths: readonly string[] = ['/items'];

  private constructor(world: KubernetesWorld, app: App) {
    this.#world = world;
    this.#app = app;
  }

  /** Resolves when `/items` of the cart may be asked for. */
  static async open(world: KubernetesWorld, controlPlane: Served): Promise<Shop> {
    const { make } = world.cluster;
    await make.node(node);
    await make.namespace(namespace);
    const shop = new Shop(world, await httpApp('cart'));
    for (const name of names) await shop.#sidecar(name, controlPlane);
    await Promise.all([...shop.#envoys.values()].map((envoy) => envoy.ready()));
    await shop.allow();
    return shop;
  }

  /** A pod of a service account of its own. @returns its token */
  async pod(name: string, ip: string): Promise<string> {
    const { cluster } = this.#world;
    const pod = { namespace, name, serviceAccount: name };
    await cluster.make.serviceAccount(namespace, name);
    await cluster.make.pod({ ...pod, node, ips: [ip], labels: { app: name } });
    return await cluster.token({ ...pod, pod: name, audiences: [audience] });
  }

  /** Of the cart, by kubectl: those before, and these. Resolves when it is enforced. */
  async allow(...more: readonly string[]): Promise<void> {
    this.#paths = [...this.#paths, ...more];
    await this.#world.apply(policy('cart', { rules: [{ to: [{ operation: { paths: this.#paths } }] }] }));
    const path = this.#paths.at(-1) ?? '/';
    await waitFor(`the policy for ${path}`, async () =>
      (await this.#status(path)) === 200 ? true : undefined,
    );
  }

  /** What no policy allows is refused still. */
  async refused(): Promise<void> {
    expect(await this.#status('/other')).toBe(403);
  }

  /** Paced: an outage takes a minute or more, of a machine that others use too. */
  loads(): readonly Load[] {
    return (['web', 'busy'] as const).map(
      (name) => new Load({ host: this.#ip(name), port: outbound, path: '/items' }, undefined, 10),
    );
  }

  /** Of the SVID that each Envoy holds now. */
  async serials(): Promise<ReadonlyMap<string, string>> {
    const serials = new Map<string, string>();
    for (const [name, envoy] of this.#envoys) serials.set(name, (await envoy.serials()).join());
    return serials;
  }

  /** Resolves when each Envoy holds another SVID than that, to those. */
  async renewed(
    before: ReadonlyMap<string, string>,
    timeoutMs: number,
  ): Promise<ReadonlyMap<string, string>> {
    const another = async (): Promise<ReadonlyMap<string, string> | undefined> => {
      const now = await this.serials();
      const all = [...now].every(([name, serial]) => serial !== '' && serial !== before.get(name));
      return all ? now : undefined;
    };
    return await waitFor('another SVID in each Envoy', another, { timeoutMs, everyMs: 250 });
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#envoys.values()].map((envoy) => envoy.stop()));
    this.#app.close();
  }

  async #sidecar(name: Name, controlPlane: Served): Promise<void> {
    const ip = this.#ip(name);
    const cart = `${this.#ip('cart')}:${inbound}`;
    const way =
      name === 'cart'
        ? ['--inbound', `http:${cart}=127.0.0.1:${this.#app.port}`]
        : ['--outbound', `http:${ip}:${outbound}=${cart}=spiffe://cluster.local/ns/${namespace}/sa/cart`];
    const envoy = await TestEnvoy.start({
      pod: `${namespace}/${name}`,
      folder: this.#world.cluster.folder,
      controlPlane: controlPlane.address,
      bundle: controlPlane.bundle,
      token: await this.pod(name, ip),
      flags: ['--source-address', ip, ...way],
      ...(name === 'busy' && { edit: useConnectionsOnce }),
    });
    this.#envoys.set(name, envoy);
  }

  async #status(path: string): Promise<number> {
    return (await call({ host: this.#ip('web'), port: outbound, path })).status;
  }

  #ip(name: Name): string {
    return `${this.#subnet}.${11 + names.indexOf(name)}`;
  }
}
