import { TrustBundle, type SpiffeId, type TrustDomain } from '../identity/index.ts';
import { sequence, time } from './der.ts';
import { readCsr } from './csr.ts';
import { AuthorityError } from './errors.ts';
import { createIntermediate, wholeSecond, type Intermediate } from './intermediate.ts';
import { generateKeyPair, privateKeyPem, publicKeyInfo, randomSerial } from './keys.ts';
import { namesExtension } from './names.ts';
import {
  type AuthorityOptions,
  DEFAULT_INTERMEDIATE_TTL_MS,
  DEFAULT_ROOT_TTL_MS,
  DEFAULT_SELF_CHECK_EVERY,
  type IssueOptions,
  MIN_TTL_MS,
  refuseBadOptions,
  refuseBadTtl,
} from './options.ts';
import { pemBlock } from './pem.ts';
import { BACKDATE_MS, createRoot, openRoot, type Root } from './root.ts';
import { checkIssued } from './self-check.ts';
import { IssuedSvid, type IssuedChain } from './svid.ts';

/** Validity as it goes into a leaf. Leaves of one second share it. */
interface Validity {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly der: Buffer;
}

/**
 * Signs what attestation proved: root -> intermediate -> SVID (X509-SVID). Issuing is synchronous; only opening,
 * and changing what is trusted, touch the store.
 */
export class Authority {
  readonly trustDomain: TrustDomain;
  readonly #options: AuthorityOptions;
  readonly #root: Root;
  readonly #rootKeyPem: string;
  readonly #intermediateTtlMs: number;
  readonly #selfCheckEvery: number;
  readonly #listeners = new Set<(bundle: TrustBundle) => void>();
  #bundle: TrustBundle;
  #intermediate: Intermediate;
  #validity: Validity | undefined;
  #issued = 0;
  #closed = false;
  #lastChange: Promise<void> = Promise.resolve();

  private constructor(options: AuthorityOptions, root: Root, rootKeyPem: string, bundle: TrustBundle) {
    this.trustDomain = options.trustDomain;
    this.#options = options;
    this.#root = root;
    this.#rootKeyPem = rootKeyPem;
    this.#bundle = bundle;
    this.#intermediateTtlMs = options.intermediateTtlMs ?? DEFAULT_INTERMEDIATE_TTL_MS;
    this.#selfCheckEvery = options.selfCheckEvery ?? DEFAULT_SELF_CHECK_EVERY;
    this.#intermediate = this.#createIntermediate(options.nowMs());
  }

  /**
   * Opens the store's authority, or makes the first root of the trust domain where the store is empty.
   * @throws AuthorityError `options-invalid`, `store-*`, `root-expired`, `root-lost`
   */
  static async open(options: AuthorityOptions): Promise<Authority> {
    refuseBadOptions(options);
    const { store, trustDomain } = options;
    const stored = await store.load();
    if (stored === undefined) {
      refuseLostRoot(options);
      return Authority.#create(options);
    }
    if (stored.trustDomain !== trustDomain.name) {
      throw new AuthorityError(
        'store-foreign',
        `The root in ${store.description} is that of the trust domain ${stored.trustDomain}, not ${trustDomain.name}: use that trust domain, or another data directory.`,
      );
    }
    const root = openRoot(stored.root, store.description);
    const bundle = TrustBundle.of({ trustDomain, ...stored.bundle });
    if (!bundle.hasAuthority(root.certificate)) {
      throw new AuthorityError(
        'store-corrupted',
        `The bundle in ${store.description} lacks the root that signs: restore the store from a backup.`,
      );
    }
    return new Authority(options, root, stored.root.privateKeyPem, bundle);
  }

