import { readFile } from 'node:fs/promises';
import { hasCode, writeWhole } from '../../files/index.ts';
import { isFields } from '../../kubernetes/index.ts';
import type { Fields } from '../../kubernetes/index.ts';
import { MESH_KINDS } from '../../mesh/index.ts';
import type { MeshObject } from '../../mesh/index.ts';

/** What a run knew. */
export interface Remembered {
  readonly objects: readonly MeshObject[];
  /** The policies in force, as the API server gave them. */
  readonly documents: readonly { readonly resource: string; readonly document: Fields }[];
}

/** Of the file. A file of another version is not looked at: it is written anew when the API server is back. */
const VERSION = 1;
/** After a change: a file of tens of megabytes is not written for each pod. */
const DELAY_MS = 2_000;

/** What is known, in a file: a control plane that restarts while the API server is away comes up with it. */
export class Memory {
  readonly #file: string;
  readonly #content: () => Remembered;
  readonly #onError: (error: unknown) => void;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(options: { file: string; content: () => Remembered; onError: (error: unknown) => void }) {
    this.#file = options.file;
    this.#content = options.content;
    this.#onError = options.onError;
  }

  /** Undefined: nothing is remembered, or not by this version. @throws Error the file is there and cannot be read */
  async read(): Promise<Remembered | undefined> {
    let text: string;
    try {
      text = await readFile(this.#file, 'utf8');
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return undefined;
      throw error;
    }
    try {
      return rememberedIn(JSON.parse(text));
    } catch (error) {
      // Half a file cannot come from us; what it says counts for nothing.
      if (!(error instanceof SyntaxError)) throw error;
      return undefined;
    }
  }

  /** Writes soon. */
  changed(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#write();
    }, DELAY_MS).unref();
  }

  /** Resolves when the last change is written. */
  async close(): Promise<void> {
    if (this.#timer !== undefined) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
      this.#write();
    }
    await this.#writing;
  }

  #write(): void {
    const before = this.#writing;
    this.#writing = (async (): Promise<void> => {
      await before;
      try {
        await writeWhole(this.#file, JSON.stringify({ version: VERSION, ...this.#content() }));
      } catch (error) {
        this.#onError(error);
      }
    })();
  }
}

/** Written by us in a directory that only we can write to: what is looked at is whether it is of this version. */
function rememberedIn(value: unknown): Remembered | undefined {
  if (!isFields(value) || value['version'] !== VERSION) return undefined;
  const { objects, documents } = value;
  if (!Array.isArray(objects) || !Array.isArray(documents)) return undefined;
  return { objects: objects.filter(isMeshObject), documents: documents.filter(isDocument) };
}

function isMeshObject(value: unknown): value is MeshObject {
  return isFields(value) && MESH_KINDS.some((kind) => kind === value['kind']);
}

function isDocument(value: unknown): value is { readonly resource: string; readonly document: Fields } {
  return isFields(value) && typeof value['resource'] === 'string' && isFields(value['document']);
}
