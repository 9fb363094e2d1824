import type { MeshKind, MeshNotice, ObjectKey } from '../../mesh/index.ts';

/** Something in the directory that is not in force as it is written. */
export interface Problem {
  /** `error`: the last good version of the object stays in force, if there was one. `warning`: it is in force, or means nothing to us. */
  readonly severity: 'error' | 'warning';
  /** Relative to the directory; empty: the directory itself. */
  readonly file: string;
  /** From 1; 0 where no line is meant. */
  readonly line: number;
  /** Path of the field; empty: the whole document. */
  readonly field: string;
  /** What was found, what is allowed, what to do. */
  readonly message: string;
  /** `Kind namespace/name`, where it can be read. */
  readonly object?: string;
  /** Of an error: what is in force. `this`: what is written, and it does not work. Absent: the message says it. */
  readonly inForce?: 'this' | 'earlier' | 'none';
}

export type DirectoryReport =
  /** Found by the latest look; until it is solved it is not reported again. */
  | { readonly kind: 'problem'; readonly problem: Problem }
  | { readonly kind: 'solved'; readonly problem: Problem }
  /** A document of a kind that is known and not needed. For the debug log. */
  | { readonly kind: 'ignored'; readonly file: string; readonly line: number; readonly object: string }
  /** The mesh was changed. */
  | { readonly kind: 'applied'; readonly notice: MeshNotice; readonly files: readonly string[] };

/** What one object is known by, across files and versions. */
export interface ObjectId {
  readonly kind: MeshKind;
  readonly key: ObjectKey;
}

/** `Kind namespace/name`: an `ObjectId` as a Map's key, and for people. */
export function idText(id: ObjectId): string {
  return `${id.kind} ${id.key}`;
}
