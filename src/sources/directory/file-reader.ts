import type { BigIntStats } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { hasCode } from '../../files/index.ts';

export type Look =
  /** As it was at the last look. `replaced`: that is the content of another file that took its name since. */
  | { readonly kind: 'same'; readonly replaced: boolean }
  /** Being written or replaced, it seems: look again soon. */
  | { readonly kind: 'unsettled' }
  | { readonly kind: 'gone' }
  /** `inPlace`: it is the very file that was there before, written to; not another one that took its name. */
  | { readonly kind: 'text'; readonly text: string; readonly inPlace: boolean }
  | { readonly kind: 'unreadable'; readonly message: string };

/** File systems' clocks are this coarse at worst: what was written this short ago may change without a new time. */
const COARSEST_TIME_MS = 2000;
const GONE = 'gone';

interface Known {
  /** What the file system said of the file at the last look. */
  readonly signature: string;
  /** Whether what was handed out is surely what stands under that signature. */
  readonly certain: boolean;
  /** What was last handed out: a text, or why there was none. Undefined: nothing yet. */
  readonly handed: string | undefined;
  /** Device and inode of what was last handed out. */
  readonly identity: string | undefined;
}

/**
 * Notices when a file's content changes. A file that was moved into place is complete and read at once; one that is
 * written in place may be half there (cut short, a policy could allow more), and one that is gone may be about to be
 * replaced: these count when they stood still from one look to the next.
 */
export class FileReader {
  readonly #known = new Map<string, Known>();
  readonly #nowMs: () => number;
  readonly #maxBytes: number;

  /** @param maxBytes larger files are not read */
  constructor(nowMs: () => number, maxBytes: number) {
    this.#nowMs = nowMs;
    this.#maxBytes = maxBytes;
  }

  /** @param patient false: what is there counts at once, as nothing was known before. */
  async look(path: string, patient: boolean): Promise<Look> {
    const known = this.#known.get(path);
    try {
      const stats = await stat(path, { bigint: true });
      if (stats.isDirectory()) return this.#gone(path, known);
      const signature = signatureOf(stats);
      const still = known?.signature === signature;
      if (still && known.certain) return { kind: 'same', replaced: false };
      if (patient && !still && !wasMovedIntoPlace(stats)) return this.#wait(path, signature, known);
      const identity = `${stats.dev} ${stats.ino}`;
      const inPlace = known?.identity === identity;
      const unfit = whyUnfit(stats, this.#maxBytes);
      const look: Answer =
        unfit === undefined
          ? { kind: 'text', text: await readFile(path, 'utf8'), inPlace }
          : { kind: 'unreadable', message: unfit };
      // Another file may have taken the name in between: the text would count as what it is not.
      if (patient && signatureOf(await stat(path, { bigint: true })) !== signature)
        return await this.look(path, true);
      return this.#hand(path, look, { signature, certain: this.#isOld(stats), identity });
    } catch (error) {
      if (hasCode(error, 'ENOENT', 'ENOTDIR')) return this.#gone(path, known);
      const message = `cannot be read: ${String(error)}`;
      const seen = { signature: '', certain: false, identity: known?.identity };
      return this.#hand(path, { kind: 'unreadable', message }, seen);
    }
  }

  #gone(path: string, known: Known | undefined): Look {
    if (known?.handed !== undefined && known.signature !== GONE) return this.#wait(path, GONE, known);
    this.#known.delete(path);
    return { kind: 'gone' };
  }

  #wait(path: string, signature: string, known: Known | undefined): Look {
    const { handed, identity } = known ?? { handed: undefined, identity: undefined };
    this.#known.set(path, { signature, certain: false, handed, identity });
    return { kind: 'unsettled' };
  }

  #hand(path: string, look: Answer, seen: Omit<Known, 'handed'>): Look {
    const before = this.#known.get(path);
    const handed = look.kind === 'text' ? `text ${look.text}` : look.message;
    this.#known.set(path, { ...seen, handed });
    if (before?.handed !== handed) return look;
    return { kind: 'same', replaced: before.identity !== seen.identity };
  }

  #isOld(stats: BigIntStats): boolean {
    return this.#nowMs() - Number(stats.ctimeMs) > COARSEST_TIME_MS;
  }
}

type Answer = Look & { readonly kind: 'text' | 'unreadable' };

function signatureOf(stats: BigIntStats): string {
  return [stats.dev, stats.ino, stats.size, stats.mtimeNs, stats.ctimeNs].join(' ');
}

/** A rename sets the time of the inode and leaves that of the content. */
function wasMovedIntoPlace(stats: BigIntStats): boolean {
  return stats.ctimeNs > stats.mtimeNs && stats.size > 0n;
}

function whyUnfit(stats: BigIntStats, maxBytes: number): string | undefined {
  if (!stats.isFile()) return 'is no regular file, and is not read';
  if (stats.size > maxBytes)
    return `has ${stats.size} bytes; at most ${maxBytes} of a file are read: split it into several`;
  return undefined;
}
