import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { removeLeftovers, writeWhole } from './index.ts';

let directory: string;
let file: string;
const mode = async (): Promise<string> => ((await stat(file)).mode & 0o777).toString(8);

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'countersign-'));
  file = join(directory, 'state.json');
});
afterEach(() => rm(directory, { recursive: true, force: true }));

describe('writeWhole', () => {
  it('makes a file for its owner alone, and leaves nothing beside it', async () => {
    await writeWhole(file, 'one');
    expect([await readFile(file, 'utf8'), await mode()]).toEqual(['one', '600']);
    expect(await readdir(directory)).toEqual(['state.json']);
  });

  it('replaces a file, its mode too', async () => {
    await writeFile(file, 'open');
    await chmod(file, 0o666);
    await writeWhole(file, 'two');
    expect([await readFile(file, 'utf8'), await mode()]).toEqual(['two', '600']);
    await writeWhole(file, 'three', { mode: 0o644 });
    expect([await readFile(file, 'utf8'), await mode()]).toEqual(['three', '644']);
  });

  it('of many that create one file, lets one win and harms nothing', async () => {
    const texts = ['a', 'b', 'c', 'd'];
    const results = await Promise.allSettled(texts.map((text) => writeWhole(file, text, { create: true })));
    const winners = texts.filter((_, index) => results[index]?.status === 'fulfilled');
    expect(winners).toEqual([await readFile(file, 'utf8')]);
    expect(results.filter(({ status }) => status === 'rejected')).toMatchObject(
      [1, 2, 3].map(() => ({ reason: { code: 'EEXIST' } })),
    );
    expect(await readdir(directory)).toEqual(['state.json']);
  });

  it('leaves the old file, and nothing beside it, where it fails', async () => {
    await mkdir(file);
    await expect(writeWhole(file, 'text')).rejects.toMatchObject({ code: 'EISDIR' });
    expect(await readdir(directory)).toEqual(['state.json']);
    await expect(writeWhole(join(directory, 'none', 'file'), 'text')).rejects.toMatchObject({
      code: 'ENOENT',
    });
  });
});

describe('removeLeftovers', () => {
  it('removes what cut-off writes of this file left, and nothing else', async () => {
    for (const name of ['state.json', 'state.json.00ff.tmp', 'other.json.00ff.tmp', 'state.json.bak']) {
      await writeFile(join(directory, name), '');
    }
    await removeLeftovers(file);
    expect((await readdir(directory)).sort()).toEqual([
      'other.json.00ff.tmp',
      'state.json',
      'state.json.bak',
    ]);
  });
});
