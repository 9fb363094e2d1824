import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const root: string = fileURLToPath(new URL('../..', import.meta.url));
export const countersign: string = `${root}cmd/countersign`;

let envoy: string | undefined;

/** The Envoy that `make envoy` found or installed. */
export function envoyPath(): string {
  envoy ??= found() ?? execFileSync(`${root}test/setup/install-envoy.sh`, { encoding: 'utf8' }).trim();
  return envoy;
}

function found(): string | undefined {
  try {
    return readFileSync(`${root}.tools/envoy-path`, 'utf8').trim();
  } catch {
    return undefined; // Run outside of make: the installer says where it is.
  }
}
