import {
  asApiServerError,
  BackOff,
  isOlder,
  Reflector,
  type ApiServer,
  type ApiServerError,
} from '../kubernetes/index.ts';
import type { Standing } from '../status/index.ts';
import { pause } from './pause.ts';
import { changeOf, readSeen, type SeenObject } from './status-object.ts';

/** A policy object, and how it stands. */
export interface PolicyStanding {
  /** `authorizationpolicies.security.countersign.dev`. */
  readonly resource: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly standing: Standing;
}

export interface StatusWriterOptions {
  readonly api: ApiServer;
  /** Whose objects' statuses are written: `authorizationpolicies.security.countersign.dev`. */
  readonly resources: readonly string[];
  /** How every policy stands now. */
  readonly standings: () => Iterable<PolicyStanding>;
  readonly wallMs: () => number;
  /** A clock that only goes forward. */
  readonly monotonicMs: () => number;
  readonly random: () => number;
  readonly onWritten: () => void;
  /** Nothing can be written, or not this object; it is tried again. Once for each row of failures. */
  readonly onFailing: (what: string, error: ApiServerError) => void;
  readonly onRecovered: (what: string) => void;
  readonly times?: Partial<StatusTimes>;
}

/** Milliseconds. */
interface StatusTimes {
  /** Changes of this long are written together. */
  readonly batchMs: number;
  /** A text that alone has changed is written this long after the last write of its object. */
  readonly textMs: number;
}

const TIMES: StatusTimes = { batchMs: 1_000, textMs: 5_000 };
/** Writes of one batch, and of those at once: a thousand policies in one apply are no storm. */
const MAX_BATCH = 50;
const IN_FLIGHT = 4;
/** Looking for what has to be written takes a small share of the time: this many times what it took is waited. */
const IDLE_SHARE = 20;

interface Work {
  readonly key: string;
  readonly path: string;
  readonly urgent: boolean;
  readonly patch: object;
}

interface Written {
  readonly atMs: number;
  readonly backOff: BackOff;
  /** Not before this; it was refused. */
  notBeforeMs: number;
}

/**
 * Keeps the status of every policy object equal to how it stands, whoever else writes there:
 *
 *   a watch of the objects, reduced to their status  ->  what differs from the standings  ->  a patch of that version
 *
 * For one term of a leader. Conditions of other types are left as they are.
 */
export class StatusWriter {
  readonly #options: StatusWriterOptions;
  readonly #times: StatusTimes;
  readonly #seen = new Map<string, SeenObject>();
  readonly #written = new Map<string, Written>();
  readonly #backOff: BackOff;
  #dirty = true;
  #failing = false;

  constructor(options: StatusWriterOptions) {
    this.#options = options;
    this.#times = { ...TIMES, ...options.times };
    this.#backOff = new BackOff({ random: options.random, firstMs: 1_000, mostMs: 60_000 });
  }

  /** A policy may stand otherwise now. */
  wake(): void {
    this.#dirty = true;
  }

