import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { text as readAll } from 'node:stream/consumers';
import { readManifests } from './read.ts';
import type { Manifest, ManifestProblem, Manifests } from './types.ts';

/** Larger manifests are refused unread: a mistake, or an attack on memory. Bytes. */
const MAX_FILE_BYTES = 16 * 1024 * 1024;

/**
 * The objects of files, of directories (their `.yaml`, `.yml`, `.json` files, sub-directories included, in
 * name order; hidden names left out) and, for `-`, of standard input. What cannot be read is a problem with line 0; nothing throws.
 */
export async function loadManifests(
  paths: readonly string[],
  stdin: NodeJS.ReadableStream,
): Promise<Manifests> {
  const documents: Manifest[] = [];
  const problems: ManifestProblem[] = [];
  for (const path of paths) {
    for (const { file, read } of await filesOf(path, stdin)) {
      try {
        const found = readManifests(await read(), file);
        for (const document of found.documents) documents.push(document);
        for (const problem of found.problems) problems.push(problem);
      } catch (error) {
        problems.push({ file, line: 0, field: '', message: whyUnread(error) });
      }
    }
  }
  return { documents, problems };
}

interface Readable {
  readonly file: string;
  readonly read: () => Promise<string>;
}

async function filesOf(path: string, stdin: NodeJS.ReadableStream): Promise<Readable[]> {
  if (path === '-') return [{ file: '<stdin>', read: () => readAll(stdin) }];
  try {
    const names = await manifestsUnder(path);
    return names.map((file) => ({ file, read: () => readBounded(file) }));
  } catch (error) {
    return [{ file: path, read: () => Promise.reject(error) }];
  }
}

async function manifestsUnder(path: string): Promise<string[]> {
  if (!(await stat(path)).isDirectory()) return [path];
  const names: string[] = [];
  const entries = await readdir(path, { withFileTypes: true });
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.name.startsWith('.')) continue;
    const full = join(path, entry.name);
    if (entry.isDirectory()) names.push(...(await manifestsUnder(full)));
    else if (/\.(ya?ml|json)$/.test(entry.name)) names.push(full);
  }
  return names;
}

async function readBounded(file: string): Promise<string> {
  const { size } = await stat(file);
  if (size > MAX_FILE_BYTES)
    throw new Error(`it has ${size} bytes; at most ${MAX_FILE_BYTES} are read: split it`);
  return readFile(file, 'utf8');
}

function whyUnread(error: unknown): string {
  return `cannot be read: ${error instanceof Error ? error.message : String(error)}`;
}
