import { existsSync, mkdirSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve, sep } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/**
 * Makes the data directory where it is missing, and takes it for this process alone. The lock is the operating
 * system's, by way of SQLite: it ends with the process however that ends, and leaves nothing to clean up.
 * @param advice what to do where another one has it
 * @returns the function that gives it back
 * @throws Error that says what is wrong with `--data-dir`, or that another control plane runs there
 */
export function takeDataDir(
  dataDir: string,
  advice = 'stop it, or give this one its own --data-dir',
): () => void {
  try {
    makeDirectory(resolve(dataDir));
  } catch (error) {
    throw new Error(
      `--data-dir ${dataDir} cannot be made: ${reasonOf(error)}. Name a directory that this user may write to.`,
      { cause: error },
    );
  }
  try {
    const lock = new DatabaseSync(join(dataDir, 'lock'), { timeout: 0 });
    lock.exec('BEGIN EXCLUSIVE');
    return () => lock.close();
  } catch (error) {
    if (isBusy(error)) {
      throw new Error(`another control plane is running on the data directory ${dataDir}: ${advice}`, {
        cause: error,
      });
    }
    throw new Error(
      `--data-dir ${dataDir} cannot be written to: ${reasonOf(error)}. Check its owner, its mode and the space left.`,
      { cause: error },
    );
  }
}

/**
 * Keys and state are JSON files: below the manifests they would be read as manifests, and end up wherever those are
 * copied to.
 * @throws Error the data directory is the directory of manifests, or below it
 */
export function refuseDataAmongManifests(directory: string, dataDir: string): void {
  const manifests = realPath(directory);
  const data = realPath(dataDir);
  if (data !== manifests && !data.startsWith(manifests.endsWith(sep) ? manifests : manifests + sep)) return;
  const where = data === manifests ? 'is --directory itself' : `is inside --directory ${directory}`;
  throw new Error(
    `--data-dir ${dataDir} ${where}: keys and state would be read as manifests. Name a directory outside of it.`,
  );
}

/** Absolute, without symbolic links as far as the path exists. */
function realPath(path: string): string {
  const absolute = resolve(path);
  try {
    return realpathSync(absolute);
  } catch {
    // What is missing, or cannot be looked into, is named by whoever opens it.
    const parent = dirname(absolute);
    return parent === absolute ? absolute : join(realPath(parent), basename(absolute));
  }
}

function makeDirectory(path: string): void {
  if (existsSync(path) && statSync(path).isDirectory()) return;
  // Node's recursive form never returns where the parent exists and takes no directories, as in /proc.
  mkdirSync(path, { recursive: !existsSync(dirname(path)), mode: 0o700 });
}

function isBusy(error: unknown): boolean {
  const sqliteBusy = 5;
  return error instanceof Error && 'errcode' in error && error.errcode === sqliteBusy;
}

/** In words, without the call's name. */
export function reasonOf(error: unknown): string {
  const known: Readonly<Record<string, string>> = {
    EEXIST: 'there is a file of that name',
    EISDIR: 'it is a directory',
    ENOTDIR: 'a part of the path is a file',
    EACCES: 'permission denied',
    EROFS: 'the file system is read-only',
    ENOENT: 'its parent is missing or takes nothing new',
  };
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return known[code] ?? (error instanceof Error ? error.message : String(error));
}
