import { constants } from 'node:fs';
import { mkdir, open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCode, removeLeftovers, writeWhole } from '../files/index.ts';
import { AuthorityError } from './errors.ts';
import type { KeyStore } from './key-store.ts';
import { parseStored, serializeStored } from './stored.ts';

const FILE = 'authority.json';

/**
 * Keeps the root in `authority.json` of one directory: mode 0600, in a directory that is made with 0700 and that
 * nobody else may write to. A crash during a save leaves the old state or the new
 * one. What cannot be read or trusted is refused, never replaced.
 */
export function directoryKeyStore(directory: string): KeyStore {
  const file = join(directory, FILE);
  // The first save must not replace what another process made meanwhile.
  let first = true;
  return {
    description: file,
    async load() {
      await prepare(directory);
      await clean(file);
      const text = await readPrivate(file);
      if (text === undefined) return undefined;
      first = false;
      return parseStored(text, `The key file ${file}`);
    },
    async save(state) {
      await prepare(directory);
      await replace(file, serializeStored(state), first);
      first = false;
    },
  };
}

async function prepare(directory: string): Promise<void> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const { mode } = await stat(directory);
    if ((mode & 0o022) === 0) return;
    throw new AuthorityError(
      'store-too-open',
      `Others may write to ${directory} (mode ${octal(mode)}), so its keys cannot be trusted: run "chmod 700 ${directory}", and make a new root if somebody could have changed it.`,
    );
  } catch (cause) {
    throw wrap(cause, 'store-unwritable', `The key directory ${directory} cannot be made or looked at`);
  }
}

async function clean(file: string): Promise<void> {
  try {
    await removeLeftovers(file);
  } catch (cause) {
    throw wrap(cause, 'store-unreadable', `What cut-off saves of ${file} left cannot be removed`);
  }
}

async function readPrivate(file: string): Promise<string | undefined> {
  try {
    const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      const { mode } = await handle.stat();
      if ((mode & 0o077) !== 0) {
        throw new AuthorityError(
          'store-too-open',
          `The key file ${file} has the mode ${octal(mode)}, so others may know the key: make a new root, or run "chmod 600 ${file}" if you are sure that nobody read it.`,
        );
      }
      return await handle.readFile('utf8');
    } finally {
      await handle.close();
    }
  } catch (cause) {
    if (hasCode(cause, 'ENOENT')) return undefined;
    throw wrap(cause, 'store-unreadable', `The key file ${file} cannot be read`);
  }
}

async function replace(file: string, text: string, first: boolean): Promise<void> {
  try {
    await writeWhole(file, text, { create: first });
  } catch (cause) {
    if (first && hasCode(cause, 'EEXIST')) {
      throw new AuthorityError(
        'store-conflict',
        `Another process made ${file} meanwhile: start again to use its root, and give each control plane its own data directory.`,
        { cause },
      );
    }
    throw wrap(cause, 'store-unwritable', `The key file ${file} cannot be written`);
  }
}

function wrap(
  cause: unknown,
  code: 'store-unreadable' | 'store-unwritable',
  finding: string,
): AuthorityError {
  if (cause instanceof AuthorityError) return cause;
  const reason = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown error';
  return new AuthorityError(code, `${finding} (${reason}): check the path, its owner and the space left.`, {
    cause,
  });
}

function octal(mode: number): string {
  return `0${(mode & 0o777).toString(8)}`;
}
