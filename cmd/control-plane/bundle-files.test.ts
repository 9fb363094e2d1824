import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { Authority, memoryKeyStore } from '../../src/authority/index.ts';
import { TrustDomain } from '../../src/identity/index.ts';
import { publishBundle } from './bundle-files.ts';

const folder = mkdtempSync(join(tmpdir(), 'countersign-bundle-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('what a kill left of the bundle files is removed at the next start', async () => {
  const trustDomain = TrustDomain.parse('mesh.example');
  const store = memoryKeyStore();
  const authority = await Authority.open({ store, trustDomain, nowMs: Date.now, svidTtlMs: 60_000 });
  for (const name of ['bundle.pem', 'bundle.json'])
    writeFileSync(join(folder, `${name}.0123456789ab.tmp`), 'half of it');
  await (
    await publishBundle(authority, folder, () => {})
  )();
  expect(readdirSync(folder).toSorted()).toEqual(['bundle.json', 'bundle.pem']);
});
