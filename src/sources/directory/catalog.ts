import type { Entry, FileContent } from './file-content.ts';
import { idText } from './types.ts';
import type { ObjectId, Problem } from './types.ts';

/** What became of one object after files changed. */
export interface CatalogChange {
  readonly id: ObjectId;
  /** Undefined: no file defines it any more. */
  readonly entry: Entry | undefined;
}

/** All files together. Where several define one object, the first by file name counts. */
export class Catalog {
  readonly #files = new Map<string, FileContent>();
  /** Files that define an object, by `idText`. */
  readonly #definers = new Map<string, Set<string>>();

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
    return [...touched].map(([text, id]) => ({ id, entry: this.#winner(text) }));
  }

  problems(): Problem[] {
    const problems: Problem[] = [];
    for (const content of this.#files.values()) problems.push(...content.problems);
    for (const [id, files] of this.#definers) {
      if (files.size > 1) problems.push(...this.#duplicates(id, files));
    }
    return problems.sort(byPlace);
  }

  #winner(id: string): Entry | undefined {
    const file = firstOf(this.#definers.get(id) ?? []);
    return file === undefined ? undefined : this.#files.get(file)?.entries.get(id);
  }

  #duplicates(id: string, files: ReadonlySet<string>): Problem[] {
    const winner = firstOf(files);
    return [...files]
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
