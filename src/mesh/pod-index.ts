import { keyOf, namespacedKey } from './keys.ts';
import { SubjectIndex } from './label-index.ts';
import type { ObjectKey, Pod } from './types.ts';

/** Pods by everything they are looked up by. */
export class PodIndex {
  readonly byLabels: SubjectIndex<Pod>;
  readonly #byUid = new MultiMap();
  readonly #byIp = new MultiMap();
  readonly #byServiceAccount = new MultiMap();

  constructor(rootNamespace: string) {
    this.byLabels = new SubjectIndex(rootNamespace);
  }

  replace(before: Pod | undefined, after: Pod | undefined): void {
    if (before !== undefined) this.#remove(before);
    if (after !== undefined) this.#add(after);
  }

  /** Undefined also when two pods claim the same UID: it proves nothing then. */
  byUid(uid: string): Pod | undefined {
    const pods = this.#byUid.get(uid);
    return pods.length === 1 ? pods[0] : undefined;
  }

  byIp(ip: string): readonly Pod[] {
    return this.#byIp.get(ip);
  }

  byServiceAccount(namespace: string, name: string): readonly Pod[] {
    return this.#byServiceAccount.get(namespacedKey(namespace, name));
  }

  #add(pod: Pod): void {
    const key = keyOf(pod);
    this.byLabels.set(key, pod);
    this.#byUid.add(pod.uid, key, pod);
    for (const ip of pod.ips) this.#byIp.add(ip, key, pod);
    this.#byServiceAccount.add(namespacedKey(pod.namespace, pod.serviceAccount), key, pod);
  }

  #remove(pod: Pod): void {
    const key = keyOf(pod);
    this.byLabels.delete(key);
    this.#byUid.remove(pod.uid, key);
    for (const ip of pod.ips) this.#byIp.remove(ip, key);
    this.#byServiceAccount.remove(namespacedKey(pod.namespace, pod.serviceAccount), key);
  }
}

class MultiMap {
  readonly #buckets = new Map<string, Map<ObjectKey, Pod>>();

  get(value: string): readonly Pod[] {
    return [...(this.#buckets.get(value)?.values() ?? [])];
  }

  add(value: string, key: ObjectKey, pod: Pod): void {
    const bucket = this.#buckets.get(value) ?? new Map<ObjectKey, Pod>();
    this.#buckets.set(value, bucket.set(key, pod));
  }

  remove(value: string, key: ObjectKey): void {
    const bucket = this.#buckets.get(value);
    if (bucket?.delete(key) === true && bucket.size === 0) this.#buckets.delete(value);
  }
}
