import type { Fields } from '../../kubernetes/index.ts';
import type { MeshUpdate } from '../../mesh/index.ts';

/** What is known of one resource; each change of it is told as what the mesh must change. */
export interface Store<T> {
  /** Reduces an object to what is needed. Must not throw, and changes nothing. */
  read(object: Fields): T;
  /** These are all. */
  replaced(items: readonly T[]): MeshUpdate[];
  set(item: T): MeshUpdate[];
  deleted(item: T): MeshUpdate[];
}
