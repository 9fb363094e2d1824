import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import protobuf from 'protobufjs';
import { vi } from 'vitest';
import { memoryKeyStore, type IssuedSvid } from '../../src/authority/index.ts';
import { TrustDomain, verifySvid, type TrustBundle } from '../../src/identity/index.ts';
import type { Pod } from '../../src/mesh/index.ts';
import { Replica } from './replica.ts';
import { Sidecar } from './sidecar.ts';

const trustDomain = TrustDomain.parse('mesh.example');
const schema = protobuf.Root.fromJSON(
  JSON.parse(
    readFileSync(new URL('../../proto/gen/envoy.json', import.meta.url), 'utf8'),
  ) as protobuf.INamespace,
);
const minute = 60_000;
const day = 24 * 60 * minute;
/** Longer than a fake day has steps for: Envoys come, go, and are away in between. */
const STEP_MS = 5 * minute;
const realTurn = setImmediate;

export interface LifeOptions {
  readonly seed: number;
  readonly workloads: number;
  readonly replicas: number;
  readonly svidTtlMs: number;
  readonly rootTtlMs: number;
  readonly rotateAtAgeMs: number;
  readonly watchesClock?: boolean;
  /** Steps of rotations are taken without waiting for anybody. */
  readonly hasty?: boolean;
}

/**
 * A mesh whose clock is the test's. At each moment at which anybody holds something else, and at each step, every
 * live workload's SVID has to verify by every other live workload's bundle.
 */
export class Life {
  readonly replicas: Replica[] = [];
  readonly sidecars: Sidecar[] = [];
  /** What was wrong, and when. */
  readonly faults: string[] = [];
  /** In the order in which they were made. */
  readonly issued: { readonly former: IssuedSvid | undefined; readonly svid: IssuedSvid }[] = [];
  checks = 0;
  returned = 0;
  readonly #options: LifeOptions;
  readonly #random: () => number;
  /** Until when an SVID verifies by a bundle, and from when; by serial, and the bundle's number. */
  readonly #verified = new Map<string, { readonly fromMs: number; readonly untilMs: number }>();
  readonly #startedMs: number;
  #jumpedMs = 0;
  #leader = 0;
  #born = 0;

  static async start(options: LifeOptions): Promise<Life> {
    vi.useFakeTimers({
      now: Date.UTC(2026, 0, 1),
      toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date'],
    });
    const life = new Life(options);
    const store = memoryKeyStore();
    for (let index = 0; index < options.replicas; index += 1) {
      const name = `replica-${index}`;
      life.replicas.push(
        await Replica.open({
          ...options,
          name,
          schema,
          trustDomain,
          store,
          random: life.#random,
          leads: (asked) => asked === life.replicas[life.#leader]?.name,
          others: () => life.replicas.filter((other) => other.name !== name),
          streams: () => life.sidecars.filter((one) => one.replica?.name === name).map((one) => one.status()),
          monotonicMs: () => Date.now() - life.#startedMs - life.#jumpedMs,
          watchesClock: options.watchesClock === true,
          hasty: options.hasty === true,
          onIssued: (former, svid) => life.issued.push({ former, svid }),
        }),
      );
    }
    // The others take over what the leader kept, some seconds later.
    for (const replica of life.replicas) {
      replica.authority.onBundleChange(() => life.#follow());
      replica.authority.onSignerChange(() => life.#follow());
    }
    life.#stored = store;
    while (life.sidecars.length < options.workloads) life.#bear();
    return life;
  }

  #stored = memoryKeyStore();

  private constructor(options: LifeOptions) {
    this.#options = options;
    this.#startedMs = Date.now();
    this.#random = mulberry32(options.seed);
    vi.spyOn(Math, 'random').mockImplementation(this.#random);
  }

  close(): void {
    for (const replica of this.replicas) replica.close();
    vi.restoreAllMocks();
    vi.useRealTimers();
  }

  /** Lets time pass. */
  async live(ms: number, stepMs: number = STEP_MS): Promise<void> {
    for (let passed = 0; passed < ms && this.faults.length < 5; passed += stepMs) {
      vi.advanceTimersByTime(stepMs);
      await this.#settle();
      if (stepMs === STEP_MS) this.#comeAndGo();
      this.check();
      this.#checkLinks();
    }
  }

  /** Time passes, and no timer sees it. */
  jump(ms: number): void {
    this.#jumpedMs += ms;
    vi.setSystemTime(Date.now() + ms);
  }

  /** Every pair of them. */
  check(): void {
    const bundles = new Map<number, TrustBundle>();
    for (const { bundle } of this.sidecars) if (bundle !== undefined) bundles.set(bundle.sequence, bundle);
    for (const { svid, pod } of this.sidecars) {
      if (svid === undefined) continue;
      for (const bundle of bundles.values()) this.#checkPair(pod.name, svid.serial, svid.chain, bundle);
    }
  }

  /** No link of any replica is due while all goes on as it should. */
  #checkLinks(): void {
    for (const { links, name } of this.replicas) {
      const due = links.judged().filter(({ state }) => state !== 'ok');
      if (due.length > 0)
        this.#fault(`${name}: ${due.map(({ kind, detail }) => `${kind} ${detail}`).join()}`);
    }
  }

  #checkPair(who: string, serial: string, chain: readonly Buffer[], bundle: TrustBundle): void {
    const key = `${serial} ${bundle.sequence}`;
    const nowMs = Date.now();
    this.checks += 1;
    const known = this.#verified.get(key);
    if (known !== undefined && nowMs >= known.fromMs && nowMs < known.untilMs) return;
    const bundles = (): TrustBundle => bundle;
    try {
      verifySvid({ chain, bundles, nowMs });
      this.#verified.set(key, { fromMs: nowMs, untilMs: soonestEnd(chain, bundle) });
    } catch (error) {
      this.#fault(`${who} by bundle ${bundle.sequence}: ${String(error)}`);
    }
  }

  #fault(what: string): void {
    this.faults.push(`${new Date().toISOString()} ${what}`);
  }

  #follow(): void {
    const authorities = this.replicas.map(({ authority }) => authority);
    setTimeout(
      () => {
        void (async (): Promise<void> => {
          const stored = await this.#stored.load();
          for (const authority of authorities) if (stored !== undefined) await authority.follow(stored);
        })();
      },
      1_000 + 4_000 * this.#random(),
    );
  }

