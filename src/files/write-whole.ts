import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { link, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/**
 * Writes a file that is whole or as it was before, also after a crash: a temporary file beside it, synced, put in
 * place in one step, the directory synced.
 * @param options.mode default 0600: for its owner alone
 * @param options.create never replaces a file: `EEXIST` where there is one
 * @throws the operating system's error as it is
 */
export async function writeWhole(
  file: string,
  text: string,
  options: { readonly mode?: number; readonly create?: boolean } = {},
): Promise<void> {
  const temporary = `${file}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    const handle = await open(temporary, 'wx', options.mode ?? 0o600);
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await (options.create === true ? link(temporary, file) : rename(temporary, file));
  } finally {
    await rm(temporary, { force: true });
  }
  await syncDirectory(dirname(file));
}

/**
 * Removes the temporary files of writes of `file` that a crash cut off. They were never in force.
 * @throws the operating system's error as it is
 */
export async function removeLeftovers(file: string): Promise<void> {
  const directory = dirname(file);
  for (const name of await readdir(directory)) {
    if (!name.startsWith(`${basename(file)}.`) || !name.endsWith('.tmp')) continue;
    await rm(join(directory, name), { force: true });
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
