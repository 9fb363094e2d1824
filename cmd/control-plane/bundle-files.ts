import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Authority } from '../../src/authority/index.ts';
import { removeLeftovers, writeWhole } from '../../src/files/index.ts';
import type { TrustBundle } from '../../src/identity/index.ts';

/** The bundle of an earlier start: it says that there was a root. Undefined: none. */
export function publishedBundle(dataDir: string): string | undefined {
  const path = join(dataDir, 'bundle.json');
  return existsSync(path) ? path : undefined;
}

/** @throws the operating system's error as it is */
export async function writeBundle(bundle: TrustBundle, dataDir: string): Promise<void> {
  await writeWhole(join(dataDir, 'bundle.pem'), bundle.toPem(), { mode: 0o644 });
  const json = `${JSON.stringify(bundle.toJSON(), undefined, 2)}\n`;
  await writeWhole(join(dataDir, 'bundle.json'), json, { mode: 0o644 });
}

/**
 * The trust bundle for whoever has to verify the control plane, now and after each change: `bundle.pem` for Envoys,
 * `bundle.json` in SPIFFE's form.
 * @param onError told of changes; the first error is thrown
 * @returns stops it, after what is being written
 */
export async function publishBundle(
  authority: Authority,
  dataDir: string,
  onError: (error: unknown) => void,
): Promise<() => Promise<void>> {
  const publish = async (): Promise<void> => await writeBundle(authority.bundle, dataDir);
  for (const name of ['bundle.pem', 'bundle.json']) await removeLeftovers(join(dataDir, name));
  await publish();
  // One after the other: the newest bundle is written last.
  let last = Promise.resolve();
  const stop = authority.onBundleChange(() => {
    last = last.then(publish).catch(onError);
  });
  return async () => {
    stop();
    await last;
  };
}
