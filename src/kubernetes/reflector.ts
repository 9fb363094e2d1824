import { setTimeout as sleep } from 'node:timers/promises';
import { statusOf } from './api-server.ts';
import type { ApiServer } from './api-server.ts';
import { BackOff } from './back-off.ts';
import { ApiServerError, asApiServerError } from './errors.ts';
import { fieldsAt, isFields, textAt } from './fields.ts';
import type { Fields } from './fields.ts';
import { isOlder } from './versions.ts';

/** What became of the objects of one resource. Must not throw. */
export interface ReflectorSink<T> {
  /** All that exist, now: whatever else was known is gone. */
  replaced(objects: readonly T[]): void;
  set(object: T): void;
  deleted(object: T): void;
  /** The API server does not serve the resource (any more): there are none. */
  absent(): void;
  /** Once for each row of failures, and again where one that was away is back and goes on refusing; it is tried again. */
  failed(error: ApiServerError): void;
  /** After `failed`: it is listed, or watched, again. */
  recovered(): void;
}

export interface ReflectorOptions<T> {
  readonly api: ApiServer;
  /** Of the list, as `/api/v1/pods`. */
  readonly path: string;
  /** Where that is not fixed: the path now, asked before each list. Undefined: it is not served. */
  readonly locate?: () => Promise<string | undefined>;
  /** Which of them, as `metadata.name=countersign`; absent: all. */
  readonly fieldSelector?: string;
  /** Likewise, by their labels. */
  readonly labelSelector?: string;
  /** Reduces an object to what is needed, at once. `apiVersion` and `kind` may be missing: lists leave them out. Must not throw. */
  readonly read: (object: Fields) => T;
  readonly sink: ReflectorSink<T>;
  readonly random: () => number;
  /** A clock that only goes forward. */
  readonly nowMs: () => number;
  readonly pageSize?: number;
  /** How soon a resource that is not served is looked for again. Default 5000. */
  readonly absentMs?: number;
  /** First and longest delay after failures. Default 500 and 10 000. */
  readonly backOff?: { readonly firstMs: number; readonly mostMs: number };
}

/** How long a watch is asked for: spread, so that those of many replicas do not end together. */
const WATCH_SECONDS = { least: 300, most: 600 };
/** The API server sends a bookmark each minute. */
const SILENT_MS = 150_000;
/** So many in a row are believed of an API server that was away. */
const REFUSALS = 3;
/** A watch that ends sooner than this counts as a failure: it would be opened again and again. */
const SHORT_MS = 1_000;

/**
 * Keeps a sink equal to one resource of the API server:
 *
 *   list (in pages, consistent) -> watch from there -> it ends: watch from the last version seen
 *                                                   -> 410, or versions went back: list again
 */
export class Reflector<T> {
  readonly #options: ReflectorOptions<T>;
  readonly #backOff: BackOff;
  readonly #pageSize: number;
  /** The version up to which everything was seen; undefined: list first. */
  #version: string | undefined;
  /** As it was listed last. */
  #path: string;
  #failing: 'away' | 'refused' | undefined;
  #absences = 0;
  /** In a row. */
  #refusals = 0;

  constructor(options: ReflectorOptions<T>) {
    this.#options = options;
    this.#path = options.path;
    this.#pageSize = options.pageSize ?? 500;
    const { firstMs, mostMs } = options.backOff ?? { firstMs: 500, mostMs: 10_000 };
    this.#backOff = new BackOff({ random: options.random, firstMs, mostMs });
  }

