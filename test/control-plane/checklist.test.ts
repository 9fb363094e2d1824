import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { root } from '../harness/paths.ts';

/** The items of SPIFFE's standards that speak of X.509-SVIDs, bundles and their federation, by number. */
const ITEMS: Readonly<Record<string, readonly (readonly [first: number, last: number])[]>> = {
  ID: [[1, 20]],
  X: [
    [1, 11],
    [20, 24],
    [30, 34],
    [40, 42],
  ],
  B: [[1, 11]],
  F: [[1, 13]],
};

function numbersOf(title: string): readonly string[] {
  const ranges = [...title.matchAll(/\b(ID|X|B|F)-(\d+)(?: to (?:ID|X|B|F)-(\d+))?/gu)];
  return ranges.flatMap(([, letter, first, last = first]) =>
    Array.from(
      { length: Number(last) - Number(first) + 1 },
      (_, index) => `${letter}-${Number(first) + index}`,
    ),
  );
}

/** Titles of tests that run: those that are skipped count for nothing. */
function titles(): readonly string[] {
  const files = ['src', 'cmd', 'test'].flatMap((top) =>
    readdirSync(`${root}${top}`, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.test.ts'))
      .map((name) => join(root, top, name)),
  );
  return files.flatMap((file) =>
    [...readFileSync(file, 'utf8').matchAll(/\bit(?:\.each\([^]*?\))?\(\s*(['"`])(.*?)\1,/gu)].map(
      ([, , title = '']) => title,
    ),
  );
}

it('every item of the checklist has a test under its number', () => {
  const tested = new Set(titles().flatMap(numbersOf));
  const wanted = Object.entries(ITEMS).flatMap(([letter, ranges]) =>
    ranges.flatMap(([first, last]) =>
      Array.from({ length: last - first + 1 }, (_, index) => `${letter}-${first + index}`),
    ),
  );
  expect(wanted).toHaveLength(68);
  expect(wanted.filter((number) => !tested.has(number))).toEqual([]);
});
