import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { authzCommand } from '../../cmd/authz.ts';
import { authzTestCommand } from '../../cmd/authz-test.ts';
import { bootstrapCommand } from '../../cmd/bootstrap.ts';
import { runInProcess } from '../harness/command.ts';
import { root } from '../harness/paths.ts';

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
  readonly words: readonly string[];
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
      .map((line) => {
        const [command = '', exitCode = '0'] = line.trim().split(/ +# exit /u);
        return { words: command.split(/ +/u), exitCode: Number(exitCode) };
      }),
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
  it('has commands that do what is said', async () => {
    write(page);
    let printed = '';
    for (const { words, exitCode } of page.commands) {
      const [, subject = '', ...rest] = words;
      const args = rest.map((word) => (/^\w+\.yaml$/u.test(word) ? join(directory, word) : word));
      process.exitCode = undefined;
      if (subject === 'control-plane') continue; // A server: its flags are tested where it is started.
      const command = subject === 'bootstrap' ? bootstrapCommand() : authzCommand();
      expect(['bootstrap', 'authz']).toContain(subject);
      const ran = await runInProcess(command, ...args);
      expect(ran.exitCode ?? 0, `${words.join(' ')}\n${ran.err}`).toBe(exitCode);
      printed += ran.out;
      vi.restoreAllMocks();
    }
    for (const output of page.outputs) expect(printed).toContain(output);
  });
});

it('the bootstrap of the page on authorizers knows both of them', async () => {
  const page = read('external-authorizers.md');
  const settings = write(page);
  const words = page.commands.find((command) => command.words[1] === 'bootstrap')?.words ?? [];
  const { out } = await runInProcess(
    bootstrapCommand(),
    ...words.slice(2).map((word) => (word === 'mesh.yaml' ? (settings[1] ?? '') : word)),
  );
  for (const name of ['opa|opa.policy.svc.cluster.local|9191', 'legacy|auth.shop.svc.cluster.local|8000'])
    expect(out).toContain(`"countersign.authorizer.${name}"`);
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
