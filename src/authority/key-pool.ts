import { generateKeyPair, type webcrypto } from 'node:crypto';
import { generateKeyNumbers, numbersOf, P256_AS_JWK, type KeyNumbers } from './keys.ts';

/** Keys that are made at once, each in a thread of the process's pool: one core is left to those who wait. */
const IN_FLIGHT = 1;

/**
 * Keys made ahead, so that a burst finds them ready: making one is about half of what an SVID costs, and other threads
 * can do it. Never more than `size`; each is handed out once, and whoever finds none makes one.
 */
export class KeyPool {
  readonly #size: number;
  readonly #ready: KeyNumbers[] = [];
  #making = 0;
  #closed = false;

  /** @param size how many are kept ready; 0: none, each is made when it is asked for */
  constructor(size: number) {
    this.#size = size;
    this.#fill();
  }

  /** Keys that are ready. */
  get ready(): number {
    return this.#ready.length;
  }

  take(): KeyNumbers {
    const pair = this.#ready.pop() ?? generateKeyNumbers();
    this.#fill();
    return pair;
  }

  /** Drops the keys, and makes no more ahead. */
  close(): void {
    this.#closed = true;
    this.#ready.length = 0;
  }

  #fill(): void {
    while (!this.#closed && this.#making < IN_FLIGHT && this.#ready.length + this.#making < this.#size) {
      this.#making += 1;
      generateKeyPair('ec', P256_AS_JWK, (error, _publicKey, privateKey) => this.#made(error, privateKey));
    }
  }

  /** One that could not be made is made by whoever needs it, who reports why it cannot be. */
  #made(error: Error | null, privateKey: webcrypto.JsonWebKey): void {
    this.#making -= 1;
    if (this.#closed || error !== null) return;
    this.#ready.push(numbersOf(privateKey));
    this.#fill();
  }
}
