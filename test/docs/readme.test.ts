import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { root } from '../harness/paths.ts';

const readme = readFileSync(`${root}README.md`, 'utf8');

/** The lines themselves are run by the test of docs/examples. */
it('quotes the five lines that attach an Envoy as they are run', () => {
  const lines = readFileSync(`${root}docs/examples/attach.sh`, 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
  expect(lines).toHaveLength(5);
  expect(readme).toContain(`\`\`\`sh\n${lines.join('\n')}\n\`\`\``);
});

/** The commands of that page are run by test/deploy. */
it('quotes the way onto a cluster as docs/kubernetes.md has it', () => {
  const page = readFileSync(`${root}docs/kubernetes.md`, 'utf8').split('\n');
  const [, block = ''] = /^## On Kubernetes\n.*?```sh\n(.*?)\n```/msu.exec(readme) ?? [];
  const lines = block.split('\n');
  expect(lines.length).toBeGreaterThan(4);
  expect(lines.map((line) => page.indexOf(line))).toEqual(
    lines.map((line) => page.indexOf(line)).toSorted((a, b) => a - b),
  );
  for (const line of lines) expect(page).toContain(line);
});

it('names make targets and files that exist', () => {
  const makefile = readFileSync(`${root}Makefile`, 'utf8');
  for (const [, target] of readme.matchAll(/\bmake ([a-z-]+)\b/gu)) {
    expect(makefile, `make ${target}`).toMatch(new RegExp(`^${target}:`, 'mu'));
  }
  for (const [, path] of readme.matchAll(/\]\(([^)#]+)\)/gu)) {
    expect(() => readFileSync(`${root}${path}`), path).not.toThrow(/ENOENT/u);
  }
});
