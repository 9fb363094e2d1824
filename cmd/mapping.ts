import { createReadStream } from 'node:fs';
import { text } from 'node:stream/consumers';
import { readMapping } from '../src/sources/manifests/index.ts';

/** Of a file that holds settings or one request's data: more is a mistake. */
const MAX_BYTES = 1024 * 1024;

/** The text of a file of at most 1 MiB. @throws Error it cannot be read, or is larger */
export async function readSmallFile(file: string): Promise<string> {
  const read = await text(createReadStream(file, { end: MAX_BYTES }));
  if (Buffer.byteLength(read) > MAX_BYTES) throw new Error('it is larger than 1 MiB');
  return read;
}

/** A file that holds one JSON or YAML mapping. What it holds is never repeated in an error. */
export async function readMappingFile(
  file: string,
  flag: string,
): Promise<Readonly<Record<string, unknown>>> {
  const content = await readSmallFile(file).catch((error: unknown) => {
    throw new Error(
      `${flag}: cannot read ${file}: ${error instanceof Error ? error.message : String(error)}`,
    );
  });
  const mapping = readMapping(content);
  if (mapping.ok) return mapping.value;
  throw new Error(`${flag}: ${file} ${mapping.message}`);
}