  /** Until `term` is aborted. Never rejects. */
  async run(term: AbortSignal): Promise<void> {
    const watches = this.#options.resources.map(
      async (resource) => await this.#reflector(resource).run(term),
    );
    const { batchMs } = this.#times;
    for (let waitMs = batchMs; ;) {
      await pause(waitMs, term);
      if (term.aborted) break;
      waitMs = this.#dirty ? Math.max(batchMs, await this.#turn(term)) : batchMs;
    }
    await Promise.all(watches);
  }

  #reflector(resource: string): Reflector<SeenObject> {
    const { api, random, monotonicMs, onFailing, onRecovered } = this.#options;
    const what = `status of ${resource}`;
    return new Reflector<SeenObject>({
      api,
      path: pathOf(resource),
      random,
      nowMs: monotonicMs,
      read: readSeen,
      sink: {
        replaced: (objects) => {
          this.#forget(resource);
          for (const object of objects) this.#see(resource, object);
        },
        set: (object) => this.#see(resource, object),
        deleted: ({ namespace, name }) => {
          const key = keyOf(resource, namespace, name);
          this.#seen.delete(key);
          this.#written.delete(key);
        },
        absent: () => this.#forget(resource),
        failed: (error) => onFailing(what, error),
        recovered: () => onRecovered(what),
      },
    });
  }

  /** The answer to a write may come before the watch tells of what was there before it. */
  #see(resource: string, object: SeenObject): void {
    const key = keyOf(resource, object.namespace, object.name);
    const known = this.#seen.get(key);
    if (known?.uid === object.uid && isOlder(object.resourceVersion, known.resourceVersion)) return;
    this.#seen.set(key, object);
    this.#dirty = true;
  }

  #forget(resource: string): void {
    for (const key of this.#seen.keys()) if (key.startsWith(`${resource} `)) this.#seen.delete(key);
  }

  /** @returns how long to wait before the next, at least; milliseconds */
  async #turn(term: AbortSignal): Promise<number> {
    this.#dirty = false;
    const began = this.#options.monotonicMs();
    const work = this.#work();
    const idleMs = IDLE_SHARE * (this.#options.monotonicMs() - began);
    const batch = work.slice(0, MAX_BATCH);
    if (work.length > batch.length) this.#dirty = true;
    let failed: ApiServerError | undefined;
    const next = batch[Symbol.iterator]();
    const lane = async (): Promise<void> => {
      for (const item of next) {
        if (failed !== undefined || term.aborted) return;
        failed ??= await this.#write(item, term);
      }
    };
    await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
    if (term.aborted) return 0;
    if (failed === undefined) {
      if (batch.length > 0) this.#recovered();
      return idleMs;
    }
    this.#dirty = true;
    if (!this.#failing) this.#options.onFailing('the status of policies', failed);
    this.#failing = true;
    return Math.max(this.#backOff.next(), failed.refused?.retryAfterMs ?? 0);
  }

  #recovered(): void {
    this.#backOff.reset();
    if (this.#failing) this.#options.onRecovered('the status of policies');
    this.#failing = false;
  }

  /** What has to be written and may be now: what is waited for first. */
  #work(): readonly Work[] {
    const { standings, wallMs, monotonicMs } = this.#options;
    const now = monotonicMs();
    const work: Work[] = [];
    for (const { resource, namespace, name, uid, standing } of standings()) {
      const key = keyOf(resource, namespace, name);
      const seen = this.#seen.get(key);
      // One of the two has yet to hear of a change, and is woken by it.
      if (seen?.uid !== uid || seen.generation !== standing.generation) continue;
      const change = changeOf(seen, standing, wallMs());
      if (change === undefined) continue;
      const written = this.#written.get(key);
      const early =
        written !== undefined &&
        (now < written.notBeforeMs || (!change.urgent && now - written.atMs < this.#times.textMs));
      if (early) this.#dirty = true;
      else work.push({ key, path: `${pathOf(resource, namespace)}/${name}/status`, ...change });
    }
    return work.toSorted((a, b) => Number(b.urgent) - Number(a.urgent));
  }

  /** @returns why none can be written; undefined: this one was, or it alone cannot be */
  async #write({ key, path, patch }: Work, term: AbortSignal): Promise<ApiServerError | undefined> {
    const { api, monotonicMs, random, onWritten, onFailing } = this.#options;
    const [resource = ''] = key.split(' ', 1);
    const backOff =
      this.#written.get(key)?.backOff ?? new BackOff({ random, firstMs: 5_000, mostMs: 300_000 });
    try {
      this.#see(resource, readSeen(await api.patch(path, patch, { signal: term, timeoutMs: 10_000 })));
      backOff.reset();
      this.#written.set(key, { atMs: monotonicMs(), backOff, notBeforeMs: 0 });
      onWritten();
      return undefined;
    } catch (error) {
      const found = asApiServerError(error, path);
      this.#dirty = true;
      const status = found.refused?.status;
      // Somebody was first: the watch tells what is there now.
      if (status === 409) return undefined;
      if (found.away || status === undefined || status === 401 || status === 403) return found;
      if (backOff.failures === 0) onFailing(`the status of ${key}`, found);
      const now = monotonicMs();
      this.#written.set(key, { atMs: now, backOff, notBeforeMs: now + backOff.next() });
      return undefined;
    }
  }
}

function pathOf(resource: string, namespace?: string): string {
  const dot = resource.indexOf('.');
  const scope = namespace === undefined ? '' : `/namespaces/${namespace}`;
  return `/apis/${resource.slice(dot + 1)}/v1${scope}/${resource.slice(0, dot)}`;
}

function keyOf(resource: string, namespace: string, name: string): string {
  return `${resource} ${namespace}/${name}`;
}