  /** What is done between two timers in the real world: signatures, saves. */
  async #settle(): Promise<void> {
    await new Promise<void>((resolve) => realTurn(resolve));
    while (this.replicas.some(({ pending }) => pending.size > 0))
      await Promise.allSettled(this.replicas.flatMap(({ pending }) => [...pending]));
    await new Promise<void>((resolve) => realTurn(resolve));
  }

  #comeAndGo(): void {
    const often = (perDay: number): boolean => this.#random() < (perDay * STEP_MS) / day;
    if (often(1)) this.#leader = Math.floor(this.#random() * this.replicas.length);
    for (const sidecar of [...this.sidecars]) {
      const old = Date.now() - sidecar.bornMs > this.#options.rotateAtAgeMs * 0.8;
      if (old || often(0.2)) this.#end(sidecar);
      else if (sidecar.replica !== undefined && often(6)) this.#away(sidecar);
    }
    while (this.sidecars.length < this.#options.workloads) this.#bear();
    for (const [key, { untilMs }] of this.#verified) if (untilMs < Date.now()) this.#verified.delete(key);
  }

  /** A token runs out, a replica is restarted: an Envoy comes back, to any replica, knowing what it knew. */
  #away(sidecar: Sidecar): void {
    sidecar.disconnect();
    setTimeout(
      () => {
        if (!this.sidecars.includes(sidecar)) return;
        const replica = this.#anyReplica();
        this.returned += 1;
        const { serving } = replica;
        if (serving !== undefined) {
          const serial = `${serving.serial} file ${sidecar.bornMs}`;
          this.#checkPair('the control plane', serial, replica.shownChain(), sidecar.file);
        }
        sidecar.connect(replica);
      },
      this.#options.svidTtlMs * 0.3 * this.#random(),
    );
  }

  #bear(): void {
    const name = `w${this.#born}`;
    this.#born += 1;
    const pod: Pod = {
      kind: 'Pod',
      namespace: 'shop',
      name,
      uid: `uid-${name}`,
      labels: {},
      annotations: {},
      serviceAccount: name,
      nodeName: 'node',
      ips: [],
      phase: 'Running',
      terminating: false,
    };
    for (const { mesh } of this.replicas) mesh.update([{ op: 'set', object: pod }]);
    const options = { pod, trustDomain, random: this.#random, onChange: () => this.check() };
    this.sidecars.push(new Sidecar(options, this.#anyReplica()));
  }

  #end(sidecar: Sidecar): void {
    sidecar.disconnect();
    this.sidecars.splice(this.sidecars.indexOf(sidecar), 1);
    const key = `${sidecar.pod.namespace}/${sidecar.pod.name}` as const;
    for (const { mesh } of this.replicas) mesh.update([{ op: 'delete', kind: 'Pod', key }]);
  }

  #anyReplica(): Replica {
    const replica = this.replicas[Math.floor(this.#random() * this.replicas.length)];
    if (replica === undefined) throw new Error('there is no replica');
    return replica;
  }
}

const ends = new WeakMap<Buffer, number>();

function endOf(der: Buffer): number {
  const known = ends.get(der) ?? new X509Certificate(der).validToDate.getTime();
  ends.set(der, known);
  return known;
}

/** Of all certificates that could be on the way: until then, what verified once does so still. */
function soonestEnd(chain: readonly Buffer[], { x509Authorities }: TrustBundle): number {
  return Math.min(...[...chain, ...x509Authorities].map(endOf));
}

/** Small, and the same for the same seed. */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
