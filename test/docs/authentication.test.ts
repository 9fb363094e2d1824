import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { authzLintCommand } from '../../cmd/authz-lint.ts';
import { authzTestCommand } from '../../cmd/authz-test.ts';
import { runInProcess } from '../harness/command.ts';
import { root } from '../harness/paths.ts';

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'countersign-docs-'));
});
afterEach(() => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
  rmSync(directory, { recursive: true });
});

describe.each([
  ['request-authentication.md', /^SEVERITY[^\n]*\n$/],
  ['peer-authentication.md', /^SEVERITY[^\n]*\nwarning [^\n]* plaintext [^\n]*9090[^\n]*\n$/],
])('docs/%s', (page, linted) => {
  it('has an example that holds', async () => {
    const text = readFileSync(`${root}docs/${page}`, 'utf8');
    const [manifests = '', cases = ''] = [...text.matchAll(/^```yaml\n(.*?)^```$/gms)].map(
      ([, block]) => block,
    );
    const [file, expectations] = [join(directory, 'manifests.yaml'), join(directory, 'cases.yaml')];
    writeFileSync(file, manifests);
    writeFileSync(expectations, cases);
    const ran = await runInProcess(authzTestCommand(), '-f', file, '-t', expectations);
    expect(ran.out).toMatch(/\n3 passed, 0 failed\n$/);
    expect((await runInProcess(authzLintCommand(), '-f', file)).out).toMatch(linted);
  });
});
