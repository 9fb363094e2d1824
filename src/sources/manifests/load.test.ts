import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { loadManifests } from './index.ts';

let directory = '';
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'manifests-'));
});
afterEach(() => rm(directory, { recursive: true }));

it('reads files, directories in name order, and standard input', async () => {
  await mkdir(join(directory, 'sub'));
  await mkdir(join(directory, '.hidden'));
  await writeFile(join(directory, 'b.yaml'), 'kind: B');
  await writeFile(join(directory, 'a.json'), '{"kind": "A"}');
  await writeFile(join(directory, 'notes.txt'), 'not: read');
  await writeFile(join(directory, 'sub', 'c.yml'), 'kind: C');
  await writeFile(join(directory, '.hidden', 'd.yaml'), 'kind: D');
  const { documents, problems } = await loadManifests(['-', directory], Readable.from(['kind: Stdin\n']));
  expect(problems).toEqual([]);
  expect(
    documents.map(({ value, file }) => [
      value['kind'],
      file === '<stdin>' ? file : relative(directory, file),
    ]),
  ).toEqual([
    ['Stdin', '<stdin>'],
    ['A', 'a.json'],
    ['B', 'b.yaml'],
    ['C', 'sub/c.yml'],
  ]);
});

it('reports what is not there and reads the rest', async () => {
  await writeFile(join(directory, 'a.yaml'), 'kind: A');
  const missing = join(directory, 'missing.yaml');
  const { documents, problems } = await loadManifests(
    [missing, join(directory, 'a.yaml')],
    Readable.from([]),
  );
  expect(documents).toHaveLength(1);
  expect(problems).toMatchObject([{ file: missing, line: 0, field: '' }]);
  expect(problems[0]?.message).toMatch(/cannot be read: ENOENT/);
});
