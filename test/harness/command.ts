import type { Command } from 'commander';
import { vi } from 'vitest';

export interface Ran {
  readonly out: string;
  readonly err: string;
  readonly exitCode: number | string | null | undefined;
}

/**
 * Runs a command inside the test's own process. What it throws becomes stderr and exit code 2, as `cmd/main.ts` has
 * it. The caller restores: `vi.restoreAllMocks()` and `process.exitCode = undefined` after each test.
 */
export async function runInProcess(command: Command, ...argv: string[]): Promise<Ran> {
  const texts = { out: '', err: '' };
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    texts.out += String(text);
    return true;
  });
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    texts.err += String(text);
    return true;
  });
  command.exitOverride().configureOutput({ writeErr: (text) => (texts.err += text) });
  await command.parseAsync(argv, { from: 'user' }).catch((error: unknown) => {
    texts.err += error instanceof Error ? error.message : String(error);
    process.exitCode = 2;
  });
  return { ...texts, exitCode: process.exitCode };
}
