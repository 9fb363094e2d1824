import { readdir, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCode } from '../../files/index.ts';
import { DirectoryError } from './errors.ts';

export interface Folder {
  /** Absolute. */
  readonly path: string;
  /** Changes when another directory takes the name: a watch on the old one hears nothing any more. */
  readonly inode: bigint;
}

export interface Tree {
  readonly folders: readonly Folder[];
  /** Manifest files, relative to the root, with `/`. */
  readonly files: ReadonlySet<string>;
  /** Folders that are there and could not be looked into; relative to the root. What is below them is not known. */
  readonly unreadable: ReadonlyMap<string, string>;
}

const MANIFEST = /\.(?:ya?ml|json)$/;

/**
 * Names that begin with a dot are left out: editors' temporary files, and the hidden folders behind the symbolic links
 * of a mounted ConfigMap or Secret, which would show everything twice.
 */
export function isManifestName(name: string): boolean {
  return !name.startsWith('.') && MANIFEST.test(name);
}

/**
 * Lists the manifest files below a directory; symbolic links are followed, each real folder is entered once.
 * @throws DirectoryError DIRECTORY_UNREADABLE: the root itself cannot be listed
 */
export async function readTree(root: string): Promise<Tree> {
  const folders: Folder[] = [];
  const files = new Set<string>();
  const unreadable = new Map<string, string>();
  const entered = new Set<string>();
  const enter = async (relative: string): Promise<void> => {
    const path = join(root, relative);
    try {
      const real = await realpath(path);
      if (entered.has(real)) return;
      entered.add(real);
      const { ino } = await stat(path, { bigint: true });
      const names = await readdir(path, { withFileTypes: true });
      folders.push({ path, inode: ino });
      for (const entry of names.sort((a, b) => (a.name < b.name ? -1 : 1))) {
        if (entry.name.startsWith('.')) continue;
        const below = relative === '' ? entry.name : `${relative}/${entry.name}`;
        const isLinkedFolder = entry.isSymbolicLink() && (await isFolder(join(root, below)));
        if (entry.isDirectory() || isLinkedFolder) await enter(below);
        else if (isManifestName(entry.name)) files.add(below);
      }
    } catch (error) {
      if (relative === '') throw unreadableRoot(root, error);
      // Gone since its parent was listed: so is what was in it.
      if (!hasCode(error, 'ENOENT', 'ENOTDIR')) unreadable.set(relative, String(error));
    }
  };
  await enter('');
  return { folders, files, unreadable };
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch {
    // A file that cannot be looked at is reported when it is read.
    return false;
  }
}

function unreadableRoot(root: string, error: unknown): DirectoryError {
  const hint = hasCode(error, 'ENOENT') ? 'it does not exist' : String(error);
  return new DirectoryError(
    'DIRECTORY_UNREADABLE',
    `The directory ${root} cannot be read: ${hint}. Name one that holds the manifests.`,
    { cause: error },
  );
}
