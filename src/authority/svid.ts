import type { SpiffeId } from '../identity/index.ts';

/** A certificate chain that the authority issued. */
export interface IssuedChain {
  readonly id: SpiffeId;
  /** Lower-case hex, 32 digits. */
  readonly serial: string;
  /** When it was issued, ms since the epoch, by the authority's clock. */
  readonly issuedAtMs: number;
  /** First and last instant of validity, ms since the epoch, whole seconds. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** DER: the leaf, then what stands above it up to the root, which is in the bundle. */
  readonly chain: readonly Buffer[];
  /** The same chain as PEM. */
  readonly chainPem: string;
  /** SHA-256 of the root that it leads to, lower-case hex. */
  readonly signedBy: string;
}

/** A chain with the private key that the authority made for it. Inspecting or serializing it does not show the key. */
export class IssuedSvid implements IssuedChain {
  readonly id: SpiffeId;
  readonly serial: string;
  readonly issuedAtMs: number;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly chain: readonly Buffer[];
  readonly chainPem: string;
  readonly signedBy: string;
  readonly #privateKeyPem: string;

  constructor(issued: IssuedChain, privateKeyPem: string) {
    this.id = issued.id;
    this.serial = issued.serial;
    this.issuedAtMs = issued.issuedAtMs;
    this.notBeforeMs = issued.notBeforeMs;
    this.notAfterMs = issued.notAfterMs;
    this.chain = issued.chain;
    this.chainPem = issued.chainPem;
    this.signedBy = issued.signedBy;
    this.#privateKeyPem = privateKeyPem;
  }

  /** PKCS#8. */
  get privateKeyPem(): string {
    return this.#privateKeyPem;
  }

  toJSON(): Readonly<Record<string, unknown>> {
    return {
      id: this.id.uri,
      serial: this.serial,
      notBefore: new Date(this.notBeforeMs).toISOString(),
      notAfter: new Date(this.notAfterMs).toISOString(),
      privateKey: '[redacted]',
    };
  }
}

/**
 * When to renew, ms since the epoch: at half of the life, up to 10 % of that earlier or later, so that a fleet
 * that started in one minute does not renew in one.
 * @param random uniform in [0, 1), such as `Math.random`
 */
export function renewalTime(
  svid: { readonly notBeforeMs: number; readonly notAfterMs: number; readonly issuedAtMs?: number },
  random: () => number,
): number {
  const start = svid.issuedAtMs ?? svid.notBeforeMs;
  const half = (svid.notAfterMs - start) / 2;
  return Math.round(start + half * (0.9 + 0.2 * random()));
}
