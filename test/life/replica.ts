import type protobuf from 'protobufjs';
import { pino, type Logger } from 'pino';
import { AuditLog } from '../../src/audit/index.ts';
import { Authority, type IssuedSvid, type KeyStore } from '../../src/authority/index.ts';
import type { StreamStatus } from '../../src/discovery/index.ts';
import { Links } from '../../src/expiry/index.ts';
import { SpiffeId, type TrustDomain } from '../../src/identity/index.ts';
import { Mesh } from '../../src/mesh/index.ts';
import { Proxies, ResourceEncoder } from '../../src/proxy/index.ts';
import type { Report } from '../../src/status/index.ts';
import { watchForJumps } from '../../cmd/control-plane/clock-watch.ts';
import { authorityLinks, ownLinks, svidLinks, type OwnCertificates } from '../../cmd/control-plane/expiry.ts';
import { renewForSigner, RootRotation } from '../../cmd/control-plane/root-rotation.ts';
import { rotateByAge } from '../../cmd/control-plane/rotation-by-age.ts';
import { servingCertificate } from '../../cmd/control-plane/serving-certificate.ts';

export interface ReplicaOptions {
  readonly name: string;
  readonly schema: protobuf.Root;
  readonly trustDomain: TrustDomain;
  /** Of all replicas. */
  readonly store: KeyStore;
  readonly random: () => number;
  readonly svidTtlMs: number;
  readonly rootTtlMs: number;
  readonly rotateAtAgeMs: number;
  readonly leads: (name: string) => boolean;
  readonly others: () => readonly Replica[];
  readonly streams: () => readonly StreamStatus[];
  /** Stands while the clock jumps. */
  readonly monotonicMs: () => number;
  /** Looks for jumps of the clock, every second. */
  readonly watchesClock: boolean;
  /** Waits for nobody. */
  readonly hasty: boolean;
  readonly onIssued: (former: IssuedSvid | undefined, svid: IssuedSvid) => void;
}

/** The rooms of one control plane, wired as it wires them, without its ports. */
export class Replica {
  readonly name: string;
  readonly authority: Authority;
  readonly mesh: Mesh;
  readonly proxies: Proxies;
  readonly rotation: RootRotation;
  readonly links: Links;
  readonly own: OwnCertificates = new Map();
  /** Under which it serves, and what it shows with that to clients that know former roots alone. */
  serving: IssuedSvid | undefined;
  /** Steps of a rotation that are being taken. */
  readonly pending: Set<Promise<void>> = new Set<Promise<void>>();
  readonly steps: string[] = [];
  readonly #closers: (() => void)[] = [];

  static async open(options: ReplicaOptions): Promise<Replica> {
    const authority = await Authority.open({
      store: options.store,
      trustDomain: options.trustDomain,
      nowMs: Date.now,
      svidTtlMs: options.svidTtlMs,
      rootTtlMs: options.rootTtlMs,
    });
    return new Replica(authority, options);
  }

  private constructor(authority: Authority, options: ReplicaOptions) {
    const { name, schema, trustDomain, random, svidTtlMs } = options;
    this.name = name;
    this.authority = authority;
    this.mesh = new Mesh({ rootNamespace: 'root' });
    const log: Logger = pino({ level: 'silent' });
    const onError = (error: Error): void => {
      throw error;
    };
    this.proxies = new Proxies({
      encoder: new ResourceEncoder(schema),
      mesh: this.mesh,
      settings: { trustDomain: trustDomain.name, rootNamespace: 'root', defaultAction: 'deny' },
      jwksOf: () => undefined,
      trust: () => ({ own: authority.bundle, federated: [], knows: () => false }),
      quarantine: () => [],
      nowMs: Date.now,
      ticks: () => 0,
      random,
      issue: ({ id, pod }) => {
        const former = this.proxies.svidOf(`${pod.namespace}/${pod.name}`)?.svid;
        const svid = authority.issue(id);
        options.onIssued(former, svid);
        return svid;
      },
      observer: {
        waited: () => {},
        issued: () => {},
        refused: () => {},
        failed: (_workload, error) => onError(error),
      },
    });
    authority.onBundleChange(() => this.proxies.bundleChanged());
    authority.onSignerChange(() => void renewForSigner(authority, this.proxies, log));
    this.rotation = new RootRotation({
      authority,
      proxies: this.proxies,
      streams: options.streams,
      unawareUntilMs: () => 0,
      others: () =>
        new Map(
          options
            .others()
            .map((other): [string, Report] => [
              other.name,
              { policies: new Map(), ...other.rotation.report() },
            ]),
        ),
      silent: () => [],
      refreshHintMs: undefined,
      audit: new AuditLog({
        sink: { write: () => {}, close: () => {} },
        nowMs: Date.now,
        onError,
        onRecovered: () => {},
      }),
      log,
    });
    this.#trackSteps();
    if (options.hasty) this.rotation.lagging = (): readonly string[] => [];
    const certificate = (kind: 'serving' | 'webhook'): void => {
      const served = servingCertificate({
        authority,
        id: SpiffeId.workload(trustDomain, 'countersign-system', 'control-plane'),
        dnsNames: [`${kind}.example`],
        ipAddresses: [],
        nowMs: Date.now,
        onRenewed: (svid) => {
          this.own.set(kind, svid);
          if (kind === 'serving') this.serving = svid;
        },
        onError,
      });
      this.#closers.push(() => served.close());
      if (options.watchesClock) {
        this.#closers.push(
          watchForJumps({
            wallMs: Date.now,
            monotonicMs: options.monotonicMs,
            clockFault: () => undefined,
            onJump: () => {
              served.clockMoved();
              if (kind === 'serving') this.proxies.clockMoved();
            },
          }),
        );
      }
    };
    certificate('serving');
    certificate('webhook');
    this.#closers.push(
      rotateByAge(
        {
          authority,
          rotation: this.rotation,
          leads: () => options.leads(name),
          ageMs: options.rotateAtAgeMs,
          settleMs: options.hasty ? 0 : svidTtlMs,
          nowMs: Date.now,
        },
        log,
      ),
    );
    this.links = new Links({ nowMs: Date.now, settleMs: svidTtlMs });
    this.links.add(() => authorityLinks(authority, 'data'));
    this.links.add(() => ownLinks(this.own));
    this.links.add(() => svidLinks(this.proxies, 'data'));
  }

  /** Certificates as a client that connects is shown them. DER. */
  shownChain(): readonly Buffer[] {
    const crosses = [...this.authority.crossChainPem.matchAll(/-----BEGIN[^-]*-----([^-]*)-----END/gu)];
    return [
      ...(this.serving?.chain ?? []),
      ...crosses.map(([, base64 = '']) => Buffer.from(base64, 'base64')),
    ];
  }

  close(): void {
    for (const close of this.#closers) close();
    this.proxies.close();
    this.authority.close();
  }

  #trackSteps(): void {
    const take = this.rotation.take.bind(this.rotation);
    this.rotation.take = async (step, force, actor): Promise<void> => {
      const taken = take(step, force, actor);
      this.pending.add(taken);
      try {
        await taken;
        this.steps.push(step);
      } finally {
        this.pending.delete(taken);
      }
    };
  }
}
