import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { ProxyState } from '../../src/operator/index.ts';
import { echoApp, httpApp, type App } from '../harness/app.ts';
import { TestControlPlane } from '../harness/control-plane.ts';
import { TestEnvoy } from '../harness/envoy.ts';
import { call, type Answer } from '../harness/http.ts';
import { loopbackSubnet } from '../harness/ports.ts';

export const trustDomain = 'mesh.example';
export const inboundPorts = { http: 8_080, tcp: 9_000 } as const;
const firstOutboundPort = 10_001;

export type Protocol = 'http' | 'tcp';

/** A way out of a pod: an outbound listener of its sidecar. */
export interface Way {
  readonly to: string;
  readonly protocol: Protocol;
  /** The SPIFFE ID that the upstream must prove; absent: the right one. */
  readonly id?: string;
  /** Address of a pod of another mesh; absent: `to` is one of this mesh. */
  readonly at?: string;
}

export interface TestPod {
  /** `namespace/name`; it carries the label `app: name`. */
  readonly pod: string;
  /** It runs as this service account, which another pod has brought. Absent: the one of its own name. */
  readonly account?: string;
  /** Absent: `node-1`. */
  readonly node?: string;
  readonly serves?: readonly Protocol[];
  readonly calls?: readonly Way[];
  /** Changes the bootstrap before Envoy reads it. */
  readonly edit?: (bootstrap: string) => string;
  /** Absent: as the mesh. */
  readonly xds?: 'sotw' | 'delta';
  /** Without a sidecar until `startSidecar`. */
  readonly bare?: boolean;
}

export type Policies = Readonly<Record<string, string>>;

export interface TestMeshOptions {
  readonly pods: readonly TestPod[];
  /** Absent: `trustDomain`. */
  readonly trustDomain?: string;
  /** YAML documents by file name, as in `policies/<name>.yaml`; they may name pods' addresses. */
  readonly policies?: Policies | ((ip: (pod: string) => string) => Policies);
  readonly xds?: 'sotw' | 'delta';
  /** Of the control plane. */
  readonly flags?: readonly string[];
  /** The mesh's configuration file, as YAML; the control plane follows it, and bootstraps are made from it. */
  readonly meshConfig?: string;
  /** Called with the data directory before the control plane starts. */
  readonly prepare?: (dataDir: string) => Promise<void>;
  /** Of `countersign bootstrap`. */
  readonly bootstrapFlags?: readonly string[];
}

let starting: Promise<unknown> = Promise.resolve();

/** Apps behind real Envoys, attached to a real control plane over a temporary directory of manifests. */
export class TestMesh {
  readonly folder: string;
  readonly manifests: string;
  readonly controlPlane: TestControlPlane;
  readonly #options: TestMeshOptions;
  readonly #subnet: string;
  readonly #apps: App[] = [];
  readonly #envoys = new Map<string, TestEnvoy>();

  private constructor(
    folder: string,
    subnet: string,
    controlPlane: TestControlPlane,
    options: TestMeshOptions,
  ) {
    this.folder = folder;
    this.manifests = join(folder, 'manifests');
    this.#subnet = subnet;
    this.controlPlane = controlPlane;
    this.#options = options;
  }