  static async #create(options: AuthorityOptions): Promise<Authority> {
    const { store, trustDomain } = options;
    const made = await createRoot(trustDomain, options.nowMs(), options.rootTtlMs ?? DEFAULT_ROOT_TTL_MS);
    const bundle = TrustBundle.of({ trustDomain, x509Authorities: [made.certificate], sequence: 1 });
    await store.save({ trustDomain: trustDomain.name, root: made, bundle });
    return new Authority(options, openRoot(made, store.description), made.privateKeyPem, bundle);
  }

  /** The roots that workloads of this trust domain are to trust. A new value after each change. */
  get bundle(): TrustBundle {
    return this.#bundle;
  }

  /**
   * Calls back, synchronously, after each change of `bundle`.
   * @returns the function that stops it.
   */
  onBundleChange(listener: (bundle: TrustBundle) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /**
   * Adds a root to the bundle, as the first step of a rotation or of a migration from another authority. The
   * change is kept before it is told.
   * @param certificate DER
   * @throws IdentityError `bundle-malformed`; AuthorityError `store-unwritable`
   */
  trust(certificate: Uint8Array): Promise<void> {
    const change = this.#lastChange.then(() => this.#trust(certificate));
    // The next change waits for this one, and does not care how it went: this caller hears of it.
    this.#lastChange = change.catch(() => undefined);
    return change;
  }

  async #trust(certificate: Uint8Array): Promise<void> {
    this.#refuseClosed();
    const next = this.#bundle.withAuthorities([...this.#bundle.x509Authorities, certificate]);
    if (next === this.#bundle) return;
    await this.#options.store.save({
      trustDomain: this.trustDomain.name,
      root: { certificate: this.#root.certificate, privateKeyPem: this.#rootKeyPem },
      bundle: next,
    });
    this.#bundle = next;
    for (const listener of this.#listeners) listener(next);
  }

  /**
   * Makes a key and issues an SVID for it.
   * @throws AuthorityError `id-foreign`, `id-without-path`, `name-invalid`, `ttl-invalid`, `root-expired`, `closed`
   */
  issue(id: SpiffeId, options: IssueOptions = {}): IssuedSvid {
    this.#refuseForeign(id);
    const keys = generateKeyPair();
    const issued = this.#sign(id, publicKeyInfo(keys.point), keys.point, options);
    return new IssuedSvid(issued, privateKeyPem(keys));
  }

  /**
   * Issues for the key of a PKCS#10 request, of which nothing else counts.
   * @param csr PEM or DER
   * @throws AuthorityError as `issue`, and `csr-malformed`, `csr-algorithm`, `csr-signature`, `key-refused`
   */
  issueForCsr(id: SpiffeId, csr: string | Uint8Array, options: IssueOptions = {}): IssuedChain {
    this.#refuseForeign(id);
    const key = readCsr(csr);
    return this.#sign(id, key.publicKeyInfo, key.publicKeyBits, options);
  }

  /** Issues nothing more, and tells nobody anything more. */
  close(): void {
    this.#closed = true;
    this.#listeners.clear();
  }

  #sign(id: SpiffeId, keyInfo: Buffer, keyBits: Buffer, options: IssueOptions): IssuedChain {
    const nowMs = this.#options.nowMs();
    const intermediate = this.#currentIntermediate(nowMs);
    const validity = this.#validityOf(intermediate, nowMs, options.ttlMs ?? this.#options.svidTtlMs);
    const serial = randomSerial();
    const leaf = intermediate.template.write({
      serial,
      validity: validity.der,
      publicKeyInfo: keyInfo,
      publicKeyBits: keyBits,
      subjectAltName: namesExtension(id, options.dnsNames, options.ipAddresses),
    });
    const chain = [leaf, intermediate.certificate];
    if (this.#issued % this.#selfCheckEvery === 0) {
      checkIssued({ id, chain, bundle: this.#bundle, nowMs });
    }
    this.#issued += 1;
    return {
      id,
      serial: serial.toString('hex'),
      issuedAtMs: nowMs,
      notBeforeMs: validity.notBeforeMs,
      notAfterMs: validity.notAfterMs,
      chain,
      chainPem: pemBlock('CERTIFICATE', leaf) + intermediate.pem,
    };
  }

  #currentIntermediate(nowMs: number): Intermediate {
    const current = this.#intermediate;
    // A clock that was set back makes one too: a certificate from the future serves nobody.
    if (nowMs >= current.notBeforeMs && nowMs < current.replaceAtMs) return current;
    this.#intermediate = this.#createIntermediate(nowMs);
    return this.#intermediate;
  }

  #createIntermediate(nowMs: number): Intermediate {
    const { notBeforeMs, notAfterMs } = this.#root;
    if (nowMs < notBeforeMs || nowMs >= notAfterMs - MIN_TTL_MS) {
      throw new AuthorityError(
        'root-expired',
        `The root in ${this.#options.store.description} is valid from ${iso(notBeforeMs)} to ${iso(notAfterMs)}, and it is ${iso(nowMs)}: check the clock, or begin with a new root.`,
      );
    }
    this.#validity = undefined;
    return createIntermediate(this.#root, this.trustDomain, nowMs, this.#intermediateTtlMs);
  }

  #validityOf(intermediate: Intermediate, nowMs: number, ttlMs: number): Validity {
    refuseBadTtl(ttlMs, 'The life of an SVID', 'ttl-invalid');
    const notBeforeMs = wholeSecond(Math.max(nowMs - BACKDATE_MS, intermediate.notBeforeMs));
    const notAfterMs = wholeSecond(Math.min(nowMs + ttlMs, intermediate.notAfterMs));
    const last = this.#validity;
    if (last?.notBeforeMs === notBeforeMs && last.notAfterMs === notAfterMs) return last;
    this.#validity = { notBeforeMs, notAfterMs, der: sequence(time(notBeforeMs), time(notAfterMs)) };
    return this.#validity;
  }

  #refuseForeign(id: SpiffeId): void {
    this.#refuseClosed();
    if (id.trustDomain.name !== this.trustDomain.name) {
      throw new AuthorityError(
        'id-foreign',
        `${id.uri} is not of the trust domain ${this.trustDomain.name}: this authority cannot vouch for it.`,
      );
    }
    if (id.path === '') {
      throw new AuthorityError(
        'id-without-path',
        `${id.uri} is the trust domain itself: an SVID needs an ID with a path, such as ${id.uri}/ns/shop/sa/web.`,
      );
    }
  }

  #refuseClosed(): void {
    if (this.#closed) throw new AuthorityError('closed', 'The authority is closed: it issues nothing more.');
  }
}

/** A new root made silently would cut off every workload that trusts the old one. */
function refuseLostRoot({ store, rootEvidence }: AuthorityOptions): void {
  if (rootEvidence === undefined) return;
  throw new AuthorityError(
    'root-lost',
    `There is no root in ${store.description}, but ${rootEvidence} says that there was one: restore it from a backup; only to begin with a new root, which every workload must then be given, remove ${rootEvidence} too.`,
  );
}

function iso(atMs: number): string {
  return new Date(atMs).toISOString();
}
