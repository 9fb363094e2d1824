import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { authzTestCommand } from '../../cmd/authz-test.ts';
import { runInProcess } from '../harness/command.ts';
import { root } from '../harness/paths.ts';
import { Child } from '../harness/process.ts';

const folder = `${root}docs/policies/`;
const pages = readdirSync(folder).filter((name) => name.endsWith('.md'));

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'countersign-docs-'));
});
afterEach(() => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
  rmSync(directory, { recursive: true });
});

interface Page {
  readonly manifests: string;
  readonly cases: string;
  /** Empty: the page has none. */
  readonly meshConfig: string;
  readonly commands: readonly Command[];
  /** What the commands are said to print. */
  readonly outputs: readonly string[];
}

interface Command {
  /** As it stands, its comment included. */
  readonly line: string;
  /** As a comment behind the command says: `# exit 1`. */
  readonly exitCode: number;
}

function read(name: string): Page {
  const text = readFileSync(folder + name, 'utf8');
  const blocks = [...text.matchAll(/^ *```(yaml|sh|)\n(.*?)^ *```$/gmsu)].map(([, language, body = '']) => ({
    language,
    body,
  }));
  const yaml = blocks.filter(({ language }) => language === 'yaml').map(({ body }) => body);
  const isManifest = (body: string): boolean => /^kind:/mu.test(body);
  return {
    manifests: yaml.filter(isManifest).join('---\n'),
    cases: yaml.find((body) => body.startsWith('cases:')) ?? '',
    meshConfig: yaml.find((body) => !isManifest(body) && !body.startsWith('cases:')) ?? '',
    outputs: blocks.filter(({ language }) => language === '').map(({ body }) => body),
    commands: blocks
      .filter(({ language }) => language === 'sh')
      .flatMap(({ body }) => body.replaceAll('\\\n', ' ').trim().split('\n'))
      .map((line) => ({ line: line.trim(), exitCode: Number(/ # exit (\d)$/u.exec(line)?.[1] ?? 0) })),
  };
}

function write({ manifests, cases, meshConfig }: Page): readonly string[] {
  writeFileSync(join(directory, 'manifests.yaml'), manifests);
  writeFileSync(join(directory, 'cases.yaml'), cases);
  writeFileSync(join(directory, 'mesh.yaml'), meshConfig);
  return meshConfig === '' ? [] : ['--mesh-config', join(directory, 'mesh.yaml')];
}

describe.each(pages)('docs/policies/%s', (name) => {
  const page = read(name);

  it('has an example whose expectations hold', async () => {
    const settings = write(page);
    const files = ['-f', join(directory, 'manifests.yaml'), '-t', join(directory, 'cases.yaml')];
    const { out, err } = await runInProcess(authzTestCommand(), ...files, ...settings);
    expect(out, err).toMatch(/\n[1-9]\d* passed, 0 failed\n$/u);
    expect(err).not.toMatch(/^error/mu);
  });

  if (page.commands.length === 0) return;
  it('has commands that do what is said, in a checkout', async () => {
    write(page);
    symlinkSync(`${root}cmd`, join(directory, 'cmd'));
    // A server runs on: its flags are tested where it is started.
    const commands = page.commands.filter(({ line }) => !line.startsWith('cmd/countersign control-plane '));
    for (const { line } of commands) expect(line).toMatch(/^cmd\/countersign (?:authz|bootstrap) /u);
    const script = commands.flatMap(({ line }) => [line, 'echo "exit $?" >&2']).join('\n');
    const shell = new Child('sh', 'sh', ['-c', `cd '${directory}'\n${script}`]);
    await shell.exited;
    const { stdout, stderr } = shell;
    const codes = [...stderr.matchAll(/^exit (\d+)$/gmu)].map(([, code]) => Number(code));
    expect(codes, `${script}\n${stderr}`).toEqual(commands.map(({ exitCode }) => exitCode));
    for (const output of page.outputs) expect(stdout).toContain(output);
    // Every authorizer that a page declares is one that the sidecar can ask.
    if (!script.includes('countersign bootstrap')) return;
    for (const [, provider] of page.meshConfig.matchAll(/^ {2}- name: (\w+)$/gmu))
      expect(stdout).toContain(`"countersign.authorizer.${provider}|`);
  }, 120_000);

  it('says which file holds what before its first command', () => {
    const text = readFileSync(folder + name, 'utf8');
    const said = text.indexOf('`manifests.yaml` holds');
    expect(said).toBeGreaterThan(0);
    expect(said).toBeLessThan(text.indexOf('```'));
  });
});

describe('docs/policies.md', () => {
  const text = readFileSync(`${root}docs/policies.md`, 'utf8');

  it('leads to every page', () => {
    for (const name of pages) expect(text).toContain(`(policies/${name})`);
  });

  it('begins with an example that the pages build on', () => {
    const [, example = ''] = /^```yaml\n(.*?)^```$/msu.exec(text) ?? [];
    expect(parseAllDocuments(example)).toHaveLength(1);
    for (const name of ['check.md', 'lint.md', 'test.md', 'compile.md']) {
      expect(readFileSync(folder + name, 'utf8')).toContain(example);
    }
  });
});
