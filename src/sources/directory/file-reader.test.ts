import type * as fs from 'node:fs/promises';
import { mkdir, mkdtemp, rename, rm, truncate, unlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FileReader } from './file-reader.ts';
import type { Look } from './file-reader.ts';

/** What happens between the look at a file and its reading, once. */
let meanwhile: (() => Promise<void>) | undefined;
vi.mock('node:fs/promises', async (importActual) => {
  const actual = await importActual<typeof fs>();
  const readFile = async (file: string, encoding: 'utf8'): Promise<string> => {
    const act = meanwhile;
    meanwhile = undefined;
    await act?.();
    return actual.readFile(file, encoding);
  };
  return { ...actual, readFile };
});

let folder: string;
let path: string;
let reader: FileReader;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'countersign-reader-'));
  path = join(folder, 'file.yaml');
  // Every time is recent: nothing is certain, so content alone counts.
  reader = new FileReader(() => 0, 1000);
});

afterEach(() => rm(folder, { recursive: true }));

const kinds = async (looks: number): Promise<string[]> => {
  const found: string[] = [];
  for (let look = 0; look < looks; look += 1) found.push(textOf(await reader.look(path, true)));
  return found;
};

function textOf(look: Look): string {
  return look.kind === 'text' ? `text ${look.text}` : look.kind;
}

describe('FileReader', () => {
  it('reads what is there at the first look at once, and hands each content out once', async () => {
    await writeFile(path, 'a');
    expect(textOf(await reader.look(path, false))).toBe('text a');
    expect(await kinds(2)).toEqual(['same', 'same']);
  });

  it('waits until a file that is written in place stands still', async () => {
    await writeFile(path, 'action: ALLOW\n');
    expect(await kinds(1)).toEqual(['unsettled']);
    await writeFile(path, 'action: ALLOW\nrules: []\n');
    expect(await kinds(3)).toEqual(['unsettled', 'text action: ALLOW\nrules: []\n', 'same']);
    await truncate(path, 7);
    await writeFile(path, 'action: DENY\n');
    expect(await kinds(2)).toEqual(['unsettled', 'text action: DENY\n']);
  });

  it('reads a file that was moved into place at once', async () => {
    const other = join(folder, 'other');
    await writeFile(other, 'moved');
    // As if it had been written a while before.
    await utimes(other, 1, 1);
    await rename(other, path);
    expect(await kinds(2)).toEqual(['text moved', 'same']);
  });

  it('tells a file that was written to from another one that took its name', async () => {
    await writeFile(path, 'a');
    expect(await reader.look(path, false)).toEqual({ kind: 'text', text: 'a', inPlace: false });
    const news = async (): Promise<Look> => {
      const first = await reader.look(path, true);
      return first.kind === 'unsettled' ? reader.look(path, true) : first;
    };
    await writeFile(path, 'b');
    expect(await news()).toEqual({ kind: 'text', text: 'b', inPlace: true });
    // An old time looks as after a move; the file is the same.
    await writeFile(path, 'c');
    await utimes(path, 1, 1);
    expect(await news()).toEqual({ kind: 'text', text: 'c', inPlace: true });
    const other = join(folder, 'other');
    await writeFile(other, 'd');
    await rename(other, path);
    expect(await news()).toEqual({ kind: 'text', text: 'd', inPlace: false });
    await writeFile(other, 'd');
    await rename(other, path);
    expect(await news()).toEqual({ kind: 'same', replaced: true });
    expect(await news()).toEqual({ kind: 'same', replaced: false });
    await writeFile(path, 'e');
    expect(await news()).toEqual({ kind: 'text', text: 'e', inPlace: true });
  });

  it('is not misled by a file that takes the name, or is written to, while it is being read', async () => {
    await writeFile(path, 'a');
    await reader.look(path, false);
    const other = join(folder, 'other');
    await writeFile(other, 'b');
    await utimes(other, 1, 1);
    meanwhile = () => rename(other, path);
    expect(await reader.look(path, true)).toEqual({ kind: 'text', text: 'b', inPlace: false });
    meanwhile = () => writeFile(path, 'half');
    expect(await kinds(2)).toEqual(['unsettled', 'text half']);
  });

  it('believes that a file is gone when it stays so, and finds it as new when it is back', async () => {
    await writeFile(path, 'a');
    await reader.look(path, false);
    await unlink(path);
    expect(await kinds(1)).toEqual(['unsettled']);
    await writeFile(path, 'a');
    expect(await kinds(2)).toEqual(['unsettled', 'same']);
    await unlink(path);
    expect(await kinds(2)).toEqual(['unsettled', 'gone']);
    await writeFile(path, 'a');
    expect(await kinds(2)).toEqual(['unsettled', 'text a']);
  });

  it('takes a folder of that name for no file, and refuses what is too large unread', async () => {
    await mkdir(path);
    expect(await kinds(1)).toEqual(['gone']);
    await rm(path, { recursive: true });
    await writeFile(path, '');
    await truncate(path, 1001);
    expect(await reader.look(path, false)).toMatchObject({
      kind: 'unreadable',
      message: 'has 1001 bytes; at most 1000 of a file are read: split it into several',
    });
  });

  it('notices a change of the same size in a file that had stood still for long', async () => {
    const certain = new FileReader(() => Date.now() + 3_600_000, 1000);
    await writeFile(path, 'a');
    expect(textOf(await certain.look(path, false))).toBe('text a');
    await writeFile(path, 'b');
    expect((await certain.look(path, true)).kind).toBe('unsettled');
    expect(textOf(await certain.look(path, true))).toBe('text b');
  });
});
