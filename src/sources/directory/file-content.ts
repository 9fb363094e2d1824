import type { MeshObject } from '../../mesh/index.ts';
import { readManifests } from '../manifests/index.ts';
import { readDocument } from './documents.ts';
import type { ReadDocument } from './documents.ts';
import { idText } from './types.ts';
import type { ObjectId, Problem } from './types.ts';

/**
 * One object as one file has it in force: of the text as it is now, of the last text in which it was good, or of one
 * that it was in shortly before.
 */
export interface Entry {
  readonly id: ObjectId;
  readonly line: number;
  readonly object: MeshObject;
}

export interface FileContent {
  /** By `idText`. */
  readonly entries: ReadonlyMap<string, Entry>;
  /** Those of the entries that the text names no more, and that may only be not written yet; by `idText`. */
  readonly held: ReadonlySet<string>;
  /** Every object that the text names, those without a good version included; by `idText`. */
  readonly named: ReadonlySet<string>;
  readonly problems: readonly Problem[];
  readonly ignored: readonly { readonly line: number; readonly object: string }[];
}

export interface ReadOptions {
  readonly rootNamespace?: string;
  /** The text may be half of what is being written: what it lacks is held, not deleted. */
  readonly writtenInPlace: boolean;
}

const MAX_PROBLEMS = 100;
const NONE: ReadonlySet<string> = new Set();
/** `generator > file` empties the file long before it fills it: an empty file is no wish to delete. */
const EMPTIED = 'is empty; what it held stays in force. To delete that, delete the file';

/**
 * Reads a file's text against what the file had in force before:
 *
 *   good document                      -> its object
 *   bad document, object known         -> that object's last good version
 *   document whose object is not known -> it may be any: every object not found elsewhere in the file stays
 *   object not in the text any more    -> none; while the file is being written in place, held
 */
export function readFileContent(
  text: string,
  file: string,
  before: FileContent | undefined,
  options: ReadOptions,
): FileContent {
  if (text.trim() === '' && before !== undefined && before.entries.size > 0)
    return unreadableContent(file, EMPTIED, before);
  const manifests = readManifests(text, file);
  const problems: Problem[] = [];
  const entries = new Map<string, Entry>();
  // Which objects these are about cannot be told.
  const unclear: Problem[] = manifests.problems.map((problem) => ({ severity: 'error', ...problem }));
  const ignored: FileContent['ignored'][number][] = [];
  const seenAt = new Map<string, number>();
  let mayHideObjects = manifests.problems.length > 0;
  for (const manifest of manifests.documents) {
    const document = readDocument(manifest, options);
    if (document.kind === 'nameless') mayHideObjects = true;
    if (document.kind === 'ignored') ignored.push(document);
    if (document.kind === 'nameless') unclear.push(...document.problems);
    else if (document.kind !== 'bad') problems.push(...document.problems);
    if (document.kind !== 'good' && document.kind !== 'bad') continue;
    const id = idText(document.id);
    const first = seenAt.get(id);
    if (document.kind === 'bad')
      problems.push(...withForce(document.problems, first === undefined && before?.entries.has(id) === true));
    if (first !== undefined) {
      problems.push(repeated(document, file, first));
      continue;
    }
    seenAt.set(id, document.line);
    const entry = document.kind === 'good' ? document : before?.entries.get(id);
    if (entry !== undefined) entries.set(id, { id: entry.id, line: document.line, object: entry.object });
  }
  const missing = mayHideObjects || options.writtenInPlace ? keepMissing(entries, seenAt, before) : NONE;
  const held = mayHideObjects ? NONE : missing;
  problems.unshift(...withForce(unclear, missing.size > 0));
  return { entries, held, named: new Set(seenAt.keys()), problems: bounded(problems, file), ignored };
}

/** The file stood still: what its text did not name is deleted. */
export function withoutHeld(content: FileContent): FileContent {
  const entries = [...content.entries].filter(([id]) => !content.held.has(id));
  return { ...content, entries: new Map(entries), held: NONE };
}

/** The file is there and cannot be read: everything it had stays in force. */
export function unreadableContent(
  file: string,
  message: string,
  before: FileContent | undefined,
): FileContent {
  const kept = before !== undefined && before.entries.size > 0;
  const problems = withForce([{ severity: 'error', file, line: 0, field: '', message }], kept);
  return {
    entries: before?.entries ?? new Map<string, Entry>(),
    held: NONE,
    named: before?.named ?? new Set<string>(),
    problems,
    ignored: [],
  };
}

function withForce(problems: readonly Problem[], earlier: boolean): Problem[] {
  const inForce = earlier ? 'earlier' : 'none';
  return problems.map((problem) => (problem.severity === 'error' ? { ...problem, inForce } : problem));
}

/** A file of nonsense must not fill the log. */
function bounded(problems: readonly Problem[], file: string): readonly Problem[] {
  if (problems.length <= MAX_PROBLEMS) return problems;
  const message = `has ${problems.length - MAX_PROBLEMS} more problems; mend those reported first`;
  return [...problems.slice(0, MAX_PROBLEMS), { severity: 'error', file, line: 0, field: '', message }];
}

function keepMissing(
  entries: Map<string, Entry>,
  seen: ReadonlyMap<string, number>,
  before: FileContent | undefined,
): ReadonlySet<string> {
  const missing = new Set<string>();
  for (const [id, entry] of before?.entries ?? []) {
    if (seen.has(id)) continue;
    entries.set(id, entry);
    missing.add(id);
  }
  return missing;
}

function repeated(document: ReadDocument & { kind: 'good' | 'bad' }, file: string, first: number): Problem {
  const object = idText(document.id);
  const message = `${object} is defined in line ${first} already, and that one counts; remove one of the two`;
  return { severity: 'error', file, line: document.line, field: '', message, object };
}
