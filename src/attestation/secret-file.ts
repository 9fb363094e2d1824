import { mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { hasCode, writeWhole } from '../files/index.ts';
import { AttestationError } from './errors.ts';

/**
 * @returns undefined when there is no such file
 * @throws AttestationError ISSUER_KEY_UNREADABLE, ISSUER_KEY_TOO_OPEN
 */
export async function readSecretFile(file: string): Promise<string | undefined> {
  try {
    const handle = await open(file, 'r');
    try {
      const { mode } = await handle.stat();
      if ((mode & 0o077) !== 0) {
        throw new AttestationError(
          'ISSUER_KEY_TOO_OPEN',
          `${file} can be read by others (mode ${(mode & 0o777).toString(8)}). Run: chmod 600 ${file}`,
        );
      }
      return await handle.readFile('utf8');
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (error instanceof AttestationError) throw error;
    if (hasCode(error, 'ENOENT')) return undefined;
    throw new AttestationError('ISSUER_KEY_UNREADABLE', `${file} cannot be read: ${String(error)}`, {
      cause: error,
    });
  }
}

/**
 * Writes a file that is either whole or not there, and never replaces one: whoever comes second gets the first one's.
 * @returns what the file now holds
 * @throws AttestationError ISSUER_KEY_NOT_WRITABLE
 */
export async function createSecretFile(file: string, text: string): Promise<string> {
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    await writeWhole(file, text, { create: true });
    return text;
  } catch (error) {
    const winner = hasCode(error, 'EEXIST') ? await readSecretFile(file) : undefined;
    if (winner !== undefined) return winner;
    throw new AttestationError('ISSUER_KEY_NOT_WRITABLE', `${file} cannot be written: ${String(error)}`, {
      cause: error,
    });
  }
}
