import type { SpiffeId, TrustBundle, TrustDomain } from '../identity/index.ts';
import { sequence, time } from './der.ts';
import { crossChain, crossSign } from './cross.ts';
import { readCsr } from './csr.ts';
import { AuthorityError } from './errors.ts';
import { createIntermediate, wholeSecond, type Intermediate } from './intermediate.ts';
import { KeyPool } from './key-pool.ts';
import { privateKeyPem, publicKeyInfo, randomSerial } from './keys.ts';
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
import type { StoredAuthority } from './key-store.ts';
import { pemBlock } from './pem.ts';
import { BACKDATE_MS, createRoot, openRoot, type Root } from './root.ts';
import { openState, StateKeeper, type ReadyState } from './kept-state.ts';
import {
  aborted,
  activated,
  describeRotation,
  prepared,
  refuseOutOfOrder,
  retired,
  type RotationState,
} from './rotation.ts';
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
  readonly #intermediateTtlMs: number;
  readonly #selfCheckEvery: number;
  readonly #kept: StateKeeper;
  readonly #keys: KeyPool;
  readonly #bundleListeners = new Set<(bundle: TrustBundle) => void>();
  readonly #signerListeners = new Set<() => void>();
  #root: Root;
  #bundle: TrustBundle;
  #intermediate: Intermediate;
  #validity: Validity | undefined;
  #issued = 0;
  /** When the last SVID below the present root ends, as far as this process issued them. */
  #lastEndsMs = 0;
  #closed = false;
  #suspended: string | undefined;

  private constructor(options: AuthorityOptions, state: ReadyState) {
    this.trustDomain = options.trustDomain;
    this.#options = options;
    this.#intermediateTtlMs = options.intermediateTtlMs ?? DEFAULT_INTERMEDIATE_TTL_MS;
    this.#selfCheckEvery = options.selfCheckEvery ?? DEFAULT_SELF_CHECK_EVERY;
    this.#kept = new StateKeeper(state, options, (next) => this.#adopt(next));
    this.#keys = new KeyPool(options.keysAhead ?? 0);
    this.#root = state.root;
    this.#bundle = state.bundle;
    this.#intermediate = this.#createIntermediate(options.nowMs());
  }

  /**
   * Opens the store's authority, or makes the first root of the trust domain where the store is empty.
   * @throws AuthorityError `options-invalid`, `store-*`, `root-expired`, `root-lost`
   */
  static async open(options: AuthorityOptions): Promise<Authority> {
    refuseBadOptions(options);
    return new Authority(options, await openState(options));
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
    this.#bundleListeners.add(listener);
    return () => {
      this.#bundleListeners.delete(listener);
    };
  }

  /**
   * Calls back, synchronously, after another root began to sign: SVIDs from before are to be renewed.
   * @returns the function that stops it.
   */
  onSignerChange(listener: () => void): () => void {
    this.#signerListeners.add(listener);
    return () => {
      this.#signerListeners.delete(listener);
    };
  }

  /** The clock by which it issues. */
  nowMs(): number {
    return this.#options.nowMs();
  }

  /** The root that signs, and how the rotation stands, if one is under way. */
  get rotation(): RotationState {
    return describeRotation(this.#kept.current.stored);
  }

  /**
   * For a server whose clients may know former roots alone: what follows the chain of an SVID, PEM. Peers of the mesh
   * do not need it, for they hold the bundle.
   */
  get crossChainPem(): string {
    const { crosses } = this.#kept.current.stored;
    return crossChain(crosses, this.#root.fingerprint)
      .map((der) => pemBlock('CERTIFICATE', der))
      .join('');
  }

  /** Whether an SVID was issued below the root that signs now. */
  isCurrent(chain: Pick<IssuedChain, 'signedBy'>): boolean {
    return chain.signedBy === this.#root.fingerprint;
  }

  /**
   * Adds a root to the bundle, for a migration from another authority. The change is kept before it is told.
   * @param certificate DER
   * @throws IdentityError `bundle-malformed`; AuthorityError `store-unwritable`
   */
  trust(certificate: Uint8Array): Promise<void> {
    return this.#change((state) => {
      const bundle = this.#bundle.withAuthorities([...this.#bundle.x509Authorities, certificate]);
      return bundle === this.#bundle ? state : { ...state, bundle };
    });
  }

  /**
   * Begins a rotation: a new root of this authority's making joins the bundle.
   * @throws AuthorityError `rotation-refused`, `store-*`
   */
  async prepareRotation(): Promise<void> {
    refuseOutOfOrder(this.#kept.current.stored, 'prepare');
    const { trustDomain, rootTtlMs } = this.#options;
    const next = await createRoot(trustDomain, this.#options.nowMs(), rootTtlMs ?? DEFAULT_ROOT_TTL_MS);
    const of = openRoot(next, 'memory');
    await this.#change((state) =>
      prepared(state, next, crossSign(of, this.#root, trustDomain.id.uri), this.#options.nowMs()),
    );
  }

  /**
   * The prepared root signs from here on. That every proxy trusts it is for the caller to know.
   * @throws AuthorityError `rotation-refused`, `store-*`
   */
  activateRotation(): Promise<void> {
    return this.#change((state) => activated(state, this.#options.nowMs(), this.#endsMs()));
  }

  /**
   * The former root leaves the bundle.
   * @throws AuthorityError `rotation-refused` (while SVIDs below it live, unless `force`), `store-*`
   */
  retireRotation(force = false): Promise<void> {
    return this.#change((state) => retired(state, this.#options.nowMs(), force));
  }

  /**
   * One step back: from activated the former root signs again, from prepared the other one leaves the bundle.
   * @throws AuthorityError `rotation-refused` (while SVIDs below it live, unless `force`), `store-*`
   */
  abortRotation(force = false): Promise<void> {
    return this.#change((state) => aborted(state, this.#options.nowMs(), this.#endsMs(), force));
  }

  /**
   * Takes over what another authority on the same store has kept, after checking all of it. What was suspended goes on.
   * @returns whether it was anything new
   * @throws AuthorityError `root-outdated`, `root-replaced`, `store-corrupted`, `store-foreign`
   */
  async follow(stored: StoredAuthority): Promise<boolean> {
    const adopted = await this.#kept.follow(stored);
    this.#suspended = undefined;
    return adopted;
  }

  /** Signs nothing and changes nothing until the store holds again what `follow` can take. @param why for people */
  suspend(why: string): void {
    this.#suspended = why;
  }

  /** Why it is. Undefined: it is not. */
  get suspended(): string | undefined {
    return this.#suspended;
  }

  #change(edit: (state: StoredAuthority) => StoredAuthority): Promise<void> {
    return this.#kept.change((state) => {
      this.#refuseIdle();
      return edit(state);
    });
  }

  #adopt({ root, bundle }: ReadyState): void {
    const otherRoot = root.fingerprint !== this.#root.fingerprint;
    const otherBundle = bundle.sequence !== this.#bundle.sequence;
    this.#root = root;
    this.#bundle = bundle;
    if (otherRoot) {
      this.#lastEndsMs = 0;
      this.#intermediate = this.#createIntermediate(this.#options.nowMs());
    }
    if (otherBundle) for (const listener of this.#bundleListeners) listener(bundle);
    if (otherRoot) for (const listener of this.#signerListeners) listener();
  }

  /** What was issued before a restart is not known, so it counts as if it had been issued now. */
  #endsMs(): number {
    return Math.max(this.#lastEndsMs, this.#options.nowMs() + this.#options.svidTtlMs);
  }

  /**
   * Makes a key and issues an SVID for it.
   * @throws AuthorityError `id-foreign`, `id-without-path`, `name-invalid`, `ttl-invalid`, `root-expired`, `suspended`, `closed`
   */
  issue(id: SpiffeId, options: IssueOptions = {}): IssuedSvid {
    this.#refuseForeign(id);
    const keys = this.#keys.take();
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
    this.#keys.close();
    this.#bundleListeners.clear();
    this.#signerListeners.clear();
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
    this.#lastEndsMs = Math.max(this.#lastEndsMs, validity.notAfterMs);
    return {
      id,
      serial: serial.toString('hex'),
      issuedAtMs: nowMs,
      notBeforeMs: validity.notBeforeMs,
      notAfterMs: validity.notAfterMs,
      chain,
      chainPem: pemBlock('CERTIFICATE', leaf) + intermediate.pem,
      signedBy: this.#root.fingerprint,
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
    this.#refuseIdle();
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

  #refuseIdle(): void {
    if (this.#closed) throw new AuthorityError('closed', 'The authority is closed: it issues nothing more.');
    if (this.#suspended !== undefined)
      throw new AuthorityError('suspended', `Nothing is signed: ${this.#suspended}`);
    const fault = this.#options.clockFault?.();
    if (fault !== undefined) throw new AuthorityError('suspended', `Nothing is signed: ${fault}`);
  }
}

function iso(atMs: number): string {
  return new Date(atMs).toISOString();
}
