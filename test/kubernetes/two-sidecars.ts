import type { TestControlPlane } from '../harness/control-plane.ts';
import { httpApp, type App } from '../harness/app.ts';
import { TestEnvoy } from '../harness/envoy.ts';
import { loopbackSubnet } from '../harness/ports.ts';
import { audience, type KubernetesWorld } from './world.ts';

const names = ['cart', 'web'] as const;
type Name = (typeof names)[number];
const inbound = 8_080;
const outbound = 10_001;

/** Two pods of the namespace `shop` at the API server: `web` calls `cart`, each by an Envoy of its own. */
export class TwoSidecars {
  /** Where web's app reaches cart. */
  readonly target: { readonly host: string; readonly port: number };
  readonly #world: KubernetesWorld;
  readonly #ips: Readonly<Record<Name, string>>;
  readonly #envoys: TestEnvoy[] = [];
  #app: App | undefined;

  private constructor(world: KubernetesWorld) {
    const subnet = loopbackSubnet();
    this.#world = world;
    this.#ips = { cart: `${subnet}.11`, web: `${subnet}.12` };
    this.target = { host: this.#ips.web, port: outbound };
  }

  /** Makes namespace, service accounts and pods; no Envoy yet. */
  static async make(world: KubernetesWorld): Promise<TwoSidecars> {
    const { make } = world.cluster;
    const pair = new TwoSidecars(world);
    await make.node('node-1');
    await make.namespace('shop');
    for (const name of names) {
      await make.serviceAccount('shop', name);
      const ips = [pair.#ips[name]];
      await make.pod({
        namespace: 'shop',
        name,
        serviceAccount: name,
        node: 'node-1',
        ips,
        labels: { app: name },
      });
    }
    return pair;
  }

  /** Both Envoys run, and hold their filters. */
  async attach(controlPlane: TestControlPlane): Promise<void> {
    this.#app = await httpApp('cart');
    const { cart } = this.#ips;
    const id = 'spiffe://cluster.local/ns/shop/sa/cart';
    await this.#start(
      controlPlane,
      'cart',
      '--inbound',
      `http:${cart}:${inbound}=127.0.0.1:${this.#app.port}`,
    );
    await this.#start(
      controlPlane,
      'web',
      '--outbound',
      `http:${this.#ips.web}:${outbound}=${cart}:${inbound}=${id}`,
    );
    await Promise.all(this.#envoys.map((envoy) => envoy.ready()));
  }

  async stop(): Promise<void> {
    await Promise.all(this.#envoys.map((envoy) => envoy.stop()));
    this.#app?.close();
  }

  async #start(controlPlane: TestControlPlane, name: Name, ...flags: readonly string[]): Promise<void> {
    const { cluster } = this.#world;
    this.#envoys.push(
      await TestEnvoy.start({
        pod: `shop/${name}`,
        folder: cluster.folder,
        controlPlane: controlPlane.address,
        bundle: controlPlane.bundle,
        token: await cluster.token({
          namespace: 'shop',
          serviceAccount: name,
          pod: name,
          audiences: [audience],
        }),
        flags: ['--source-address', this.#ips[name], ...flags],
      }),
    );
  }
}
