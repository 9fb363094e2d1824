import { readFile } from 'node:fs/promises';
import { hasCode, removeLeftovers, writeWhole } from '../../src/files/index.ts';
import { parseLedger, serializeLedger, type Ledger } from '../../src/quarantine/index.ts';

/** @returns undefined: there is none yet. @throws Error that names the file and says what to do */
export async function readLedger(file: string): Promise<Ledger | undefined> {
  let text: string;
  try {
    await removeLeftovers(file);
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw new Error(`${file}, which says who is in quarantine, cannot be read: ${reason(error)}`, {
      cause: error,
    });
  }
  try {
    return parseLedger(text);
  } catch (error) {
    throw new Error(
      `${file}: ${reason(error)}. Nothing is started, as nobody could say who is cut off. Restore the file from a backup; or remove it, which on Kubernetes takes the entries of the other replicas and elsewhere ends every quarantine: then add them again.`,
      { cause: error },
    );
  }
}

export async function writeLedger(file: string, ledger: Ledger): Promise<void> {
  await writeWhole(file, serializeLedger(ledger));
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
