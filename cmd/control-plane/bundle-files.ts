import { existsSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Authority } from '../../src/authority/index.ts';

/**
 * A published bundle without the key behind it means that the key was lost, not that this is a first start: a new
 * root made silently would cut off every workload that trusts the old one.
 * @throws Error that says what to do
 */
export function refuseLostRoot(dataDir: string): void {
  const key = join(dataDir, 'authority', 'authority.json');
  const bundle = join(dataDir, 'bundle.json');
  if (existsSync(bundle) && !existsSync(key)) {
    throw new Error(
      `${key} is gone, but ${bundle} says that there was a root: restore it from a backup; only to begin with a new root, which every workload must then be given, remove ${bundle} too`,
    );
  }
}

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
