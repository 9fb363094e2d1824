import { join, relative, resolve } from 'node:path';
import { keyOf } from '../../mesh/index.ts';
import type { Mesh, MeshObject, MeshUpdate } from '../../mesh/index.ts';
import { Catalog } from './catalog.ts';
import type { CatalogChange } from './catalog.ts';
import { DirectoryError } from './errors.ts';
import { readFileContent, unreadableContent, withoutHeld } from './file-content.ts';
import type { FileContent } from './file-content.ts';
import { FileReader } from './file-reader.ts';
import type { Look } from './file-reader.ts';
import { FolderWatcher } from './folder-watcher.ts';
import { Holds } from './holds.ts';
import { LookSchedule } from './look-schedule.ts';
import type { LookRequest } from './look-schedule.ts';
import { ProblemLog } from './problem-log.ts';
import { isManifestName, readTree } from './tree.ts';
import type { Tree } from './tree.ts';
import { inTurns } from './turns.ts';
import { idText } from './types.ts';
import type { DirectoryReport, Problem } from './types.ts';
import { UidRegistry } from './uids.ts';

export interface DirectorySourceOptions {
  /** Of YAML and JSON manifests; folders in it are read too. */
  readonly directory: string;
  readonly mesh: Mesh;
  readonly nowMs: () => number;
  /** Where the UIDs of pods and service accounts are kept; without it, they are new at each start. */
  readonly stateFile?: string;
  /** Must not throw. */
  readonly onReport: (report: DirectoryReport) => void;
  /** How often everything is looked at, events or not. Default 2000. */
  readonly pollMs?: number;
  /** How long a file that is written in place must stand still before what it lacks is deleted. Default 1000. */
  readonly holdMs?: number;
  /** Larger files are not read: parsing one keeps everything else waiting. Default 1 MiB. */
  readonly maxFileBytes?: number;
  /** Known to the policy parser; default: none. */
  readonly rootNamespace?: string;
}

/** More would only wait for each other in the thread pool. */
const FILES_AT_ONCE = 16;
const HOLD_MS = 1000;
const MAX_FILE_BYTES = 1024 * 1024;
const NO_NEWS = Symbol('no news');

/**
 * Keeps a mesh equal to a directory of manifests:
 *
 *   events, polling -> files whose content changed -> their objects (or last good versions) -> winner of each object
 *                   -> UIDs -> one mesh.update
 */
export class DirectorySource {
  readonly #options: DirectorySourceOptions;
  readonly #root: string;
  readonly #stateFile: string | undefined;
  readonly #catalog = new Catalog();
  readonly #reader: FileReader;
  readonly #holds: Holds;
  readonly #uids: UidRegistry;
  readonly #watcher: FolderWatcher;
  readonly #schedule: LookSchedule;
  readonly #problems: ProblemLog;
  #synced = false;
  /** Of the directory and the state file, as opposed to those of documents. */
  #generalProblems: readonly Problem[] = [];

