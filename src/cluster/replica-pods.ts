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
  /** A replica came, went, or is ready otherwise than it was. */
  readonly onChange: () => void;
  /** They cannot be seen; it is tried again. Once for each row of failures. */
  readonly onFailing: (what: string, error: unknown) => void;
  readonly onRecovered: (what: string) => void;
}

interface ReplicaPod {
  readonly name: string;
  readonly ready: boolean;
}

const POD_NAME = 'authentication.kubernetes.io/pod-name';
const WHAT = 'the pods of the replicas';

/**
 * Which replicas there are, by what the API server knows of them and not by what they say: one that cannot write is
 * there all the same. They are the ready pods that run as the own service account. Outside of a pod nobody knows.
 */
export class ReplicaPods {
  readonly #options: ReplicaPodsOptions;
  /** Ready ones, and since when by our own clock. */
  readonly #ready = new Map<string, number>();
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

  /** Those beside the own, and since when they have been seen to be ready. */
  get others(): ReadonlyMap<string, number> {
    return this.#ready;
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
          for (const name of this.#ready.keys()) if (!names.has(name)) this.#ready.delete(name);
          for (const pod of pods) this.#set(pod);
          this.#seen();
        },
        set: (pod) => {
          this.#set(pod);
          this.#options.onChange();
        },
        deleted: ({ name }) => {
          this.#ready.delete(name);
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

  #set({ name, ready }: ReplicaPod): void {
    if (!ready) this.#ready.delete(name);
    else if (name !== this.#own && !this.#ready.has(name)) this.#ready.set(name, this.#options.monotonicMs());
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
  const ready =
    phase === 'Running' &&
    textAt(metadata, 'deletionTimestamp') === undefined &&
    Array.isArray(conditions) &&
    conditions.some(
      (each: unknown) => isFields(each) && each['type'] === 'Ready' && each['status'] === 'True',
    );
  return { name: textAt(metadata, 'name') ?? '', ready };
}
