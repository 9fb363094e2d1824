import { ApiServerError, fieldsAt, isOlder, type ApiServer, type Fields } from '../kubernetes/index.ts';

/** An object as it is to be. */
export interface WantedObject {
  readonly body: Fields;
  /** Of what counts in it. */
  readonly digest: string;
}

/** What counts of an object that is there. */
export interface FoundObject {
  /** Empty: it is in none. */
  readonly namespace: string;
  readonly version: string;
  readonly digest: string;
  /** Whose it is, where that is another mesh. */
  readonly otherMesh: string | undefined;
}

export interface ObjectObserver {
  written(path: string): void;
  /** It is another mesh's, and left alone. Once, until it is not any more. */
  taken(path: string, otherMesh: string): void;
  /** It is tried again. Once, until it is written. */
  failed(path: string, error: unknown): void;
}

export interface ObjectKeeperOptions {
  readonly api: ApiServer;
  readonly name: string;
  /** Of the list that the object of a key is in. */
  readonly collection: (key: string) => string;
  readonly found: (object: Fields) => FoundObject;
  readonly observer: ObjectObserver;
  readonly random: () => number;
  /** First and longest delay after failures. Default 500 and 30 000. */
  readonly backOff?: { readonly firstMs: number; readonly mostMs: number };
}

/** Writes at one time: the API server has others to serve. */
const AT_ONCE = 8;

/**
 * Keeps objects of one name, one for each key, as they are to be: made where they are missing, put right where somebody
 * changed them, and not touched otherwise.
 */
export class ObjectKeeper {
  readonly #options: ObjectKeeperOptions;
  readonly #wanted = new Map<string, WantedObject>();
  readonly #found = new Map<string, FoundObject>();
  readonly #due = new Set<string>();
  readonly #busy = new Set<string>();
  readonly #failures = new Map<string, number>();
  readonly #timers = new Map<string, NodeJS.Timeout>();
  readonly #told = new Map<string, string>();
  #stopped = false;

  constructor(options: ObjectKeeperOptions) {
    this.#options = options;
  }

  want(key: string, object: WantedObject): void {
    this.#wanted.set(key, object);
    this.#look(key);
  }

  /** What is there is left as it is. */
  unwant(key: string): void {
    this.#wanted.delete(key);
    this.#forget(key);
  }

  found(key: string, object: FoundObject): void {
    // Our own write was answered before the watch told of what came before it.
    if (isOlder(object.version, this.#found.get(key)?.version)) return;
    this.#found.set(key, object);
    this.#look(key);
  }

  gone(key: string): void {
    this.#found.delete(key);
    this.#look(key);
  }

  /** All that there is. */
  foundAll(objects: ReadonlyMap<string, FoundObject>): void {
    for (const key of this.#found.keys()) if (!objects.has(key)) this.gone(key);
    // A list is what there is, even where its versions are older: etcd may have been restored.
    for (const [key, object] of objects) {
      this.#found.set(key, object);
      this.#look(key);
    }
  }

  /** Whose the object of a key is, where that is another mesh. */
  otherMesh(key: string): string | undefined {
    return this.#found.get(key)?.otherMesh;
  }

  stop(): void {
    this.#stopped = true;
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
    this.#due.clear();
  }

  #look(key: string): void {
    // After a failure its turn comes by the clock.
    if (this.#stopped || this.#timers.has(key) || this.#isRight(key)) return;
    this.#due.add(key);
    this.#work();
  }

  /** Nothing is to be written, now at least. */
  #isRight(key: string): boolean {
    const wanted = this.#wanted.get(key);
    const found = this.#found.get(key);
    if (wanted === undefined) return true;
    if (found?.otherMesh !== undefined) {
      this.#tellTaken(key, found.otherMesh);
      return true;
    }
    if (found?.digest !== wanted.digest) return false;
    this.#forget(key);
    return true;
  }

  #work(): void {
    for (const key of this.#due) {
      if (this.#busy.size >= AT_ONCE) return;
      // Once it is written, its turn comes by itself.
      if (this.#busy.has(key)) continue;
      this.#due.delete(key);
      if (this.#isRight(key)) continue;
      this.#busy.add(key);
      void this.#turn(key);
    }
  }

  async #turn(key: string): Promise<void> {
    await this.#write(key);
    this.#busy.delete(key);
    this.#look(key);
    this.#work();
  }

  async #write(key: string): Promise<void> {
    const { api, name, collection, observer } = this.#options;
    const wanted = this.#wanted.get(key);
    const found = this.#found.get(key);
    if (wanted === undefined) return;
    const list = collection(key);
    const path = `${list}/${name}`;
    try {
      const written =
        found === undefined
          ? await api.post(list, wanted.body)
          : await api.put(path, withVersion(wanted.body, found.version));
      const now = this.#options.found(written);
      if (!isOlder(now.version, this.#found.get(key)?.version)) this.#found.set(key, now);
      this.#failures.delete(key);
      this.#told.delete(key);
      observer.written(path);
    } catch (error) {
      this.#later(key);
      if (!isPassing(error) && this.#told.get(key) !== 'failed') {
        this.#told.set(key, 'failed');
        observer.failed(path, error);
      }
    }
  }

  #later(key: string): void {
    const { random, backOff = { firstMs: 500, mostMs: 30_000 } } = this.#options;
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    if (this.#stopped) return;
    const delayMs =
      Math.min(backOff.mostMs, backOff.firstMs * 2 ** Math.min(failures, 20)) * (0.5 + random() / 2);
    const timer = setTimeout(() => {
      this.#timers.delete(key);
      this.#look(key);
    }, delayMs);
    timer.unref();
    this.#timers.set(key, timer);
  }

  #tellTaken(key: string, other: string): void {
    if (this.#told.get(key) === other) return;
    this.#told.set(key, other);
    const { collection, name, observer } = this.#options;
    observer.taken(`${collection(key)}/${name}`, other);
  }

  #forget(key: string): void {
    this.#due.delete(key);
    this.#failures.delete(key);
    this.#told.delete(key);
    clearTimeout(this.#timers.get(key));
    this.#timers.delete(key);
  }
}

function withVersion(body: Fields, resourceVersion: string): Fields {
  return { ...body, metadata: { ...fieldsAt(body, 'metadata'), resourceVersion } };
}

/** Somebody was first, or the namespace is going: the watch says so too, and what is to be done then. */
function isPassing(error: unknown): boolean {
  const refused = error instanceof ApiServerError ? error.refused : undefined;
  if (refused === undefined) return false;
  return refused.status === 409 || refused.status === 404 || refused.causes.includes('NamespaceTerminating');
}
