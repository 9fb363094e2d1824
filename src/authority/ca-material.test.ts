import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { digestOf, readCaFiles } from './ca-material.ts';

const folder = mkdtempSync(join(tmpdir(), 'countersign-ca-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, text: string, mode = 0o600): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
}

describe('the files of a CA', () => {
  it.each([0o600, 0o400, 0o440, 0o640])(
    'are read where only owner and group may read the key: %o',
    async (mode) => {
      const key = file('key', 'key', mode);
      const cert = file('cert', 'cert', 0o644);
      expect(await readCaFiles({ cert, key, roots: cert })).toEqual({
        certificates: 'cert',
        key: 'key',
        roots: 'cert',
      });
      expect((await readCaFiles({ cert, key, roots: undefined })).roots).toBe('');
    },
  );

  it.each([0o644, 0o604, 0o602, 0o620, 0o660])(
    'are refused where others may know or change the key: %o',
    async (mode) => {
      const key = file('key', 'key', mode);
      const reading = readCaFiles({ cert: file('cert', 'cert'), key, roots: undefined });
      await expect(reading).rejects.toMatchObject({
        code: 'ca-too-open',
        message: expect.stringMatching(/chmod u=rw,g=,o= .*defaultMode: 0400/u) as string,
      });
    },
  );

  it.each([0o620, 0o664, 0o646, 0o666])(
    'are refused where others may change the certificates or the roots: %o',
    async (mode) => {
      const key = file('key', 'key');
      const [good, open] = [file('good', 'good', 0o644), file('open', 'open', mode)];
      for (const files of [
        { cert: open, key, roots: good },
        { cert: good, key, roots: open },
      ]) {
        await expect(readCaFiles(files)).rejects.toMatchObject({
          code: 'ca-too-open',
          message: expect.stringMatching(/file \S+open has the mode 06\d\d, .*chmod go-w /u) as string,
        });
      }
    },
  );

  it('are refused where one is missing, no file, or too large', async () => {
    const good = file('cert', 'cert');
    for (const [cert, says] of [
      [join(folder, 'nowhere'), /ENOENT/u],
      [folder, /EISDIR/u],
      [file('large', 'x'.repeat((1 << 20) + 1)), /larger than 1 MiB/u],
    ] as const) {
      await expect(readCaFiles({ cert, key: good, roots: undefined })).rejects.toMatchObject({
        code: 'ca-unreadable',
        message: expect.stringMatching(says) as string,
      });
    }
  });

  it('differ where any of them does', () => {
    const one = { certificates: 'a', key: 'b', roots: '' };
    expect(digestOf(one)).toBe(digestOf({ ...one }));
    expect(digestOf(one)).not.toBe(digestOf({ certificates: 'ab', key: '', roots: '' }));
  });
});
