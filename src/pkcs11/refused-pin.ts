import { statSync } from 'node:fs';
import { TokenError } from './errors.ts';

/** A token locks its user after a few wrong PINs: one that was refused is not given again until its file changes. */
export class RefusedPin {
  readonly #file: string | undefined;
  #last: { readonly stamp: string; readonly error: TokenError } | undefined;

  /** @param file with the PIN; undefined: the token asks for none */
  constructor(file: string | undefined) {
    this.#file = file;
  }

  /** @throws what `login` throws; TokenError `pin-refused` without asking it, where the file is as it was then */
  async spare<T>(login: () => Promise<T>): Promise<T> {
    if (this.#file === undefined) return await login();
    const stamp = stampOf(this.#file);
    if (this.#last?.stamp === stamp) throw this.#last.error;
    try {
      return await login();
    } catch (cause) {
      if (!(cause instanceof TokenError && cause.code === 'pin-refused')) throw cause;
      const message = `${cause.message} It is not given again until the file ${this.#file} has changed.`;
      const error = new TokenError('pin-refused', message, { cause });
      this.#last = { stamp, error };
      throw error;
    }
  }
}

/** Changes with the file. What is in it is read in the process of the token alone. */
function stampOf(file: string): string {
  const stat = statSync(file, { bigint: true, throwIfNoEntry: false });
  if (stat === undefined) return '';
  return [stat.dev, stat.ino, stat.mode, stat.size, stat.mtimeNs, stat.ctimeNs].join(' ');
}