  /** Until `signal` is aborted. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const delayMs = await this.#turn(signal);
      if (delayMs > 0) await pause(delayMs, signal);
    }
  }

  /** @returns how long to wait before the next */
  async #turn(signal: AbortSignal): Promise<number> {
    try {
      if (this.#version === undefined) {
        const path = await this.#locate();
        if (path === undefined) return this.#notServed();
        this.#path = path;
        await this.#list(signal);
      }
      return await this.#watch(signal);
    } catch (error) {
      return signal.aborted ? 0 : this.#afterFailure(asApiServerError(error, this.#options.path));
    }
  }

  #afterFailure(error: ApiServerError): number {
    if (error.refused?.status === 404) return this.#notServed();
    this.#absences = 0;
    if (mustListAgain(error)) this.#version = undefined;
    // That versions expire is in order: it is what a long absence ends with.
    if (!isExpired(error)) this.#fail(error);
    return Math.max(this.#backOff.next(), error.refused?.retryAfterMs ?? 0);
  }

  #fail(error: ApiServerError): void {
    this.#refusals = error.away ? 0 : this.#refusals + 1;
    // One that has just started refuses before it knows everybody's rights.
    const turned = this.#failing === 'away' && this.#refusals >= REFUSALS;
    if (this.#failing !== undefined && !turned) return;
    this.#failing = error.away ? 'away' : 'refused';
    this.#options.sink.failed(error);
  }

  async #locate(): Promise<string | undefined> {
    const { path, locate } = this.#options;
    return locate === undefined ? path : await locate();
  }

  /** Believed when it was said twice: an API server that starts, or is replaced, may not know all of its resources yet. */
  #notServed(): number {
    this.#version = undefined;
    this.#absences += 1;
    if (this.#absences < 2) return this.#backOff.next();
    this.#works();
    if (this.#absences === 2) this.#options.sink.absent();
    return (this.#options.absentMs ?? 5_000) * (0.75 + this.#options.random() / 2);
  }

  #works(): void {
    if (this.#failing !== undefined) this.#options.sink.recovered();
    this.#failing = undefined;
  }

  async #list(signal: AbortSignal): Promise<void> {
    for (let pageSize = this.#pageSize; ; pageSize = Math.ceil(pageSize / 8)) {
      try {
        const { objects, version } = await this.#pages(pageSize, signal);
        this.#options.sink.replaced(objects);
        this.#version = version;
        this.#absences = 0;
        this.#works();
        return;
      } catch (error) {
        const smaller = error instanceof ApiServerError && error.code === 'TOO_LARGE' && pageSize > 1;
        if (!smaller) throw error;
      }
    }
  }

  /** Without a `resourceVersion`: what is there now, never what some cache held earlier. */
  async #pages(pageSize: number, signal: AbortSignal): Promise<{ objects: readonly T[]; version: string }> {
    const { api, read } = this.#options;
    const path = this.#path;
    const objects: T[] = [];
    let next: string | undefined;
    for (;;) {
      const query = new URLSearchParams({
        limit: String(pageSize),
        ...this.#selector,
        ...(next !== undefined && { continue: next }),
      });
      const page = await api.get(`${path}?${query.toString()}`, { signal });
      const metadata = fieldsAt(page, 'metadata');
      const version = textAt(metadata, 'resourceVersion');
      const { items } = page;
      if (version === undefined || !(Array.isArray(items) || items === null)) {
        throw new ApiServerError('MALFORMED', `${path}: the answer is no list`);
      }
      for (const item of (items ?? []) as readonly unknown[]) if (isFields(item)) objects.push(read(item));
      next = textAt(metadata, 'continue');
      if (next === undefined) return { objects, version };
    }
  }

  async #watch(signal: AbortSignal): Promise<number> {
    const { api, random, nowMs } = this.#options;
    const { least, most } = WATCH_SECONDS;
    const query = new URLSearchParams({
      watch: 'true',
      allowWatchBookmarks: 'true',
      ...this.#selector,
      resourceVersion: this.#version ?? '',
      timeoutSeconds: String(Math.round(least + random() * (most - least))),
    });
    const events = await api.watch(`${this.#path}?${query.toString()}`, { signal, silentMs: SILENT_MS });
    this.#works();
    const openedMs = nowMs();
    for await (const event of events) {
      this.#take(event);
      this.#backOff.reset();
    }
    if (nowMs() - openedMs < SHORT_MS) return this.#backOff.next();
    this.#backOff.reset();
    return 0;
  }

  get #selector(): Readonly<Record<string, string>> {
    const { fieldSelector, labelSelector } = this.#options;
    return {
      ...(fieldSelector !== undefined && { fieldSelector }),
      ...(labelSelector !== undefined && { labelSelector }),
    };
  }

  #take(event: Fields): void {
    const { read, sink } = this.#options;
    const path = this.#path;
    const object = fieldsAt(event, 'object');
    const type = event['type'];
    if (type === 'ERROR') {
      const refused = { ...statusOf(object), retryAfterMs: undefined };
      const said = textAt(object, 'message') ?? refused.reason;
      throw new ApiServerError('REFUSED', `${path}: the watch ended: ${refused.status} ${said}`, { refused });
    }
    const version = textAt(fieldsAt(object, 'metadata'), 'resourceVersion');
    if (version === undefined) throw new ApiServerError('MALFORMED', `${path}: an event without a version`);
    if (isOlder(version, this.#version)) {
      // etcd was restored from a copy: what was seen since is not what is.
      const message = `${path}: versions went back from ${this.#version} to ${version}`;
      throw new ApiServerError('MALFORMED', message);
    }
    if (type === 'ADDED' || type === 'MODIFIED') sink.set(read(object));
    else if (type === 'DELETED') sink.deleted(read(object));
    else if (type !== 'BOOKMARK') throw new ApiServerError('MALFORMED', `${path}: an event of unknown type`);
    this.#version = version;
  }
}

/** 410: what changed since our version is not kept any more. */
function isExpired({ refused }: ApiServerError): boolean {
  return refused !== undefined && (refused.status === 410 || refused.reason === 'Expired');
}

function mustListAgain(error: ApiServerError): boolean {
  return (
    isExpired(error) ||
    error.code === 'MALFORMED' ||
    error.code === 'TOO_LARGE' ||
    error.refused?.causes.includes('ResourceVersionTooLarge') === true
  );
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(ms, undefined, { signal, ref: false });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
