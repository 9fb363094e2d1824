import { watch } from 'node:fs';
import type { FSWatcher } from 'node:fs';
import type { Folder } from './tree.ts';

/** Hears of changes in folders. It may miss some (network file systems, too many watches): polling finds those. */
export class FolderWatcher {
  readonly #watchers = new Map<string, { readonly inode: bigint; readonly watcher: FSWatcher }>();
  readonly #onEvent: (folder: string, name: string | undefined) => void;

  constructor(onEvent: (folder: string, name: string | undefined) => void) {
    this.#onEvent = onEvent;
  }

  /**
   * Watches these folders and no others.
   * @returns why some cannot be watched
   */
  set(folders: readonly Folder[]): string[] {
    const faults: string[] = [];
    const wanted = new Map(folders.map((folder) => [folder.path, folder]));
    for (const [path, { inode }] of this.#watchers) {
      if (wanted.get(path)?.inode !== inode) this.#stop(path);
    }
    for (const folder of folders) {
      if (this.#watchers.has(folder.path)) continue;
      try {
        this.#start(folder);
      } catch (error) {
        faults.push(String(error));
      }
    }
    return faults;
  }

  close(): void {
    for (const path of this.#watchers.keys()) this.#stop(path);
  }

  #start({ path, inode }: Folder): void {
    const watcher = watch(path, { persistent: false }, (_event, name) => {
      this.#onEvent(path, name ?? undefined);
    });
    watcher.on('error', () => {
      // It has ended. The full look that follows starts a new one, or reports why it cannot.
      this.#stop(path);
      this.#onEvent(path, undefined);
    });
    this.#watchers.set(path, { inode, watcher });
  }

  #stop(path: string): void {
    this.#watchers.get(path)?.watcher.close();
    this.#watchers.delete(path);
  }
}
