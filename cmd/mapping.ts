import { readFile } from 'node:fs/promises';
import { parseDocument } from 'yaml';

export type Mapping = Readonly<Record<string, unknown>>;

/** The one JSON or YAML mapping that a text holds; undefined: it holds something else. */
export function mappingIn(text: string): Mapping | undefined {
  const document = parseDocument(text);
  const value: unknown = document.errors.length > 0 ? undefined : document.toJS({ maxAliasCount: 100 });
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined;
}

/** A file that holds one JSON or YAML mapping. What it holds is never repeated in an error. */
export async function readMapping(file: string, flag: string): Promise<Mapping> {
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new Error(
      `${flag}: cannot read ${file}: ${error instanceof Error ? error.message : String(error)}`,
    );
  });
  const mapping = mappingIn(text);
  if (mapping !== undefined) return mapping;
  throw new Error(`${flag}: ${file} holds no JSON or YAML mapping`);
}
