import {
  BackOff,
  fieldsAt,
  isFields,
  Reflector,
  textAt,
  type ApiServer,
  type Fields,
} from '../kubernetes/index.ts';
import { pause } from './pause.ts';

export interface ReplicaPodsOptions {
  readonly api: ApiServer;
  /** The control plane's own. */
  readonly namespace: string;
  /** A clock that only goes forward. */
  readonly monotonicMs: () => number;
  readonly random: () => number;
  /** A replica came, went, or is there otherwise than it was. */
  readonly onChange: () => void;
  /** They cannot be seen; it is tried again. Once for each row of failures. */
  readonly onFailing: (what: string, error: unknown) => void;
  readonly onRecovered: (what: string) => void;
}

/** Another replica that is there, as far as anybody knows. */
export interface OtherReplica {
  /** Since when it has been seen, by our own clock. */
  readonly sinceMs: number;
  /** It is being deleted, or not called ready any more, while its containers run as far as its node has said. */
  readonly lost: boolean;
}

interface ReplicaPod {
  readonly name: string;
  readonly running: boolean;
  readonly lost: boolean;
}

const POD_NAME = 'authentication.kubernetes.io/pod-name';
const WHAT = 'the pods of the replicas';

/**
 * Which replicas there are, by what the API server knows of them and not by what they say: one that cannot write is
 * there all the same. They are the pods that run as the own service account and whose containers were ready when their
 * node was heard of last: on a node out of reach they go on, and serve their Envoys, whatever is decided about the pod
 * meanwhile. Outside of a pod nobody knows.
 */
export class ReplicaPods {
  readonly #options: ReplicaPodsOptions;
  readonly #others = new Map<string, OtherReplica>();
  #own: string | undefined;
  #unknownSinceMs: number | undefined;

  constructor(options: ReplicaPodsOptions) {
    this.#options = options;
    this.#unknownSinceMs = options.monotonicMs();
  }

  /** The pod that this replica is; undefined: not known yet, or none. */
  get own(): string | undefined {
    return this.#own;
  }

  /** Those beside the own, by pod. */
  get others(): ReadonlyMap<string, OtherReplica> {
    return this.#others;
  }

  /** Since when it has not been known which there are; undefined: it is. */
  get unknownSinceMs(): number | undefined {
    return this.#unknownSinceMs;
  }

  /** Until `signal` is aborted. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const self = await this.#self(signal);
    if (signal.aborted) return;
    this.#own = self?.pod;
    if (self === undefined) this.#seen();
    else await this.#reflector(self.account).run(signal);
  }

  /** As whom the API server knows this replica. Undefined: it does not run as a pod. */
  async #self(signal: AbortSignal): Promise<{ readonly account: string; readonly pod: string } | undefined> {
    const { api, namespace, random, onFailing, onRecovered } = this.#options;
    const what = 'who this replica is';
    const backOff = new BackOff({ random, firstMs: 500, mostMs: 10_000 });
    for (;;) {
      try {
        const { status } = await api.post(
          '/apis/authentication.k8s.io/v1/selfsubjectreviews',
          { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' },
          { signal, timeoutMs: 5_000 },
        );
        if (backOff.failures > 0) onRecovered(what);
        return selfOf(fieldsAt(isFields(status) ? status : {}, 'userInfo'), namespace);
      } catch (error) {
        if (signal.aborted) return undefined;
        if (backOff.failures === 0) onFailing(what, error);
        await pause(backOff.next(), signal);
        if (signal.aborted) return undefined;
      }
    }
  }

  #reflector(account: string): Reflector<ReplicaPod> {
    const { api, namespace, random, monotonicMs, onFailing, onRecovered } = this.#options;
    return new Reflector({
      api,
      path: `/api/v1/namespaces/${namespace}/pods`,
      fieldSelector: `spec.serviceAccountName=${account}`,
      random,
      nowMs: monotonicMs,
      read: readReplicaPod,
      sink: {
        replaced: (pods) => {
          const names = new Set(pods.map(({ name }) => name));
          for (const name of this.#others.keys()) if (!names.has(name)) this.#others.delete(name);
          for (const pod of pods) this.#set(pod);
          this.#seen();
        },
        set: (pod) => {
          this.#set(pod);
          this.#options.onChange();
        },
        deleted: ({ name }) => {
          this.#others.delete(name);
          this.#options.onChange();
        },
        absent: () => {},
        failed: (error) => {
          // Away: nothing can be seen by anybody, and what was known holds.
          if (!error.away) this.#unknownSinceMs ??= monotonicMs();
          onFailing(WHAT, error);
          this.#options.onChange();
        },
        recovered: () => {
          this.#seen();
          onRecovered(WHAT);
        },
      },
    });
  }

  #set({ name, running, lost }: ReplicaPod): void {
    const sinceMs = this.#others.get(name)?.sinceMs ?? this.#options.monotonicMs();
    if (!running) this.#others.delete(name);
    else if (name !== this.#own) this.#others.set(name, { sinceMs, lost });
  }

  #seen(): void {
    this.#unknownSinceMs = undefined;
    this.#options.onChange();
  }
}

function selfOf(user: Fields, own: string): { readonly account: string; readonly pod: string } | undefined {
  const [, namespace, account] =
    /^system:serviceaccount:([^:]+):([^:]+)$/u.exec(textAt(user, 'username') ?? '') ?? [];
  const names = fieldsAt(user, 'extra')[POD_NAME];
  const pod: unknown = Array.isArray(names) ? names[0] : undefined;
  if (namespace !== own || account === undefined || typeof pod !== 'string') return undefined;
  return { account, pod };
}

function readReplicaPod(object: Fields): ReplicaPod {
  const metadata = fieldsAt(object, 'metadata');
  const { phase, conditions } = fieldsAt(object, 'status');
  const holds = (type: string): boolean =>
    Array.isArray(conditions) &&
    conditions.some((each: unknown) => isFields(each) && each['type'] === type && each['status'] === 'True');
  return {
    name: textAt(metadata, 'name') ?? '',
    // Not `Ready`: of a node that it cannot hear, the node lifecycle controller says that its pods are not.
    running: phase === 'Running' && holds('ContainersReady'),
    lost: textAt(metadata, 'deletionTimestamp') !== undefined || !holds('Ready'),
  };
}
