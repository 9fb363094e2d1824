import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { waitFor } from '../../test/harness/wait.ts';
import { readMappingFile } from '../mapping.ts';
import { LiveSettings } from './live-settings.ts';
import { readSettings, watchMeshConfig } from './mesh-config-file.ts';
import type { Witnesses } from './observers.ts';

const folder = mkdtempSync(join(tmpdir(), 'countersign-mesh-config-'));
const file = join(folder, 'mesh.yaml');
const preset = { trustDomain: 'td', rootNamespace: 'root', defaultAction: 'deny' } as const;
const flags = { stated: {}, preset };
afterAll(() => rmSync(folder, { recursive: true }));

function write(text: string): void {
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}

const hostile: readonly (readonly [name: string, text: string, message: RegExp])[] = [
  ['an alias of nothing', 'trustDomain: *secret\n', /an alias of no anchor/u],
  ['an alias inside of itself', 'trustDomain: &a [*a]\n', /an alias inside of what it stands for/u],
  ['too deep a nesting', `${'{a: '.repeat(3_000)}1${'}'.repeat(3_000)}`, /nested too deeply; write it flat/u],
  ['what is too large', `# ${'x'.repeat(1024 * 1024)}`, /larger than 1 MiB/u],
  ['several documents', 'a: 1\n---\nb: 1\n', /several YAML documents/u],
  ['a merge of nothing', '<<: secret\n', /not readable as YAML/u],
  ['a key that stands twice', 'trustDomain: a\ntrustDomain: b\n', /line 2: Map keys must be unique/u],
  ['broken syntax', 'trustDomain: "secret\n', /not valid YAML: line [12]: MISSING_CHAR/u],
];

describe('whatever the file holds', () => {
  it.each(hostile)('%s is an error that repeats nothing of it', async (_name, text, message) => {
    write(text);
    for (const read of [() => readMappingFile(file, '--claims'), () => readSettings(file, flags)]) {
      const error = await read().then(
        () => undefined,
        (failure: unknown) => failure,
      );
      expect(String(error)).toMatch(message);
      expect(String(error)).not.toContain('secret');
    }
  });

  it('many keys are read in a time that grows with the text', async () => {
    // The parser's own search for repeated keys took a minute.
    const keys = Array.from({ length: 60_000 }, (_, i) => `k${i}: 1\n`).join('');
    write(keys);
    expect(Object.keys(await readMappingFile(file, '--claims'))).toHaveLength(60_000);
  }, 60_000);

  it('a running control plane reports it and keeps the last good settings', async () => {
    write('defaultAction: allow\n');
    const live = new LiveSettings(await readSettings(file, flags));
    const said: string[] = [];
    const say = (_about: object, message: string): void => {
      said.push(message);
    };
    const witnesses = {
      log: { info: say, warn: say, error: say },
      audit: { record: (event: object) => said.push(JSON.stringify(event)) },
      metrics: { problems: { inc: () => undefined, dec: () => undefined } },
    } as unknown as Witnesses;
    const stop = watchMeshConfig(file, flags, live, witnesses);
    try {
      for (const [name, text, message] of hostile) {
        write(text);
        await waitFor(name, () => said.find((line) => message.test(line)));
        expect(live.current.defaultAction).toBe('allow');
        said.length = 0;
      }
      write('defaultAction: deny\n');
      await waitFor('the next good version', () => live.current.defaultAction === 'deny' || undefined);
      live.onChange(() => {
        throw new Error('a listener failed');
      });
      write('defaultAction: allow\n');
      await waitFor('the fault', () => said.find((line) => line.includes('a listener failed')));
    } finally {
      stop();
    }
  });
});
