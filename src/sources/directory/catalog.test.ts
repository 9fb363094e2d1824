import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Catalog } from './catalog.ts';
import type { Entry, FileContent } from './file-content.ts';

const files = fc.constantFrom('a.yaml', 'b.yaml', 'b/a.yaml');
const names = fc.uniqueArray(fc.constantFrom('x', 'y', 'z'), { maxLength: 3 });
const contents = fc.record({ objects: names, held: names });
const steps = fc.array(fc.tuple(files, fc.option(contents, { nil: undefined })), { maxLength: 12 });

interface Content {
  readonly objects: readonly string[];
  readonly held: readonly string[];
}

/** Which file an object comes from shows in its labels. */
function contentOf(file: string, { objects, held }: Content): FileContent {
  const entries = [...objects, ...held].map((name): [string, Entry] => [
    `Namespace ${name}`,
    { id: { kind: 'Namespace', key: name }, line: 1, object: { kind: 'Namespace', name, labels: { file } } },
  ]);
  const ids = held.map((name) => `Namespace ${name}`);
  return { entries: new Map(entries), held: new Set(ids), named: new Set(), problems: [], ignored: [] };
}

describe('Catalog', () => {
  it('has of each object the version of the first file by name, held ones last, and reports the others, after any changes', () => {
    fc.assert(
      fc.property(steps, (sequence) => {
        const catalog = new Catalog();
        const written = new Map<string, Content>();
        const inForce = new Map<string, string>();
        for (const [file, generated] of sequence) {
          const parts = generated && {
            objects: generated.objects,
            held: generated.held.filter((name) => !generated.objects.includes(name)),
          };
          if (parts === undefined) written.delete(file);
          else written.set(file, parts);
          const content = parts && contentOf(file, parts);
          for (const { id, entry } of catalog.replace(new Map([[file, content]]))) {
            if (entry?.object.kind === 'Namespace') inForce.set(id.key, entry.object.labels['file'] ?? '');
            else inForce.delete(id.key);
          }
        }
        const expected = new Map<string, string>();
        let others = 0;
        for (const file of [...written.keys()].sort()) {
          for (const name of written.get(file)?.objects ?? []) {
            if (expected.has(name)) others += 1;
            else expected.set(name, file);
          }
        }
        const defined = new Set(expected.keys());
        for (const file of [...written.keys()].sort()) {
          for (const name of written.get(file)?.held ?? []) {
            if (!defined.has(name)) others += 1;
            if (!expected.has(name)) expected.set(name, file);
          }
        }
        expect(inForce).toEqual(expected);
        expect(catalog.problems()).toHaveLength(others);
      }),
      { numRuns: 300 },
    );
  });
});
