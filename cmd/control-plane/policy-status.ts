import { StatusWriter, type PolicyStanding, type ReplicaReports } from '../../src/cluster/index.ts';
import type { StreamStatus } from '../../src/discovery/index.ts';
import type { ApiServer } from '../../src/kubernetes/index.ts';
import { namespacedKey, type Mesh, type Pod, type PolicyKind } from '../../src/mesh/index.ts';
import { EXTENSION_CONFIG_TYPE, type Proxies } from '../../src/proxy/index.ts';
import { PLURALS, type PolicyStatus } from '../../src/sources/kubernetes/index.ts';
import {
  progressOf,
  proxyStates,
  summarize,
  type QuarantineReport,
  type Report,
  type ReportEntry,
} from '../../src/status/index.ts';
import type { Witnesses } from './observers.ts';
import type { PolicyWarnings } from './policy-warnings.ts';
import type { RootRotation } from './root-rotation.ts';

/** The other group's objects have a controller of their own, which writes their status whole. */
const OWN_GROUP = 'security.countersign.dev';

/** After a change, and once for all that come meanwhile; and this many times what it cost. Milliseconds. */
const EVERY_MS = 1_000;
const IDLE_SHARE = 20;

export interface PolicyStatusParts extends Witnesses {
  readonly api: ApiServer;
  readonly mesh: Mesh;
  readonly proxies: Proxies;
  readonly streams: () => readonly StreamStatus[];
  readonly policies: () => readonly PolicyStatus[];
  readonly warnings: PolicyWarnings;
  /** How far a rotation of the root has come among the own proxies. */
  readonly rotation: Pick<RootRotation, 'report'>;
  /** Another mesh's leader writes into the statuses of its own namespaces: two writers would undo each other. */
  readonly isOurs: (namespace: string) => boolean;
  readonly quarantine: () => QuarantineReport;
  readonly reports: ReplicaReports;
  readonly identity: string;
}

/**
 * What became of the policies: each replica tells the others how far they have come among its own proxies, and the one
 * that leads writes what all of them say into the objects' statuses.
 */
export class PolicyStatuses {
  readonly #parts: PolicyStatusParts;
  #own: Report | undefined;
  #writer: StatusWriter | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  #waitMs = EVERY_MS;

  constructor(parts: PolicyStatusParts) {
    this.#parts = parts;
    this.touch();
  }

  /** A policy, a proxy, or what one of them runs may have changed. */
  touch(): void {
    if (this.#closed) return;
    this.#timer ??= setTimeout(() => this.#look(), this.#waitMs).unref();
  }

  /** What another replica says has changed. */
  othersChanged(): void {
    this.#writer?.wake();
  }

  /** Writes statuses as long as this replica leads. */
  lead(term: AbortSignal): void {
    const { api, metrics, log } = this.#parts;
    const writer = new StatusWriter({
      api,
      resources: Object.values(PLURALS).map((plural) => `${plural}.${OWN_GROUP}`),
      standings: () => this.#standings(),
      wallMs: Date.now,
      monotonicMs: () => performance.now(),
      random: Math.random,
      onWritten: () => metrics.statusWrites.inc(),
      onFailing: (what, error) => log.error({ err: error }, `${what} cannot be kept; it is tried again`),
      onRecovered: (what) => log.info(`${what} is kept again`),
    });
    this.#writer = writer;
    void writer.run(term);
    term.addEventListener('abort', () => {
      if (this.#writer === writer) this.#writer = undefined;
    });
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #look(): void {
    this.#timer = undefined;
    const began = performance.now();
    const { rotation, quarantine } = this.#parts;
    this.#own = { policies: this.#progress(), ...rotation.report(), quarantine: quarantine() };
    this.#parts.reports.publish(this.#own);
    this.#writer?.wake();
    this.#waitMs = Math.max(EVERY_MS, IDLE_SHARE * (performance.now() - began));
  }

  #progress(): ReadonlyMap<string, ReportEntry> {
    const { mesh, proxies, streams, policies } = this.#parts;
    const states = proxyStates(streams(), EXTENSION_CONFIG_TYPE, (client, typeUrl, name) =>
      proxies.versionOf(client, typeUrl, name),
    );
    const selected = new Map<string, string[]>();
    for (const client of states.keys()) {
      const pod = mesh.get('Pod', client);
      if (pod === undefined) continue;
      for (const [kind, them] of selecting(mesh, pod)) {
        for (const policy of them) {
          const key = `${kind} ${namespacedKey(policy.namespace, policy.name)}`;
          const clients = selected.get(key);
          if (clients === undefined) selected.set(key, [client]);
          else clients.push(client);
        }
      }
    }
    return new Map(
      policies()
        .filter(isOwn)
        .map((status): [string, ReportEntry] => {
          const { uid, generation, kind, key } = status;
          const clients = selected.get(`${kind} ${key}`) ?? [];
          return [nameOf(status), { uid, generation, progress: progressOf(clients, states) }];
        }),
    );
  }

  *#standings(): Generator<PolicyStanding, void, undefined> {
    const { policies, warnings, reports, identity, isOurs } = this.#parts;
    if (this.#own === undefined) return;
    const all = new Map([...reports.others, [identity, this.#own]]);
    const silent = reports.silent('due');
    const awaited = reports.awaited();
    for (const status of policies().filter(isOwn)) {
      if (!isOurs(status.namespace)) continue;
      const known = this.#own.policies.get(nameOf(status));
      // Not counted yet; it is looked at soon.
      if (known?.uid !== status.uid || known.generation !== status.generation) continue;
      const { resource, namespace, name, uid, generation, kind, issues, inForce, key } = status;
      const { progress, unseenBy } = summarize(nameOf(status), status, all);
      const together = inForce === 'this' ? warnings.of(kind, key) : [];
      yield {
        resource,
        namespace,
        name,
        uid,
        standing: {
          generation,
          issues: [...issues, ...together],
          lastGood: inForce === 'earlier',
          progress,
          unseenBy,
          silent,
          awaited,
        },
      };
    }
  }
}

/** What is enforced at a pod, by kind. */
function selecting(mesh: Mesh, pod: Pod): readonly (readonly [PolicyKind, readonly Named[]])[] {
  return [
    ['AuthorizationPolicy', mesh.policiesOf(pod)],
    ['RequestAuthentication', mesh.requestAuthenticationsOf(pod)],
    ['PeerAuthentication', mesh.peerAuthenticationsOf(pod)],
  ];
}

interface Named {
  readonly namespace: string;
  readonly name: string;
}

function isOwn({ resource }: PolicyStatus): boolean {
  return resource.endsWith(`.${OWN_GROUP}`);
}

function nameOf({ resource, namespace, name }: PolicyStatus): string {
  return `${resource} ${namespacedKey(namespace, name)}`;
}
