import type { TrustBundle } from '../identity/index.ts';

/** Until when certificates live that were given out with one bundle or another. */
export class ToldBundles {
  #bundle: TrustBundle | undefined;
  /** ms since the epoch; 0: none. */
  #endMs = 0;
  #othersEndMs = 0;

  add(bundle: TrustBundle, notAfterMs: number): void {
    this.#othersEndMs = this.othersEndMs(bundle);
    this.#endMs = bundle === this.#bundle ? Math.max(this.#endMs, notAfterMs) : notAfterMs;
    this.#bundle = bundle;
  }

  /** Of those that were given out with another bundle than this. */
  othersEndMs(bundle: TrustBundle): number {
    return bundle === this.#bundle ? this.#othersEndMs : Math.max(this.#othersEndMs, this.#endMs);
  }
}
