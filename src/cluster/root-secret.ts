import { setTimeout as sleep } from 'node:timers/promises';
import {
  AuthorityError,
  parseStored,
  refuseOtherLine,
  serializeStored,
  type KeyStore,
  type StoredAuthority,
} from '../authority/index.ts';
import {
  ApiServerError,
  fieldsAt,
  isOlder,
  textAt,
  type ApiServer,
  type Fields,
  type RequestOptions,
} from '../kubernetes/index.ts';
import { BUNDLE_CONFIG_MAP } from './bundle-objects.ts';
import { markOf, otherMesh, type MeshMark } from './mesh-mark.ts';

const NAME = 'countersign-root';
const KEY = 'authority.json';
const TYPE = 'countersign.dev/root';

export interface RootSecretOptions {
  readonly api: ApiServer;
  /** Its namespace is that of the Secret. */
  readonly mark: MeshMark;
  /** What an earlier run knew: it serves at a start without the API server. */
  readonly copy: KeyStore;
  /** Aborted where the start is given up. */
  readonly signal: AbortSignal;
  readonly monotonicMs: () => number;
  readonly random: () => number;
  /** The API server is away at the start; it is asked until it answers, or the copy serves. */
  readonly onAway: (error: ApiServerError) => void;
  readonly onCopyServes: () => void;
  /** The copy could not be read or written: a start without the API server would wait for it. */
  readonly onCopyFailed: (error: unknown) => void;
  /**
   * How long the API server is waited for where there is a copy, and for each of its answers, at least a second. Default
   * 5000 and 1000.
   */
  readonly times?: { readonly patienceMs: number; readonly retryMs: number };
}

/** What is kept of the Secret beside its content: a save must change nothing else. */
interface Seen {
  readonly version: string;
  readonly type: string;
  readonly metadata: Fields;
}

/** The root in a Secret of the control plane's own namespace, which all replicas share. */
export class RootSecret implements KeyStore {
  readonly description: string;
  readonly shared = true;
  /** Of the list that it is in: with `selector`, of it alone. */
  readonly collection: string;
  readonly selector: string = `metadata.name=${NAME}`;
  readonly #options: RootSecretOptions;
  #seen: Seen | undefined;
  readonly #times: { readonly patienceMs: number; readonly retryMs: number };
  /** As it was written last. */
  #copied: string | undefined;

  constructor(options: RootSecretOptions) {
    this.#options = options;
    this.#times = options.times ?? { patienceMs: 5_000, retryMs: 1_000 };
    const { namespace } = options.mark;
    this.description = `the Secret ${namespace}/${NAME}`;
    this.collection = `/api/v1/namespaces/${namespace}/secrets`;
  }

