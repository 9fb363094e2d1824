import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { root } from '../harness/paths.ts';
import { breaches } from './layers.ts';

it('each room imports only what the design allows, by its door', () => {
  expect(breaches(root)).toEqual([]);
});

it('sees a forbidden room, a side door and I/O in a pure room', () => {
  const tree = mkdtempSync(join(tmpdir(), 'layers-'));
  const write = (file: string, text: string): void => {
    mkdirSync(join(tree, file, '..'), { recursive: true });
    writeFileSync(join(tree, file), text);
  };
  try {
    for (const top of ['cmd', 'test', 'proto']) mkdirSync(join(tree, top));
    write('src/discovery/a.ts', "import type { Pod } from '../mesh/index.ts';\nexport type A = Pod;\n");
    write('src/proxy/b.ts', "export { key } from '../mesh/keys.ts';\n");
    write('src/mesh/c.ts', "import { readFileSync } from 'node:fs';\nexport const c = readFileSync;\n");
    write('src/mesh/index.ts', 'export type Pod = string;\n');
    write('src/policy/e.ts', "export const e = Date.now() + (await import('../mesh/index.ts')).c;\n");
    write('src/elsewhere/d.ts', 'export const d = 1;\n');
    expect(breaches(tree)).toEqual(
      expect.arrayContaining([
        'src/discovery/a.ts imports src/mesh/index.ts: src/discovery may not import src/mesh',
        "src/proxy/b.ts imports src/mesh/keys.ts: a room's door is its index.ts",
        'src/mesh/c.ts imports node:fs: src/mesh does no I/O',
        'src/policy/e.ts uses Date.now: src/policy reads no clock but the one it is handed',
        'src/policy/e.ts imports src/mesh/index.ts: src/policy may not import src/mesh',
        'src/elsewhere/d.ts is in no room of the design',
      ]),
    );
  } finally {
    rmSync(tree, { recursive: true });
  }
});
