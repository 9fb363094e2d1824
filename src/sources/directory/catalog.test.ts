import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Catalog } from './catalog.ts';
import type { Entry, FileContent } from './file-content.ts';

const files = fc.constantFrom('a.yaml', 'b.yaml', 'b/a.yaml');
const names = fc.uniqueArray(fc.constantFrom('x', 'y', 'z'), { maxLength: 3 });
const steps = fc.array(fc.tuple(files, fc.option(names, { nil: undefined })), { maxLength: 12 });

/** Which file an object comes from shows in its labels. */
function contentOf(file: string, objects: readonly string[]): FileContent {
  const entries = objects.map((name): [string, Entry] => [
    `Namespace ${name}`,
    { id: { kind: 'Namespace', key: name }, line: 1, object: { kind: 'Namespace', name, labels: { file } } },
  ]);
  return { entries: new Map(entries), named: new Set(), problems: [], ignored: [] };
}

describe('Catalog', () => {
  it('has of each object the version of the first file by name, and reports the others, after any changes', () => {
    fc.assert(
      fc.property(steps, (sequence) => {
        const catalog = new Catalog();
        const written = new Map<string, readonly string[]>();
        const inForce = new Map<string, string>();
        for (const [file, objects] of sequence) {
          if (objects === undefined) written.delete(file);
          else written.set(file, objects);
          const content = objects === undefined ? undefined : contentOf(file, objects);
          for (const { id, entry } of catalog.replace(new Map([[file, content]]))) {
            if (entry?.object.kind === 'Namespace') inForce.set(id.key, entry.object.labels['file'] ?? '');
            else inForce.delete(id.key);
          }
        }
        const expected = new Map<string, string>();
        let others = 0;
        for (const file of [...written.keys()].sort()) {
          for (const name of written.get(file) ?? []) {
            if (expected.has(name)) others += 1;
            else expected.set(name, file);
          }
        }
        expect(inForce).toEqual(expected);
        expect(catalog.problems()).toHaveLength(others);
      }),
      { seed: 3, numRuns: 300 },
    );
  });
});
