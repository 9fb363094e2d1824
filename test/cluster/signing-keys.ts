import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** The keys with which the API server signs and verifies service account tokens: RSA, as kubeadm makes them. */
export class SigningKeys {
  readonly #folder: string;
  #made = 0;
  #known: string[] = [];

  constructor(folder: string) {
    this.#folder = folder;
    this.add();
  }

  /** A new key, which signs from the next start on; those before it still verify. */
  add(): void {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    this.#made += 1;
    const file = join(this.#folder, `service-account-${this.#made}.key`);
    writeFileSync(file, privateKey.export({ type: 'pkcs1', format: 'pem' }), { mode: 0o600 });
    this.#known = [file, ...this.#known];
  }

  /** Only the newest is known from the next start on: tokens of those before it are refused. */
  retireOld(): void {
    this.#known = this.#known.slice(0, 1);
  }

  get flags(): readonly string[] {
    return [
      `--service-account-signing-key-file=${this.#known[0] ?? ''}`,
      ...this.#known.map((file) => `--service-account-key-file=${file}`),
    ];
  }
}