  private constructor(options: DirectorySourceOptions, uids: UidRegistry) {
    this.#options = options;
    this.#root = resolve(options.directory);
    this.#stateFile = options.stateFile === undefined ? undefined : resolve(options.stateFile);
    this.#uids = uids;
    this.#reader = new FileReader(options.nowMs, options.maxFileBytes ?? MAX_FILE_BYTES);
    this.#holds = new Holds(options.nowMs, options.holdMs ?? HOLD_MS);
    this.#problems = new ProblemLog(options.onReport);
    this.#schedule = new LookSchedule((request) => this.#lookSafely(request), options.pollMs ?? 2000);
    this.#watcher = new FolderWatcher((folder, name) => {
      this.#onEvent(folder, name);
    });
  }

  /**
   * Resolves when everything in the directory is in the mesh. Bad documents are reported and do not stop it.
   * @throws DirectoryError the directory, or the state file, cannot be read
   */
  static async open(options: DirectorySourceOptions): Promise<DirectorySource> {
    const source = new DirectorySource(options, await UidRegistry.open(options.stateFile));
    try {
      await source.#readAll(await readTree(source.#root), true);
    } catch (error) {
      source.#watcher.close();
      throw error;
    }
    source.#synced = true;
    // What changed between the reading and the watching.
    source.#schedule.soon('all');
    return source;
  }

  /** The directory was read once as a whole. */
  get synced(): boolean {
    return this.#synced;
  }

  /** What is not in force as it is written, now; by file and line. */
  problems(): readonly Problem[] {
    return this.#problems.current;
  }

  /** Stops watching; the mesh stays as it is. Resolves when nothing more will be applied. */
  async close(): Promise<void> {
    this.#watcher.close();
    await this.#schedule.close();
  }

  #onEvent(folder: string, name: string | undefined): void {
    // `..data` is what a mounted ConfigMap swaps.
    if (name?.startsWith('.') === true && !name.startsWith('..')) return;
    this.#schedule.soon(name !== undefined && isManifestName(name) ? join(folder, name) : 'all');
  }

  async #lookSafely(request: LookRequest): Promise<void> {
    try {
      await this.#look(request);
    } catch (error) {
      this.#setGeneralProblems([general('error', lookFault(error))]);
    }
  }

  async #look(request: LookRequest): Promise<void> {
    if (request === 'all') {
      await this.#readAll(await readTree(this.#root), false);
    } else {
      const files = [...request].map((path) => relative(this.#root, path));
      await this.#apply(await this.#changed(files, false), false);
    }
  }

  async #readAll(tree: Tree, first: boolean): Promise<void> {
    // Watched before it is read: what changes meanwhile is heard of.
    const faults = this.#watcher.set(tree.folders);
    const problems = faults.map((fault) => general('warning', `cannot be watched, only polled: ${fault}`));
    for (const [folder, fault] of tree.unreadable) {
      const problem = general('error', `cannot be read, what it held stays in force: ${fault}`);
      problems.push({ ...problem, file: folder });
    }
    const known = [...this.#catalog.files].filter((file) => !isBelow(file, tree.unreadable.keys()));
    const contents = await this.#changed([...new Set([...tree.files, ...known])], first);
    this.#generalProblems = problems;
    await this.#apply(contents, first);
  }

  /** The new contents of those files that have new ones; undefined: the file is gone. */
  async #changed(files: readonly string[], first: boolean): Promise<Map<string, FileContent | undefined>> {
    const contents = new Map<string, FileContent | undefined>();
    const wanted = files.filter((file) => join(this.#root, file) !== this.#stateFile);
    for (let at = 0; at < wanted.length; at += FILES_AT_ONCE) {
      const batch = wanted.slice(at, at + FILES_AT_ONCE);
      const looks = await Promise.all(
        batch.map(async (file) => ({ file, look: await this.#reader.look(join(this.#root, file), !first) })),
      );
      const news = looks.filter(({ file, look }) => look.kind !== 'same' || this.#holdsAny(file));
      await inTurns(news, ({ file, look }) => {
        const content = this.#contentOf(file, look);
        if (content !== NO_NEWS) contents.set(file, content);
      });
    }
    return contents;
  }

  /** Undefined: the file is gone. */
  #contentOf(file: string, look: Look): FileContent | undefined | typeof NO_NEWS {
    const before = this.#catalog.get(file);
    switch (look.kind) {
      case 'same':
        return before === undefined ? NO_NEWS : this.#withoutOverdue(file, before, look.replaced);
      case 'unsettled':
        this.#schedule.whenSettled(join(this.#root, file));
        return NO_NEWS;
      case 'gone':
        this.#holds.end(file);
        return before === undefined ? NO_NEWS : undefined;
      case 'unreadable':
        return this.#noteHeld(file, unreadableContent(file, look.message, before));
      default:
        return this.#noteHeld(file, this.#read(file, look, before));
    }
  }

  #read(file: string, look: Look & { kind: 'text' }, before: FileContent | undefined): FileContent {
    const { rootNamespace } = this.#options;
    const written = { writtenInPlace: look.inPlace };
    const options = rootNamespace === undefined ? written : { ...written, rootNamespace };
    return readFileContent(look.text, file, before, options);
  }

  #holdsAny(file: string): boolean {
    return (this.#catalog.get(file)?.held.size ?? 0) > 0;
  }

  #noteHeld(file: string, content: FileContent): FileContent {
    if (content.held.size === 0) {
      this.#holds.end(file);
    } else {
      this.#holds.begin(file);
      this.#schedule.later(join(this.#root, file), this.#holds.left(file));
    }
    return content;
  }

  #withoutOverdue(file: string, content: FileContent, replaced: boolean): FileContent | typeof NO_NEWS {
    if (content.held.size === 0) return NO_NEWS;
    const left = replaced ? 0 : this.#holds.left(file);
    if (left > 0) {
      this.#schedule.later(join(this.#root, file), left);
      return NO_NEWS;
    }
    this.#holds.end(file);
    return withoutHeld(content);
  }

  async #apply(contents: ReadonlyMap<string, FileContent | undefined>, first: boolean): Promise<void> {
    const changes = this.#catalog.replace(contents);
    const updates = changes.map((change) => this.#updateFor(change));
    if (first) this.#uids.retain(namedIn(contents));
    const stateProblems = await this.#saveUids();
    const notice = this.#options.mesh.update(updates);
    for (const [file, content] of contents) {
      for (const { line, object } of content?.ignored ?? []) {
        this.#options.onReport({ kind: 'ignored', file, line, object });
      }
    }
    this.#problems.set([...this.#generalProblems, ...stateProblems, ...this.#catalog.problems()]);
    if (notice !== undefined)
      this.#options.onReport({ kind: 'applied', notice, files: [...contents.keys()].sort() });
  }

  #updateFor({ id, entry }: CatalogChange): MeshUpdate {
    if (entry !== undefined) return { op: 'set', object: this.#withUid(entry.object) };
    this.#uids.forget(idText(id));
    return { op: 'delete', ...id };
  }

  #withUid(object: MeshObject): MeshObject {
    if (object.kind !== 'Pod' && object.kind !== 'ServiceAccount') return object;
    const id = idText({ kind: object.kind, key: keyOf(object) });
    if (object.uid === '') return { ...object, uid: this.#uids.of(id) };
    this.#uids.forget(id);
    return object;
  }

  async #saveUids(): Promise<Problem[]> {
    try {
      await this.#uids.save();
      return [];
    } catch (error) {
      if (!(error instanceof DirectoryError)) throw error;
      return [general('error', error.message)];
    }
  }

  #setGeneralProblems(problems: readonly Problem[]): void {
    this.#generalProblems = problems;
    this.#problems.set([...problems, ...this.#catalog.problems()]);
  }
}

function lookFault(error: unknown): string {
  if (error instanceof DirectoryError) return `${error.message} What it held stays in force.`;
  return `could not be looked at, what it held stays in force: ${String(error)}`;
}

function general(severity: Problem['severity'], message: string): Problem {
  return { severity, file: '', line: 0, field: '', message };
}

function isBelow(file: string, folders: Iterable<string>): boolean {
  return [...folders].some((folder) => file.startsWith(`${folder}/`));
}

function namedIn(contents: ReadonlyMap<string, FileContent | undefined>): Set<string> {
  const named = new Set<string>();
  for (const content of contents.values()) {
    for (const id of content?.named ?? []) named.add(id);
  }
  return named;
}
