import {
  asApiServerError,
  fieldsAt,
  Reflector,
  textAt,
  type ApiServer,
  type Fields,
} from '../kubernetes/index.ts';
import { EMPTY, equal, merged, parseLedger, serializeLedger, type Ledger } from '../quarantine/index.ts';
import { pause } from './pause.ts';

const NAME = 'countersign-quarantine';
const KEY = 'quarantine.json';

export interface QuarantineObjectOptions {
  readonly api: ApiServer;
  /** The control plane's own. */
  readonly namespace: string;
  /** What is in force on this replica. */
  readonly own: () => Ledger;
  /** Takes over what the others know. Never rejects: what cannot be written down here can be shared all the same. */
  readonly follow: (ledger: Ledger) => Promise<void>;
  /** Without what has ended. */
  readonly current: (ledger: Ledger) => Ledger;
  readonly monotonicMs: () => number;
  readonly random: () => number;
  /** What stands in the way of sharing has changed; undefined: nothing does. */
  readonly onTrouble: (why: string | undefined, error: unknown) => void;
}

/** What the API server holds. */
interface Held {
  readonly version: string;
  /** Undefined: it cannot be read. */
  readonly ledger: Ledger | undefined;
}

/**
 * One ConfigMap that all replicas keep to: each takes over what it finds there, and adds what is missing. A write that
 * another replica was faster than is made again on top of that; so nothing is lost when two decide at once.
 */
export class QuarantineObject {
  readonly #options: QuarantineObjectOptions;
  #held: Held | undefined;
  #seen = false;
  /** Of following it, and of writing it. */
  readonly #troubles = new Map<'watch' | 'write', string>();
  #wake: () => void = () => {};

  constructor(options: QuarantineObjectOptions) {
    this.#options = options;
  }

  get description(): string {
    return `ConfigMap ${this.#options.namespace}/${NAME}`;
  }

  /** Why the other replicas may not know what is in force here; undefined: they can. */
  get trouble(): string | undefined {
    const [trouble] = this.#troubles.values();
    if (trouble !== undefined) return trouble;
    return this.#missing() === undefined ? undefined : `${this.description} has not been written yet`;
  }

  /** Takes over what is there, once. @throws ApiServerError; Error: it cannot be read */
  async read(signal: AbortSignal): Promise<void> {
    const list = await this.#options.api.get(
      `${this.#collection}?fieldSelector=${encodeURIComponent(`metadata.name=${NAME}`)}`,
      { signal, timeoutMs: 5_000 },
    );
    const { items } = list;
    const [object]: readonly unknown[] = Array.isArray(items) ? items : [];
    this.#see(object === undefined ? undefined : this.#heldOf(object as Fields));
    if (this.#held !== undefined && this.#held.ledger === undefined) throw new Error(this.#damaged);
    await this.#options.follow(this.#held?.ledger ?? EMPTY);
  }

  /** Something was decided here. */
  publish(): void {
    this.#wake();
  }

  /** Until `signal` is aborted. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const watch = this.#reflector().run(signal);
    let failures = 0;
    while (!signal.aborted) {
      const woken = new AbortController();
      this.#wake = (): void => woken.abort();
      failures = (await this.#settle(signal)) ? 0 : failures + 1;
      // Also when nothing failed, should a change have escaped the watch. What has ended is not written for its own
      // sake: it stays in the object until something else is decided.
      const waitMs = failures === 0 ? 30_000 : Math.min(10_000, 250 * 2 ** Math.min(failures, 10));
      await pause(waitMs * (0.5 + this.#options.random() / 2), AbortSignal.any([signal, woken.signal]));
    }
    await watch;
  }

  /** @returns whether all is as it should be, or cannot be put right from here */
  async #settle(signal: AbortSignal): Promise<boolean> {
    if (!this.#seen) return true;
    if (this.#held !== undefined && this.#held.ledger === undefined) {
      this.#tell('write', this.#damaged);
      return true;
    }
    try {
      if (this.#held?.ledger !== undefined) await this.#options.follow(this.#held.ledger);
      const missing = this.#missing();
      if (missing !== undefined) await this.#write(missing, signal);
      this.#tell('write', undefined);
      return true;
    } catch (error) {
      if (signal.aborted) return true;
      const status = asApiServerError(error, NAME).refused?.status;
      if (status === 409 || status === 404) {
        // Somebody was faster: the next turn is made on top of that.
        await this.read(signal).catch(() => {});
        return false;
      }
      this.#tell(
        'write',
        `${this.description} cannot be written: ${asApiServerError(error, NAME).message}`,
        error,
      );
      return false;
    }
  }

  /** What is to be written; undefined: the object holds all that is in force here. */
  #missing(): Ledger | undefined {
    const { current, own } = this.#options;
    const found = current(this.#held?.ledger ?? EMPTY);
    const all = current(merged(found, own()));
    return equal(merged(found, EMPTY), all) ? undefined : all;
  }

  async #write(ledger: Ledger, signal: AbortSignal): Promise<void> {
    const { api } = this.#options;
    const labels = { 'app.kubernetes.io/managed-by': 'countersign' };
    const data = { [KEY]: serializeLedger(ledger) };
    const options = { signal, timeoutMs: 5_000 };
    const metadata = { name: NAME, labels };
    const written =
      this.#held === undefined
        ? await api.post(this.#collection, { apiVersion: 'v1', kind: 'ConfigMap', metadata, data }, options)
        : await api.patch(
            `${this.#collection}/${NAME}`,
            // Refused where it has changed since it was read.
            { metadata: { ...metadata, resourceVersion: this.#held.version }, data },
            options,
          );
    this.#see(this.#heldOf(written));
  }

  #reflector(): Reflector<Held | undefined> {
    const { api, random, monotonicMs } = this.#options;
    const found = (held: Held | undefined): void => {
      this.#see(held);
      this.#wake();
    };
    return new Reflector({
      api,
      path: this.#collection,
      fieldSelector: `metadata.name=${NAME}`,
      random,
      nowMs: monotonicMs,
      read: (object) => this.#heldOf(object),
      sink: {
        replaced: ([held]) => found(held),
        set: found,
        deleted: () => found(undefined),
        absent: () => {},
        failed: (error) =>
          this.#tell('watch', `${this.description} cannot be followed: ${error.message}`, error),
        recovered: () => {
          this.#tell('watch', undefined);
          this.#wake();
        },
      },
    });
  }

  #heldOf(object: Fields): Held {
    const version = textAt(fieldsAt(object, 'metadata'), 'resourceVersion') ?? '';
    try {
      return { version, ledger: parseLedger(textAt(fieldsAt(object, 'data'), KEY) ?? '') };
    } catch {
      // Said by whoever comes to use it.
      return { version, ledger: undefined };
    }
  }

  #see(held: Held | undefined): void {
    this.#held = held;
    this.#seen = true;
  }

  #tell(about: 'watch' | 'write', why: string | undefined, error?: unknown): void {
    if (this.#troubles.get(about) === why) return;
    if (why === undefined) this.#troubles.delete(about);
    else this.#troubles.set(about, why);
    const [trouble] = this.#troubles.values();
    this.#options.onTrouble(trouble, error);
  }

  get #damaged(): string {
    return `${this.description} was edited and cannot be read: what each replica knows stays in force, and is not shared; delete it, and the replicas write it anew from what they know`;
  }

  get #collection(): string {
    return `/api/v1/namespaces/${this.#options.namespace}/configmaps`;
  }
}
