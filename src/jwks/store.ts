import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { writeWhole } from '../files/index.ts';
import { JwksError, reasonOf } from './errors.ts';
import type { KeySet } from '../keyset/index.ts';
import { parseKeySet } from './key-set.ts';

export interface KeptKeys {
  readonly set: KeySet;
  /** ms since the epoch. */
  readonly fetchedAtMs: number;
}

const FILE = /^[0-9a-f]{64}\.json(\.[0-9a-f]{12}\.tmp)?$/u;

/** The last good keys of each URI, a file each: by the hash of the URI, which may be of any length and form. */
export class KeyFiles {
  readonly #directory: string;
  readonly #onError: (error: Error) => void;
  /** One change after the other: what was asked for last is what is there. */
  #last: Promise<void> = Promise.resolve();

  private constructor(directory: string, onError: (error: Error) => void) {
    this.#directory = directory;
    this.#onError = onError;
  }

  /**
   * @param onError what cannot be read is left out, and what cannot be written is missing at the next start
   * @returns the files, and what they hold by URI
   * @throws JwksError `store-unusable`, `store-too-open`
   */
  static async open(
    directory: string,
    onError: (error: Error) => void,
  ): Promise<{ files: KeyFiles; kept: Map<string, KeptKeys> }> {
    const files = new KeyFiles(directory, onError);
    try {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      const { mode } = await stat(directory);
      if ((mode & 0o022) !== 0) {
        throw new JwksError(
          'store-too-open',
          `Others may write to ${directory}, so its keys cannot be trusted: delete its files and run "chmod 700 ${directory}".`,
        );
      }
      return { files, kept: await files.#read() };
    } catch (error) {
      if (error instanceof JwksError) throw error;
      throw new JwksError('store-unusable', `${directory} cannot be used (${reasonOf(error)}).`, {
        cause: error,
      });
    }
  }

  save(uri: string, text: string, fetchedAtMs: number): void {
    const content = { version: 1, uri, fetchedAtMs, jwks: text };
    this.#change(() => writeWhole(this.#fileOf(uri), `${JSON.stringify(content)}\n`));
  }

  remove(uri: string): void {
    this.#change(() => rm(this.#fileOf(uri), { force: true }));
  }

  /** @returns when all is written */
  close(): Promise<void> {
    return this.#last;
  }

  #change(run: () => Promise<void>): void {
    this.#last = this.#last.then(run).catch((error: unknown) => {
      const message = `The last good keys in ${this.#directory} cannot be changed (${reasonOf(error)}), so the next start may lack them: check its owner and the space left.`;
      this.#onError(new JwksError('store-unusable', message, { cause: error }));
    });
  }

  #fileOf(uri: string): string {
    return join(this.#directory, `${createHash('sha256').update(uri).digest('hex')}.json`);
  }

  async #read(): Promise<Map<string, KeptKeys>> {
    const kept = new Map<string, KeptKeys>();
    for (const name of await readdir(this.#directory)) {
      if (!FILE.test(name)) continue;
      const file = join(this.#directory, name);
      if (name.endsWith('.tmp')) {
        await rm(file, { force: true });
        continue;
      }
      try {
        const content = JSON.parse(await readFile(file, 'utf8')) as Readonly<Record<string, unknown>>;
        const { uri, fetchedAtMs, jwks } = content;
        if (typeof uri !== 'string' || typeof fetchedAtMs !== 'number' || typeof jwks !== 'string') {
          throw new JwksError('malformed', 'It is not what a save writes.');
        }
        if (this.#fileOf(uri) !== file) throw new JwksError('malformed', 'It is the file of another URI.');
        kept.set(uri, { set: parseKeySet(Buffer.from(jwks)), fetchedAtMs });
      } catch (error) {
        const found = error instanceof JwksError ? error.message : 'It cannot be read.';
        this.#onError(
          new JwksError('store-unusable', `${file} is left out, and fetched again: ${found}`, {
            cause: error,
          }),
        );
      }
    }
    return kept;
  }
}
