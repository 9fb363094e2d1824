import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { parseMeshConfig } from '../../src/policy/index.ts';
import { readMapping } from '../../src/sources/manifests/index.ts';
import { root } from '../harness/paths.ts';
import { freePort } from '../harness/ports.ts';
import { Child } from '../harness/process.ts';

const page = readFileSync(`${root}docs/federation.md`, 'utf8');
const folder = mkdtempSync(join(tmpdir(), 'countersign-docs-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function blocks(language: string): readonly string[] {
  return [...page.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gmsu'))].map(
    ([, body = '']) => body,
  );
}

/** The ports of the page, each replaced by one that is free; those of flags that the page leaves out, too. */
async function onFreePorts(script: string): Promise<string> {
  let text = script.replaceAll(
    '--data-dir east ',
    '--data-dir east --listen 127.0.0.1:1 --admin 127.0.0.1:2 ',
  );
  for (const address of new Set(text.match(/127\.0\.0\.1:\d+/gu)))
    text = text.replaceAll(new RegExp(`${address}\\b`, 'gu'), `127.0.0.1:${await freePort()}`);
  return text;
}

describe('docs/federation.md', () => {
  it('has a configuration that is taken as it stands', () => {
    const [text = ''] = blocks('yaml');
    const document = readMapping(text);
    expect(document.ok && parseMeshConfig(document.value)).toMatchObject({
      ok: true,
      settings: { federation: [{ trustDomain: 'partner.example' }, { trustDomain: 'web.example' }] },
      issues: [{ severity: 'warning', path: 'federation[0].trustDomainBundle' }],
    });
  });

  it('has commands that federate, and part again', { timeout: 120_000 }, async () => {
    const script = await onFreePorts(blocks('sh').join('echo --parted--\n'));
    const shell = new Child(
      'the page',
      'timeout',
      ['100', 'bash', '-ec', `cd ${folder}; trap 'kill $(jobs -p)' EXIT\n${script}`],
      { env: { PATH: `${root}cmd:${process.env['PATH']}` } },
    );
    expect(await shell.exited, shell.stderr + shell.stdout).toBe(0);
    const [before = '', after = ''] = shell.stdout.split('--parted--');
    // The loop at the end of the page ends when nobody is federated with any more.
    expect(before).toContain('"spiffe_refresh_hint":300');
    expect(before).toMatch(/east\.example +https_spiffe +1 .* ok/u);
    expect(shell.stdout).toContain('--parted--');
    expect(after).not.toContain('spiffe_refresh_hint');
  });
});
