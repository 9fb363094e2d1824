import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { hasCode, writeWhole } from '../../files/index.ts';
import { DirectoryError } from './errors.ts';
import { isRecord } from './fields.ts';

/**
 * The UIDs of objects whose manifests name none. An object keeps its UID while it exists, also across restarts; once it
 * was seen to be gone, what comes under its name is another one.
 */
export class UidRegistry {
  readonly #file: string | undefined;
  readonly #uids: Map<string, string>;
  #saved: string;

  private constructor(file: string | undefined, uids: Map<string, string>) {
    this.#file = file;
    this.#uids = uids;
    this.#saved = this.#text();
  }

  /**
   * @param file where they are kept; undefined: in memory only
   * @throws DirectoryError STATE_UNREADABLE, STATE_CORRUPTED: never new UIDs in place of those that cannot be read, as
   * that would silently end every token given out
   */
  static async open(file: string | undefined): Promise<UidRegistry> {
    if (file === undefined) return new UidRegistry(undefined, new Map());
    let text: string;
    try {
      text = await readFile(file, 'utf8');
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return new UidRegistry(file, new Map());
      throw new DirectoryError('STATE_UNREADABLE', `${file} cannot be read: ${String(error)}`, {
        cause: error,
      });
    }
    return new UidRegistry(file, parse(file, text));
  }

  /** The object's UID; a new random one where it has none. */
  of(id: string): string {
    const uid = this.#uids.get(id) ?? randomUUID();
    this.#uids.set(id, uid);
    return uid;
  }

  forget(id: string): void {
    this.#uids.delete(id);
  }

  /** Forgets all but these. */
  retain(ids: ReadonlySet<string>): void {
    for (const id of this.#uids.keys()) {
      if (!ids.has(id)) this.#uids.delete(id);
    }
  }

  /**
   * Writes what changed since the last time; a crash leaves the old file or the new one.
   * @throws DirectoryError STATE_NOT_WRITABLE
   */
  async save(): Promise<void> {
    const text = this.#text();
    if (this.#file === undefined || text === this.#saved) return;
    try {
      await writeWhole(this.#file, text);
    } catch (error) {
      throw new DirectoryError(
        'STATE_NOT_WRITABLE',
        `${this.#file} cannot be written, so pods get new UIDs at the next start, which ends their tokens: ${String(error)}`,
        { cause: error },
      );
    }
    this.#saved = text;
  }

  #text(): string {
    const uids = Object.fromEntries([...this.#uids].sort(([a], [b]) => (a < b ? -1 : 1)));
    return `${JSON.stringify({ version: 1, uids }, undefined, 1)}\n`;
  }
}

function parse(file: string, text: string): Map<string, string> {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (error) {
    throw corrupted(file, String(error));
  }
  if (!isRecord(content) || content['version'] !== 1 || !isRecord(content['uids'])) {
    throw corrupted(file, '`version` 1 and `uids` are expected');
  }
  const uids = new Map<string, string>();
  for (const [id, uid] of Object.entries(content['uids'])) {
    if (typeof uid !== 'string' || uid === '') throw corrupted(file, `the UID of ${id} is no text`);
    uids.set(id, uid);
  }
  return uids;
}

function corrupted(file: string, found: string): DirectoryError {
  return new DirectoryError(
    'STATE_CORRUPTED',
    `${file} does not hold the UIDs of pods (${found}). Restore it; or delete it for new UIDs, after which every token given out so far is refused.`,
  );
}
