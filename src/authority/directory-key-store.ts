import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { link, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { AuthorityError } from './errors.ts';
import type { KeyStore } from './key-store.ts';
import { parseStored, serializeStored } from './stored.ts';

const FILE = 'authority.json';

/**
 * Keeps the root in `authority.json` of one directory: mode 0600, in a directory that is made with 0700 and that
 * nobody else may write to. A save writes a temporary file, syncs it, and puts it in place by one rename, so a
 * crash leaves the old state or the new one. What cannot be read or trusted is refused, never replaced.
 */
export function directoryKeyStore(directory: string): KeyStore {
  const file = join(directory, FILE);
  // The first save must not replace what another process made meanwhile.
  let first = true;
  return {
    description: `directory ${directory}`,
    async load() {
      await prepare(directory);
      await removeLeftovers(directory);
      const text = await readPrivate(file);
      if (text === undefined) return undefined;
      first = false;
      return parseStored(text, `The key file ${file}`);
    },
    async save(state) {
      await prepare(directory);
      await replace(directory, file, serializeStored(state), first);
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

/** Temporary files of a save that a crash cut off. They were never in force. */
async function removeLeftovers(directory: string): Promise<void> {
  try {
    for (const name of await readdir(directory)) {
      if (name.startsWith(`${FILE}.`) && name.endsWith('.tmp'))
        await rm(join(directory, name), { force: true });
    }
  } catch (cause) {
    throw wrap(cause, 'store-unreadable', `The key directory ${directory} cannot be cleaned`);
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
    if (isErrno(cause, 'ENOENT')) return undefined;
    throw wrap(cause, 'store-unreadable', `The key file ${file} cannot be read`);
  }
}

async function replace(directory: string, file: string, text: string, first: boolean): Promise<void> {
  const temporary = `${file}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    const handle = await open(temporary, 'wx', 0o600);
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    if (first) {
      await link(temporary, file);
      await rm(temporary);
    } else await rename(temporary, file);
    await syncDirectory(directory);
  } catch (cause) {
    await rm(temporary, { force: true });
    if (first && isErrno(cause, 'EEXIST')) {
      throw new AuthorityError(
        'store-conflict',
        `Another process made ${file} meanwhile: start again to use its root, and give each control plane its own data directory.`,
        { cause },
      );
    }
    throw wrap(cause, 'store-unwritable', `The key file ${file} cannot be written`);
  }
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
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

function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

function octal(mode: number): string {
  return `0${(mode & 0o777).toString(8)}`;
}
