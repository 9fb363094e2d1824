import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestControlPlane } from '../harness/control-plane.ts';
import { countersign } from '../harness/paths.ts';
import { run } from '../harness/process.ts';
import { noSoftHsm, SoftToken } from '../harness/softhsm.ts';
import { waitFor } from '../harness/wait.ts';

describe.skipIf(noSoftHsm)('a control plane whose key is in a token', () => {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-token-'));
  const manifests = join(folder, 'manifests');
  let token: SoftToken;
  beforeAll(() => {
    mkdirSync(manifests);
    token = new SoftToken();
    Object.assign(process.env, token.env);
    token.makeKey('ca');
  }, 60_000);
  afterAll(() => {
    token.remove();
    rmSync(folder, { recursive: true, force: true });
  });

  async function readyz({ admin }: TestControlPlane): Promise<string> {
    return await (await fetch(`http://${admin}/readyz`)).text();
  }

  it(
    'makes its root once, keeps no key, and says it when the token is away',
    { timeout: 120_000 },
    async () => {
      const dataDir = join(folder, 'data');
      const controlPlane = await TestControlPlane.start({
        directory: manifests,
        dataDir,
        flags: ['--ca-key', token.uri('ca')],
      });
      try {
        const bundle = readFileSync(controlPlane.bundle, 'utf8');
        const kept = readdirSync(dataDir, { recursive: true, encoding: 'utf8' }).filter((name) =>
          name.endsWith('authority.json'),
        );
        expect(kept).toHaveLength(1);
        for (const name of kept)
          expect(readFileSync(join(dataDir, name), 'utf8')).not.toContain('PRIVATE KEY');
        expect(controlPlane.log).not.toContain(token.pin);
        await controlPlane.restart();
        expect(readFileSync(controlPlane.bundle, 'utf8')).toBe(bundle);
        expect(await controlPlane.metrics()).toMatch(/^countersign_ca_signer_failed 0$/mu);

        token.pull();
        await waitFor(
          'readyz to say that the token is away',
          async () =>
            /ca-signer: .*serves until 2\d{3}-/u.test(await readyz(controlPlane)) ? true : undefined,
          { timeoutMs: 60_000, everyMs: 200 },
        );
        expect(await controlPlane.metrics()).toMatch(/^countersign_ca_signer_failed 1$/mu);
        expect(controlPlane.log).toContain('no new intermediate can be signed');

        token.putBack();
        await waitFor(
          'the token to be back',
          async () =>
            /^countersign_ca_signer_failed 0$/mu.test(await controlPlane.metrics()) ? true : undefined,
          { timeoutMs: 60_000, everyMs: 200 },
        );
        expect(await readyz(controlPlane)).toBe('ok\n');
      } finally {
        await controlPlane.stop();
      }
      token.pull();
      const refused = await run(countersign, [
        'control-plane',
        '--directory',
        manifests,
        '--data-dir',
        dataDir,
        '--listen',
        '127.0.0.1:0',
        '--admin',
        '127.0.0.1:0',
        '--ca-key',
        token.uri('ca'),
      ]);
      token.putBack();
      expect(refused.code).toBe(2);
      expect(refused.stderr).toMatch(/0 tokens of .* are meant/u);
    },
  );
});