  /** One at a time: several at once start no faster on two cores, and each would wait for all. */
  static async start(options: TestMeshOptions): Promise<TestMesh> {
    const mine = starting.then(async () => await TestMesh.#start(options));
    starting = mine.catch(() => {}); // Its own caller is told.
    return await mine;
  }

  static async #start(options: TestMeshOptions): Promise<TestMesh> {
    const folder = mkdtempSync(join(tmpdir(), 'countersign-mesh-'));
    const subnet = loopbackSubnet();
    const manifests = join(folder, 'manifests');
    for (const name of ['pods', 'policies']) mkdirSync(join(manifests, name), { recursive: true });
    for (const [index, pod] of options.pods.entries())
      writeManifest(podFile(manifests, pod.pod), podManifests(pod, addressIn(subnet, index)));
    const ip = (pod: string): string =>
      addressIn(
        subnet,
        options.pods.findIndex((other) => other.pod === pod),
      );
    const { policies = {} } = options;
    for (const [name, text] of Object.entries(typeof policies === 'function' ? policies(ip) : policies))
      writeManifest(join(manifests, 'policies', `${name}.yaml`), text);
    if (options.meshConfig !== undefined) writeManifest(configFile(folder), options.meshConfig);
    await options.prepare?.(join(folder, 'data'));
    const controlPlane = await TestControlPlane.start({
      directory: manifests,
      dataDir: join(folder, 'data'),
      flags: [
        '--trust-domain',
        options.trustDomain ?? trustDomain,
        ...configFlags(folder, options),
        ...(options.flags ?? []),
      ],
    });
    const mesh = new TestMesh(folder, subnet, controlPlane, options);
    try {
      const withSidecar = options.pods.filter(({ bare }) => bare !== true);
      await Promise.all(withSidecar.map(({ pod }) => mesh.startSidecar(pod)));
      await Promise.all([...mesh.#envoys.values()].map((envoy) => envoy.ready()));
    } catch (error) {
      await mesh.stop();
      throw error;
    }
    return mesh;
  }

  /**
   * An app, where the pod serves, and the sidecar in front of it; not waited for.
   * @param token absent: asked of the control plane
   */
  async startSidecar(pod: string, token?: string): Promise<TestEnvoy> {
    const { serves = [], calls = [], edit, xds = this.#options.xds ?? 'delta' } = this.#podOf(pod);
    const ip = this.ip(pod);
    const flags = ['--xds', xds, '--source-address', ip];
    flags.push(...configFlags(this.folder, this.#options), ...(this.#options.bootstrapFlags ?? []));
    for (const protocol of serves) {
      const app = await (protocol === 'http' ? httpApp(pod) : echoApp());
      this.#apps.push(app);
      flags.push('--inbound', `${protocol}:${ip}:${inboundPorts[protocol]}=127.0.0.1:${app.port}`);
    }
    for (const [index, { to, protocol, id, at }] of calls.entries()) {
      const upstream = `${at ?? this.ip(to)}:${inboundPorts[protocol]}=${id ?? this.id(to)}`;
      flags.push('--outbound', `${protocol}:${ip}:${firstOutboundPort + index}=${upstream}`);
    }
    const envoy = await TestEnvoy.start({
      pod,
      folder: this.folder,
      controlPlane: this.controlPlane.address,
      bundle: this.controlPlane.bundle,
      token: token ?? (await this.token(pod)),
      flags,
      ...(edit === undefined ? {} : { edit }),
    });
    this.#envoys.set(pod, envoy);
    return envoy;
  }

  async token(pod: string): Promise<string> {
    return await this.controlPlane.ask('token', '--pod', pod);
  }

  /** Pods with an open stream, as an operator sees them. */
  async connected(): Promise<readonly ProxyState[]> {
    const { proxies } = JSON.parse(await this.controlPlane.ask('proxies', '-o', 'json')) as {
      proxies: readonly ProxyState[];
    };
    return proxies;
  }

  envoy(pod: string): TestEnvoy {
    const envoy = this.#envoys.get(pod);
    if (envoy === undefined) throw new Error(`${pod} has no sidecar`);
    return envoy;
  }

  ip(pod: string): string {
    return addressIn(this.#subnet, this.#options.pods.indexOf(this.#podOf(pod)));
  }

  id(pod: string): string {
    const [namespace, name] = pod.split('/');
    return `spiffe://${this.#options.trustDomain ?? trustDomain}/ns/${namespace}/sa/${this.#options.pods.find((each) => each.pod === pod)?.account ?? name}`;
  }

  /** Where `from` reaches the `way`-th of its ways out in plaintext, as its app would. */
  wayOut(from: string, way = 0): { readonly host: string; readonly port: number } {
    return { host: this.ip(from), port: firstOutboundPort + way };
  }

  /** Name of the stat prefix and of the listener in front of the pod's app. */
  inboundName(pod: string, protocol: Protocol = 'http'): string {
    return `inbound|${this.ip(pod)}|${inboundPorts[protocol]}`;
  }

  async call(
    from: string,
    options: Omit<Parameters<typeof call>[0], 'host' | 'port'> & { way?: number } = {},
  ): Promise<Answer> {
    return await call({ ...this.wayOut(from, options.way), ...options });
  }

  /** Replaces the mesh's configuration. */
  writeConfig(text: string): void {
    writeManifest(configFile(this.folder), text);
  }

  writePolicy(name: string, text: string): void {
    writeManifest(join(this.manifests, 'policies', `${name}.yaml`), text);
  }

  deletePolicy(name: string): void {
    rmSync(join(this.manifests, 'policies', `${name}.yaml`));
  }

  /** Again, under the same name and address: another pod. */
  createPod(pod: string): void {
    writeManifest(podFile(this.manifests, pod), podManifests(this.#podOf(pod), this.ip(pod)));
  }

  deletePod(pod: string): void {
    rmSync(podFile(this.manifests, pod));
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#envoys.values()].map((envoy) => envoy.stop()));
    for (const app of this.#apps) app.close();
    await this.controlPlane.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  #podOf(name: string): TestPod {
    const found = this.#options.pods.find(({ pod }) => pod === name);
    if (found === undefined) throw new Error(`there is no pod ${name} in the mesh`);
    return found;
  }
}

function configFile(folder: string): string {
  return join(folder, 'mesh.yaml');
}

function configFlags(folder: string, { meshConfig }: TestMeshOptions): readonly string[] {
  return meshConfig === undefined ? [] : ['--mesh-config', configFile(folder)];
}

function addressIn(subnet: string, index: number): string {
  return `${subnet}.${index + 11}`;
}

function podFile(manifests: string, pod: string): string {
  return join(manifests, 'pods', `${pod.replace('/', '-')}.yaml`);
}

/** By rename: the control plane never sees half a file. */
function writeManifest(file: string, text: string): void {
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}

function podManifests({ pod, account, node = 'node-1' }: TestPod, ip: string): string {
  const [namespace, name] = pod.split('/');
  const own = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { namespace, name } };
  const manifest = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { namespace, name, labels: { app: name } },
    spec: {
      serviceAccountName: account ?? name,
      nodeName: node,
      containers: [{ name: 'app', image: 'app' }],
    },
    status: { phase: 'Running', podIP: ip },
  };
  return account === undefined ? `${stringify(own)}---\n${stringify(manifest)}` : stringify(manifest);
}
