import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Authority } from '../../src/authority/index.ts';

/**
 * The trust bundle for whoever has to verify the control plane: `bundle.pem` for Envoys, `bundle.json` in SPIFFE's
 * form. Replaced by rename, so that no reader sees half of one.
 */
export function publishBundle(authority: Authority, dataDir: string): void {
  replace(join(dataDir, 'bundle.pem'), authority.bundle.toPem());
  replace(join(dataDir, 'bundle.json'), `${JSON.stringify(authority.bundle.toJSON(), undefined, 2)}\n`);
}

function replace(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o644 });
  renameSync(`${path}.new`, path);
}
