import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { OperatorCa } from './operator-ca.ts';

export interface GivenCa {
  readonly signer: OperatorCa;
  /** Between it and its root. */
  readonly above?: readonly OperatorCa[];
  readonly roots: readonly OperatorCa[];
}

/** A CA in files, as an operator gives it to the control plane. */
export class CaFolder {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder, { recursive: true });
  }

  get flags(): readonly string[] {
    const file = (name: string): string => join(this.#folder, name);
    return ['--ca-cert', file('cert.pem'), '--ca-key', file('key.pem'), '--ca-roots', file('roots.pem')];
  }

  /** One file after the other, as tools do it. */
  write({ signer, above = [], roots }: GivenCa): void {
    this.put('key.pem', signer.keyPem);
    this.put('cert.pem', [signer, ...above].map(({ pem }) => pem).join(''));
    this.put('roots.pem', roots.map(({ pem }) => pem).join(''));
  }

  put(name: string, text: string): void {
    const file = join(this.#folder, name);
    writeFileSync(`${file}.new`, text, { mode: 0o600 });
    renameSync(`${file}.new`, file);
  }
}
