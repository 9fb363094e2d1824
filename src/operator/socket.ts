import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

/** Linux takes 107 bytes for the path of a Unix socket. */
const longestSocketPath = 107;

/**
 * Where the control plane of this data directory listens for the command line: inside it, or, where that path is
 * too long for a socket, in a folder of its own under the system's temporary one. Both sides compute it.
 * Only the owner can enter the folder (0700), which is the whole of this API's access control.
 */
export function operatorSocket(dataDir: string): { readonly folder: string; readonly path: string } {
  const folder = join(resolve(dataDir), 'run');
  const path = join(folder, 'operator.sock');
  if (Buffer.byteLength(path) <= longestSocketPath) return { folder, path };
  const digest = createHash('sha256').update(resolve(dataDir)).digest('hex').slice(0, 16);
  const short = join(tmpdir(), `countersign-${digest}`);
  return { folder: short, path: join(short, 'operator.sock') };
}
