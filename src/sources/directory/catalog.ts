import type { Entry, FileContent } from './file-content.ts';
import { idText } from './types.ts';
import type { ObjectId, Problem } from './types.ts';
import { UidClaims } from './uid-claims.ts';

/** In one message. */
const MAX_NAMED = 5;

/** What became of one object after files changed. */
export interface CatalogChange {
  readonly id: ObjectId;
  /** Undefined: no file defines it any more. */
  readonly entry: Entry | undefined;
}

/**
 * All files together. Where several define one object, the first by file name counts; one that merely holds it, only
 * where no other defines it.
 */
export class Catalog {
  readonly #files = new Map<string, FileContent>();
  /** Files that define an object, by `idText`. */
  readonly #definers = new Map<string, Set<string>>();
  readonly #claims = new UidClaims();

  get files(): Iterable<string> {
    return this.#files.keys();
  }

  get(file: string): FileContent | undefined {
    return this.#files.get(file);
  }

  /** Replaces the contents of some files at once; undefined: the file is gone. */
  replace(contents: ReadonlyMap<string, FileContent | undefined>): CatalogChange[] {
    const touched = new Map<string, ObjectId>();
    for (const [file, after] of contents) {
      const before = this.#files.get(file);
      for (const entry of before?.entries.values() ?? [])
        touched.set(this.#undefine(entry.id, file), entry.id);
      for (const entry of after?.entries.values() ?? []) touched.set(this.#define(entry.id, file), entry.id);
      if (after === undefined) this.#files.delete(file);
      else this.#files.set(file, after);
    }
    return [...touched].map(([text, id]) => {
      const entry = this.#winner(text);
      this.#claims.set(text, claimedUid(entry));
      return { id, entry };
    });
  }

  problems(): Problem[] {
    const problems: Problem[] = [];
    for (const [file, content] of this.#files) {
      problems.push(...content.problems);
      for (const id of content.held) problems.push(...this.#heldAlone(id, file));
    }
    for (const [id, files] of this.#definers) {
      if (files.size > 1) problems.push(...this.#duplicates(id));
    }
    for (const [uid, ids] of this.#claims.shared()) problems.push(...this.#sharers(uid, ids));
    return problems.sort(byPlace);
  }

  #winner(id: string): Entry | undefined {
    const file = this.#winningFile(id);
    return file === undefined ? undefined : this.#files.get(file)?.entries.get(id);
  }

  #winningFile(id: string): string | undefined {
    return firstOf(this.#writers(id)) ?? firstOf(this.#definers.get(id) ?? []);
  }

  /** The files whose text names the object. */
  #writers(id: string): string[] {
    const definers = [...(this.#definers.get(id) ?? [])];
    return definers.filter((file) => this.#files.get(file)?.held.has(id) !== true);
  }

  #heldAlone(id: string, file: string): Problem[] {
    if (this.#writers(id).length > 0) return [];
    const message = `${id} is not in the file any more, which was written in place and may be half written: it stays in force until the file has stood still for a while. A file that is replaced by rename counts at once`;
    return [{ severity: 'warning', file, line: 0, field: '', message, object: id }];
  }

  #sharers(uid: string, ids: ReadonlySet<string>): Problem[] {
    const sharers = [...ids].sort();
    const message = `${uid} is claimed by ${sharers.slice(0, MAX_NAMED).join(', ')}${sharers.length > MAX_NAMED ? ' and others' : ''}; a UID belongs to one object, and pods that share one get no identity: give each its own, or none`;
    return sharers.map((id) => ({
      severity: 'error',
      file: this.#winningFile(id) ?? '',
      line: this.#winner(id)?.line ?? 0,
      field: 'metadata.uid',
      message,
      object: id,
      inForce: 'this',
    }));
  }

  #duplicates(id: string): Problem[] {
    const files = this.#writers(id);
    const winner = firstOf(files);
    return files
      .filter((file) => file !== winner)
      .map((file) => ({
        severity: 'error',
        file,
        line: this.#files.get(file)?.entries.get(id)?.line ?? 0,
        field: '',
        message: `${id} is defined in ${winner} already, and that one counts as its file name comes first; remove one of the two`,
        object: id,
      }));
  }

  #define(id: ObjectId, file: string): string {
    const text = idText(id);
    const files = this.#definers.get(text) ?? new Set<string>();
    this.#definers.set(text, files.add(file));
    return text;
  }

  #undefine(id: ObjectId, file: string): string {
    const text = idText(id);
    const files = this.#definers.get(text);
    if (files?.delete(file) === true && files.size === 0) this.#definers.delete(text);
    return text;
  }
}

function claimedUid(entry: Entry | undefined): string | undefined {
  const object = entry?.object;
  if (object?.kind !== 'Pod' && object?.kind !== 'ServiceAccount') return undefined;
  return object.uid === '' ? undefined : object.uid;
}

/** By code units: the same order on every machine. */
function firstOf(files: Iterable<string>): string | undefined {
  let first: string | undefined;
  for (const file of files) {
    if (first === undefined || file < first) first = file;
  }
  return first;
}

function byPlace(a: Problem, b: Problem): number {
  if (a.file !== b.file) return a.file < b.file ? -1 : 1;
  return a.line - b.line;
}