  /** @throws AuthorityError `store-*`, `root-lost`, `root-outdated`, `root-replaced` */
  async load(): Promise<StoredAuthority | undefined> {
    const { signal, monotonicMs, random, onAway, onCopyServes } = this.#options;
    const { patienceMs, retryMs } = this.#times;
    const kept = await this.#readCopy();
    const deadlineMs = monotonicMs() + patienceMs;
    for (let failures = 0; ; failures += 1) {
      try {
        return await this.#ask(kept);
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof ApiServerError)) throw error;
        if (!error.away) throw this.#fault('store-unreadable', 'cannot be read', error);
        if (failures === 0) onAway(error);
        if (kept !== undefined && monotonicMs() >= deadlineMs) {
          onCopyServes();
          return kept;
        }
      }
      await sleep(retryMs * (0.5 + random()), undefined, { signal });
    }
  }

  /** The first one only where there is none; later ones only where nobody changed it since it was seen. */
  async save(state: StoredAuthority): Promise<void> {
    const { api, mark } = this.#options;
    const seen = this.#seen;
    const body = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: seen?.metadata ?? { name: NAME, namespace: mark.namespace, ...markOf(mark) },
      type: seen?.type ?? TYPE,
      data: { [KEY]: Buffer.from(serializeStored(state)).toString('base64') },
    };
    try {
      this.#note(
        seen === undefined
          ? await api.post(this.collection, body)
          : await api.put(`${this.collection}/${NAME}`, body),
      );
    } catch (error) {
      if (!(error instanceof ApiServerError)) throw error;
      const status = error.refused?.status;
      if (status === 409 || (status === 404 && seen !== undefined)) {
        throw new AuthorityError(
          'store-conflict',
          `${this.description} was changed or deleted by somebody else meanwhile, and nothing of this step was kept: look how the rotation stands, and repeat it.`,
          { cause: error },
        );
      }
      throw this.#fault('store-unwritable', 'cannot be written', error);
    }
    await this.keepCopy(state);
  }

  /**
   * What an object of the API holds. Undefined: it is older than what was seen.
   * @param listed it is what there is, whatever was seen: versions go back where etcd was restored
   * @throws AuthorityError `store-corrupted`
   */
  read(object: Fields, listed: boolean): StoredAuthority | undefined {
    const version = textAt(fieldsAt(object, 'metadata'), 'resourceVersion') ?? '';
    if (!listed && isOlder(version, this.#seen?.version)) return undefined;
    this.#note(object);
    const coded = textAt(fieldsAt(object, 'data'), KEY);
    if (coded !== undefined)
      return parseStored(Buffer.from(coded, 'base64').toString('utf8'), this.description);
    throw new AuthorityError(
      'store-corrupted',
      `${this.description} has no ${KEY}: restore it from a backup, or from the copy in a replica's data directory.`,
    );
  }

  /** What a save is to build on. */
  #note(object: Fields): void {
    // Who manages which field is the API server's own book.
    const { managedFields: _, ...metadata } = fieldsAt(object, 'metadata');
    this.#seen = {
      version: textAt(metadata, 'resourceVersion') ?? '',
      type: textAt(object, 'type') ?? TYPE,
      metadata,
    };
  }

  async keepCopy(state: StoredAuthority): Promise<void> {
    const text = serializeStored(state);
    if (text === this.#copied) return;
    try {
      await this.#options.copy.save(state);
      this.#copied = text;
    } catch (error) {
      this.#options.onCopyFailed(error);
    }
  }

  async #readCopy(): Promise<StoredAuthority | undefined> {
    const { copy, onCopyFailed } = this.#options;
    try {
      const kept = await copy.load();
      this.#copied = kept && serializeStored(kept);
      return kept;
    } catch (error) {
      onCopyFailed(error);
      return undefined;
    }
  }

  async #ask(kept: StoredAuthority | undefined): Promise<StoredAuthority | undefined> {
    // One that is frozen takes connections and never answers: with a copy, nobody has to wait for it.
    const options = {
      signal: this.#options.signal,
      ...(kept !== undefined && { timeoutMs: Math.max(this.#times.patienceMs, 1_000) }),
    };
    // In this order: a bundle is published after its root was kept.
    const bundle = await this.#get(
      `/api/v1/namespaces/${this.#options.mark.namespace}/configmaps/${BUNDLE_CONFIG_MAP}`,
      options,
    );
    const object = await this.#get(`${this.collection}/${NAME}`, options);
    if (object !== undefined) {
      const stored = this.read(object, true);
      if (stored !== undefined && kept !== undefined) refuseOtherLine(kept, stored, this.description);
      return stored;
    }
    this.#seen = undefined;
    if (bundle !== undefined && otherMesh(bundle, this.#options.mark) === undefined) {
      throw this.#lost(`the ConfigMap ${this.#options.mark.namespace}/${BUNDLE_CONFIG_MAP}`);
    }
    if (kept !== undefined) throw this.#lost(this.#options.copy.description);
    return undefined;
  }

  async #get(path: string, options: RequestOptions): Promise<Fields | undefined> {
    try {
      return await this.#options.api.get(path, options);
    } catch (error) {
      if (error instanceof ApiServerError && error.refused?.status === 404) return undefined;
      throw error;
    }
  }

  /** A new root made silently would cut off every workload that trusts the old one. */
  #lost(evidence: string): AuthorityError {
    return new AuthorityError(
      'root-lost',
      `There is no root in ${this.description}, but ${evidence} says that there was one: restore it from a backup, or from the copy in a replica's data directory; only to begin with a new root, which every workload must then be given, remove ${evidence} too.`,
    );
  }

  #fault(
    code: 'store-unreadable' | 'store-unwritable',
    finding: string,
    cause: ApiServerError,
  ): AuthorityError {
    return new AuthorityError(
      code,
      `${this.description} ${finding} (${cause.message}): check what the control plane's service account may do.`,
      { cause },
    );
  }
}
