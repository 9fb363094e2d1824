import { execFileSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import packageJson from '../../package.json' with { type: 'json' };
import { root } from '../harness/paths.ts';
import { run } from '../harness/process.ts';

interface Instruction {
  readonly name: string;
  readonly text: string;
}

/** Without comments, with continued lines as one. */
function instructionsOf(text: string): readonly Instruction[] {
  return text
    .split('\n')
    .filter((line) => !/^\s*(#|$)/u.test(line))
    .join('\n')
    .replaceAll(/\\\n\s*/gu, '')
    .split('\n')
    .map((line) => ({ name: line.split(' ')[0] ?? '', text: line.slice(line.indexOf(' ') + 1) }));
}

describe('deploy/Containerfile', () => {
  const file = `${root}deploy/Containerfile`;
  const instructions = instructionsOf(readFileSync(file, 'utf8'));
  const last = instructions.slice(instructions.findLastIndex(({ name }) => name === 'FROM'));
  let hadolint: string;
  beforeAll(() => {
    hadolint = execFileSync(`${root}test/setup/install-hadolint.sh`, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    }).trim();
  });

  it('passes hadolint, its shell lines checked too', async () => {
    const checked = await run(hadolint, ['--failure-threshold', 'style', file]);
    expect(checked).toEqual({ code: 0, stdout: '', stderr: '' });
  });

  it('names every base by digest, and Node by the version that the lock has', () => {
    const bases = instructions.filter(({ name }) => name === 'FROM').map(({ text }) => text);
    for (const base of bases) expect(base).toMatch(/@sha256:[0-9a-f]{64}( AS [a-z]+)?$/u);
    expect(bases[0]).toContain(`/node:${packageJson.dependencies.node}-`);
  });

  it('fetches nothing but packages of the lock, and runs no script of theirs', () => {
    const runs = instructions.filter(({ name }) => name === 'RUN').map(({ text }) => text);
    for (const text of runs) expect(text).not.toMatch(/\b(curl|wget|apt-get|apk|git|pip)\b/u);
    const installs = runs.flatMap((text) => text.match(/npm [^&|;]*/gu) ?? []);
    expect(installs).toHaveLength(2);
    for (const install of installs) expect(install).toContain('--ignore-scripts');
    expect(instructions.filter(({ name }) => name === 'ADD')).toEqual([]);
  });

  it('ends with an image that has no shell, runs as nobody, and holds production packages alone', () => {
    expect(last[0]?.text).toMatch(/distroless/u);
    expect(last.map(({ name }) => name)).not.toContain('RUN');
    expect(last.find(({ name }) => name === 'USER')?.text).toBe('65532:65532');
    expect(last.filter(({ name }) => name === 'COPY').map(({ text }) => text)).toEqual([
      '--from=build /out /',
    ]);
    expect(instructions.find(({ text }) => text.includes('/build/package.json'))?.text).toContain(
      '--omit=dev',
    );
  });

  it('lacks nothing that runs: no file of it imports a development package or a file that is left out', () => {
    const files = globSync(['src/**/*.ts', 'cmd/**/*.ts'], { cwd: root });
    const isLeftOut = (path: string): boolean => /(\.test\.ts|\/testing[^/]*(\/.*)?)$/u.test(path);
    const imported = files.filter((path) => !isLeftOut(path)).flatMap((path) => importsOf(path));
    expect(imported.length).toBeGreaterThan(500);
    const packages = imported.filter((name) => !/^(\.|node:)/u.test(name));
    const names = packages.map((name) => /^(?:@[^/]+\/)?[^/]+/u.exec(name)?.[0]);
    for (const name of new Set(names)) expect(Object.keys(packageJson.dependencies)).toContain(name);
    expect(imported.filter((name) => name.startsWith('.') && isLeftOut(name))).toEqual([]);
  });
});

function importsOf(path: string): string[] {
  const text = readFileSync(`${root}${path}`, 'utf8');
  return [...text.matchAll(/(?:from |import\(|^import )'([^'\s]+)'/gmu)].map(([, name = '']) => name);
}
