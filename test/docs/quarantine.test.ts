import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { World } from '../control-plane/world.ts';
import { policyYaml } from '../envoy/policies.ts';
import type { TestControlPlane } from '../harness/control-plane.ts';
import { countersign, root } from '../harness/paths.ts';
import { run } from '../harness/process.ts';

const page = readFileSync(`${root}docs/quarantine.md`, 'utf8');
const blocks = [...page.matchAll(/^```(sh|)\n(.*?)^```$/gmsu)];
const commands = blocks.flatMap(([, language, text = '']) =>
  language === 'sh' ? text.trimEnd().split('\n') : [],
);
const shown = blocks.find(([, language]) => language === '')?.[2];
/** The entry that the page makes first, and takes away in the end. */
const WRITTEN = 'q-5c0c2f4b1e';

const world = new World('shop/web', 'shop/api');
let controlPlane: TestControlPlane;
let folder: string;
beforeAll(async () => {
  controlPlane = await world.start();
  folder = mkdtempSync(join(tmpdir(), 'countersign-docs-'));
  writeFileSync(join(folder, 'policies.yaml'), policyYaml('shop/all', { rules: [{}] }));
  symlinkSync(controlPlane.dataDir, join(folder, 'data'));
});
afterAll(async () => {
  rmSync(folder, { recursive: true });
  await world.close();
});

/** As it stands on the page, in a folder with `./data`. */
async function inShell(line: string): ReturnType<typeof run> {
  const script = 'cd "$1" && PATH="$2:$PATH" && eval "$3"';
  return await run('sh', ['-c', script, 'sh', folder, dirname(countersign), line]);
}

it('has commands that do what is said', { timeout: 120_000 }, async () => {
  let made = WRITTEN;
  expect(commands.length).toBeGreaterThan(8);
  for (const line of commands) {
    const { code, stdout, stderr } = await inShell(line.replace(WRITTEN, made));
    expect(code, `${line}\n${stderr}`).toBe(Number(/# exit (\d)$/u.exec(line)?.[1] ?? 0));
    if (line !== commands[0]) continue;
    made = /^q-\w+/u.exec(stdout)?.[0] ?? '';
    expect(stdout.replace(made, WRITTEN)).toBe(shown);
  }
  const { stdout } = await inShell('countersign quarantine list --data-dir ./data');
  expect(stdout).not.toContain(made);
  for (const words of [
    'stolen with a backup',
    'node node-1',
    'certificate 6f1e',
    'issued before',
    'pod shop/gone',
  ])
    expect(stdout).toContain(words);
});

it('names audit events, metrics and files as they are', async () => {
  const seen = controlPlane.audit().filter(({ event }) => event === 'quarantine.changed');
  expect(new Set(seen.map(({ change }) => change))).toEqual(new Set(['added', 'removed']));
  expect(await controlPlane.metrics()).toMatch(/^countersign_quarantine_entries [1-9]/mu);
  expect(JSON.parse(readFileSync(join(controlPlane.dataDir, 'quarantine.json'), 'utf8'))).toMatchObject({
    version: 1,
  });
});
