import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { root } from './paths.ts';

/** Where SoftHSM is; empty: `make test` could not have it, and said why. */
function home(): string {
  try {
    return readFileSync(`${root}.tools/softhsm-path`, 'utf8').trim();
  } catch {
    return '';
  }
}

/** Its folder, with bin and lib. */
export const softHsm: string = home();
export const noSoftHsm: boolean = softHsm === '';

const keygen = fileURLToPath(new URL('softhsm-keygen.ts', import.meta.url));

/** A token of SoftHSM's, in a folder of its own. */
export class SoftToken {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'countersign-hsm-'));
  readonly module: string = join(softHsm, 'lib/libsofthsm2.so');
  readonly label = 'mesh';
  readonly pin = '9274-1836';
  readonly pinFile: string;
  readonly #tokens: string;

  constructor() {
    this.#tokens = join(this.folder, 'tokens');
    this.pinFile = join(this.folder, 'pin');
    mkdirSync(this.#tokens);
    writeFileSync(this.pinFile, `${this.pin}\n`, { mode: 0o600 });
    chmodSync(this.pinFile, 0o600);
    writeFileSync(
      this.conf,
      `directories.tokendir = ${this.#tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`,
    );
    this.util('--init-token', '--free', '--label', this.label, '--pin', this.pin, '--so-pin', '5555-1111');
  }

  get conf(): string {
    return join(this.folder, 'softhsm2.conf');
  }

  /** Of whoever uses the token. */
  get env(): Readonly<Record<string, string>> {
    return { SOFTHSM2_CONF: this.conf };
  }

  util(...args: readonly string[]): string {
    return execFileSync(join(softHsm, 'bin/softhsm2-util'), ['--module', this.module, ...args], {
      env: { ...process.env, ...this.env },
      encoding: 'utf8',
    });
  }

  /** Made in the token, where it stays. */
  makeKey(
    label: string,
    kind: 'P-256' | 'P-384' | 'RSA-2048' = 'P-256',
    ...more: readonly 'extractable'[]
  ): void {
    execFileSync(
      process.execPath,
      [
        '--disable-warning=ExperimentalWarning',
        keygen,
        this.module,
        this.label,
        this.pin,
        label,
        kind,
        ...more,
      ],
      { env: { ...process.env, ...this.env } },
    );
  }

  uri(object: string, pinFile: string = this.pinFile): string {
    return `pkcs11:token=${this.label};object=${object}?module-path=${this.module}&pin-source=file:${pinFile}`;
  }

  /** As if somebody had pulled it out. */
  pull(): void {
    renameSync(this.#tokens, `${this.#tokens}.away`);
    mkdirSync(this.#tokens);
  }

  putBack(): void {
    rmSync(this.#tokens, { recursive: true });
    renameSync(`${this.#tokens}.away`, this.#tokens);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
