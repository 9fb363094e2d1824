import type { IssuedSvid } from '../../src/authority/index.ts';
import type { StreamStatus } from '../../src/discovery/index.ts';
import { SpiffeId, type TrustBundle, type TrustDomain } from '../../src/identity/index.ts';
import type { Pod } from '../../src/mesh/index.ts';
import { SECRET_TYPE, type ProxyLease } from '../../src/proxy/index.ts';
import type { Replica } from './replica.ts';

const names = ['default', 'ROOTCA'] as const;
type Name = (typeof names)[number];

export interface SidecarOptions {
  readonly pod: Pod;
  readonly trustDomain: TrustDomain;
  readonly random: () => number;
  /** Called before and after it holds something else. */
  readonly onChange: () => void;
}

/** An Envoy as far as its secrets go: it runs what it fetched last, some time after it was told. */
export class Sidecar {
  readonly pod: Pod;
  readonly bornMs: number = Date.now();
  svid: IssuedSvid | undefined;
  bundle: TrustBundle | undefined;
  /** The control plane's roots as they were in its file when it was started: it reads that once. */
  readonly file: TrustBundle;
  replica: Replica | undefined;
  readonly #options: SidecarOptions;
  readonly #running = new Map<Name, string>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #lease: ProxyLease | undefined;
  #unwatch: () => void = () => {};
  #due = false;

  constructor(options: SidecarOptions, first: Replica) {
    this.#options = options;
    this.pod = options.pod;
    this.file = first.authority.bundle;
    this.connect(first);
  }

  connect(replica: Replica): void {
    const { pod, trustDomain } = this.#options;
    const id = SpiffeId.workload(trustDomain, pod.namespace, pod.serviceAccount);
    const lease = replica.proxies.open({ id, pod, factors: [] }, () => undefined);
    this.replica = replica;
    this.#lease = lease;
    this.#running.clear();
    this.#unwatch = lease.proxy.watch(() => this.#told());
    this.#told();
  }

  disconnect(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.#due = false;
    this.#unwatch();
    this.#lease?.release();
    this.replica = undefined;
  }

  status(): StreamStatus {
    const { pod } = this;
    const resources = names.map((name) => {
      const running = this.#running.get(name);
      return { name, version: running ?? '', running, acknowledged: true, rejection: undefined };
    });
    const state = 'acked';
    const type = { typeUrl: SECRET_TYPE, wildcard: false, names, resources, state, nonce: '' } as const;
    return {
      streamId: 0,
      client: `${pod.namespace}/${pod.name}`,
      method: '',
      nodeId: '',
      openedAtMs: 0,
      endsAtMs: 0,
      types: [{ ...type, waitingSinceMs: undefined, rejection: undefined }],
    };
  }

  /** Pushes and acknowledgements take their time; once in a while an Envoy is busy for minutes. */
  #told(): void {
    if (this.#due) return;
    this.#due = true;
    const { random } = this.#options;
    this.#after(random() < 0.02 ? 300_000 * random() : 2_000 * random(), () => this.#fetch());
  }

  #fetch(): void {
    this.#due = false;
    const { replica } = this;
    const { pod, onChange } = this.#options;
    if (replica === undefined || this.#lease === undefined) return;
    const key = `${pod.namespace}/${pod.name}`;
    const [own, roots] = names.map((name) => replica.proxies.versionOf(key, SECRET_TYPE, name));
    onChange();
    this.svid = replica.proxies.svidOf(key)?.svid ?? this.svid;
    this.bundle = replica.authority.bundle;
    onChange();
    this.#after(1_000 * this.#options.random(), () => {
      if (own !== undefined) this.#running.set('default', own);
      if (roots !== undefined) this.#running.set('ROOTCA', roots);
    });
  }

  #after(ms: number, run: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      run();
    }, ms);
    this.#timers.add(timer);
  }
}
