import type { SpiffeId, TrustBundle, TrustDomain } from '../identity/index.ts';
import { sequence, time } from './der.ts';
import { crossChain, crossSign } from './cross.ts';
import { proveKey, readCsr, readKey } from './csr.ts';
import { AuthorityError } from './errors.ts';
import { wholeSecond, type Intermediate } from './intermediate.ts';
import type { Issuing } from './issuing.ts';
import { KeyPool } from './key-pool.ts';
import { privateKeyPem, publicKeyInfo, randomSerial } from './keys.ts';
import { namesExtension, subjectOf } from './names.ts';
import {
  type AuthorityOptions,
  DEFAULT_ROOT_TTL_MS,
  DEFAULT_SELF_CHECK_EVERY,
  type IssueOptions,
  refuseBadOptions,
  refuseBadTtl,
} from './options.ts';
import type { StoredAuthority, StoredRoot } from './key-store.ts';
import { pemBlock } from './pem.ts';
import type { PluggedCa } from './plugged-ca.ts';
import { BACKDATE_MS, createRoot, describeRoot } from './root.ts';
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
import { eachOf } from './stages.ts';
import { IssuedSvid, type IssuedChain } from './svid.ts';

/** Validity as it goes into a leaf. Leaves of one second share it. */
interface Validity {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly der: Buffer;
}

/** A certificate request of a proven sender. */
export interface CsrRequest extends Pick<IssueOptions, 'ttlMs' | 'holder'> {
  readonly id: SpiffeId;
  /** PKCS#10, PEM or DER. Nothing but its key counts. */
  readonly csr: string | Uint8Array;
}

/** A key that is certified: its SubjectPublicKeyInfo, DER, and the bits of the key in it. */
interface CertifiedKey {
  readonly publicKeyInfo: Buffer;
  readonly publicKeyBits: Buffer;
}

/** A leaf that is not signed yet. */
interface Draft {
  readonly id: SpiffeId;
  readonly nowMs: number;
  readonly intermediate: Intermediate;
  readonly validity: Validity;
  readonly serial: Buffer;
  readonly toBeSigned: Buffer;
}

/** What signs, for operators. */
export interface SignerDescription {
  /** Where its key is kept. */
  readonly where: string;
  /** It is an operator's CA. */
  readonly plugged: boolean;
  /** Its key is not in this process. */
  readonly inToken: boolean;
  /** When all of its certificates up to the root are valid. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** Of what signs leaves: where that is the CA itself, the same. */
  readonly intermediateNotBeforeMs: number;
  readonly intermediateNotAfterMs: number;
}

/**
 * Signs what attestation proved: root -> intermediate -> SVID (X509-SVID). Issuing is synchronous; only opening,
 * and changing what is trusted, touch the store.
 */
export class Authority {
  readonly trustDomain: TrustDomain;
  readonly #options: AuthorityOptions;
  readonly #selfCheckEvery: number;
  readonly #kept: StateKeeper;
  readonly #keys: KeyPool;
  readonly #bundleListeners = new Set<(bundle: TrustBundle) => void>();
  readonly #signerListeners = new Set<() => void>();
  #issuing: Issuing;
  #bundle: TrustBundle;
  #validity: Validity | undefined;
  #issued = 0;
  /** When the last SVID below the present root ends, as far as this process issued them. */
  #lastEndsMs = 0;
  #closed = false;
  #suspended: string | undefined;

  private constructor(options: AuthorityOptions, state: ReadyState) {
    this.trustDomain = options.trustDomain;
    this.#options = options;
    this.#selfCheckEvery = options.selfCheckEvery ?? DEFAULT_SELF_CHECK_EVERY;
    this.#kept = new StateKeeper(state, options, (next) => this.#adopt(next));
    this.#keys = new KeyPool(options.keysAhead ?? 0);
    this.#issuing = state.issuing;
    this.#bundle = state.bundle;
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
    return crossChain(crosses, this.#issuing.root.fingerprint)
      .map((der) => pemBlock('CERTIFICATE', der))
      .join('');
  }

  /** Fingerprints of the roots in use that it could sign below: the one that signs, and another where its key or CA is at hand. */
  get canSign(): readonly string[] {
    return this.#kept.signable.map((root) => describeRoot(root).fingerprint);
  }

  /** Whether an SVID was issued below the root that signs now. */
  isCurrent(chain: Pick<IssuedChain, 'signedBy'>): boolean {
    return chain.signedBy === this.#issuing.root.fingerprint;
  }

  /** What signs: the root, or an operator's CA below it. Times in ms since the epoch. */
  get signer(): SignerDescription {
    const { root } = this.#issuing;
    return {
      where: root.where,
      plugged: this.#kept.current.stored.root.privateKeyPem === undefined,
      inToken: root.key.privateKey === undefined,
      notBeforeMs: root.notBeforeMs,
      notAfterMs: root.notAfterMs,
      intermediateNotBeforeMs: this.#issuing.notBeforeMs,
      intermediateNotAfterMs: this.#issuing.notAfterMs,
    };
  }

  /** The operator's CA that was given last; undefined: there is none. */
  get ca(): PluggedCa | undefined {
    return this.#kept.ca;
  }

  /** The operator's CA that was given last and does not sign yet, as another root signs; undefined: there is none. */
  get waitingCa(): PluggedCa | undefined {
    const { ca } = this.#kept;
    return ca !== undefined && ca.root.fingerprint !== this.#issuing.root.fingerprint ? ca : undefined;
  }

  /**
   * Takes an operator's CA that was checked. Below the root that signs, it signs from here on. Below another one it
   * waits: that root has to be trusted by all first, by way of a rotation.
   * @throws AuthorityError `signer-unavailable`, `suspended`, `closed`
   */
  plugIn(ca: PluggedCa): Promise<void> {
    return this.#kept.plugIn(ca);
  }

  /**
   * What the CA that signs comes with: trusts these roots beside those in use, and no others; and no other CA counts as
   * taken back any more. The change is kept before it is told.
   * @param roots DER
   * @throws IdentityError `bundle-malformed`; AuthorityError `store-unwritable`
   */
  setRoots(roots: readonly Uint8Array[]): Promise<void> {
    return this.#change((state) => {
      const { root, rotation } = state;
      const inUse = [root, ...(rotation === undefined ? [] : [rotation.other])];
      const kept = this.#bundle.x509Authorities.filter((der) =>
        inUse.some((one) => one.certificate.equals(der)),
      );
      const bundle = this.#bundle.withAuthorities([...kept, ...roots]);
      // The CA that was taken back has left its place: when it comes again, it is meant.
      if (bundle === this.#bundle && state.takenBack === undefined) return state;
      return { ...state, bundle, takenBack: undefined };
    });
  }

  /** Where the key is in a token: asks it for the intermediate that is due. Never rejects; the observer is told. */
  async lookAfterSigner(): Promise<void> {
    await this.#issuing.lookAfter(this.#options.nowMs());
  }

  /**
   * Begins a rotation: a new root of this authority's making joins the bundle, or that of the operator's CA that waits.
   * @throws AuthorityError `rotation-refused`, `store-*`, `signer-unavailable`
   */
  async prepareRotation(): Promise<void> {
    const { stored } = this.#kept.current;
    refuseOutOfOrder(stored, 'prepare');
    const { trustDomain, nowMs } = this.#options;
    const next = await this.#nextRoot(stored);
    const waiting = this.waitingCa?.root;
    const below = waiting === undefined ? 1 : waiting.chain.length + (waiting.pathLength === 0 ? 0 : 1);
    const { fingerprint } = describeRoot(next);
    const of = { certificate: next.certificate, fingerprint, below };
    const cross = await crossSign(of, this.#issuing.root, trustDomain.id.uri);
    await this.#change((state) => prepared(state, next, cross, nowMs()));
  }

  async #nextRoot({ root }: StoredAuthority): Promise<StoredRoot> {
    const waiting = this.waitingCa;
    if (waiting !== undefined) return { certificate: waiting.root.certificate };
    const { trustDomain, nowMs, rootTtlMs = DEFAULT_ROOT_TTL_MS } = this.#options;
    if (root.privateKeyPem !== undefined) return await createRoot(trustDomain, nowMs(), rootTtlMs);
    throw new AuthorityError(
      'rotation-refused',
      `Cannot prepare: the CA in ${this.#issuing.root.where} signs, and the next one is for its operator to give. Put it in the place of the present one.`,
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
   * @param leaveAlone where it leads to an operator's CA, that one is not to be moved to by itself any more
   * @throws AuthorityError `rotation-refused` (while SVIDs below it live, unless `force`), `store-*`
   */
  abortRotation(force = false, leaveAlone = false): Promise<void> {
    return this.#change((state) => {
      const { ca } = this;
      const next = state.rotation?.step === 'prepared' ? state.rotation.other : state.root;
      const isToCa = ca !== undefined && next.certificate.equals(ca.root.certificate);
      const takenBack = leaveAlone && isToCa ? ca.fingerprint : undefined;
      return aborted(state, this.#options.nowMs(), this.#endsMs(), force, takenBack);
    });
  }

  /** The CA that was given last is left alone, as somebody took the rotation to it back. Known after a restart too. */
  get isTakenBack(): boolean {
    const { takenBack } = this.#kept.current.stored;
    return takenBack !== undefined && takenBack === this.ca?.fingerprint;
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

  #adopt({ issuing, bundle }: ReadyState): void {
    const otherSigner = issuing !== this.#issuing;
    const otherRoot = issuing.root.fingerprint !== this.#issuing.root.fingerprint;
    const otherBundle = bundle.sequence !== this.#bundle.sequence;
    this.#issuing = issuing;
    this.#bundle = bundle;
    if (otherSigner) this.#validity = undefined;
    if (otherRoot) this.#lastEndsMs = 0;
    if (otherBundle) for (const listener of this.#bundleListeners) listener(bundle);
    if (otherRoot) for (const listener of this.#signerListeners) listener();
  }

  /** What was issued before a restart is not known, so it counts as if it had been issued now. None outlives its root. */
  #endsMs(): number {
    const endsMs = Math.max(this.#lastEndsMs, this.#options.nowMs() + this.#options.svidTtlMs);
    return Math.min(endsMs, this.#issuing.root.notAfterMs);
  }

  /**
   * Makes a key and issues an SVID for it.
   * @throws AuthorityError `id-foreign`, `id-without-path`, `name-invalid`, `ttl-invalid`, `root-expired`, `suspended`, `closed`
   */
  issue(id: SpiffeId, options: IssueOptions = {}): IssuedSvid {
    this.#refuseForeign(id);
    const keys = this.#keys.take();
    const key = { publicKeyInfo: publicKeyInfo(keys.point), publicKeyBits: keys.point };
    const draft = this.#draft(id, key, options, this.#options.nowMs());
    const issued = this.#finish(draft, draft.intermediate.template.sign(draft.toBeSigned));
    return new IssuedSvid(issued, privateKeyPem(keys));
  }

  /**
   * Issues for the keys of PKCS#10 requests, of which nothing else counts: each stage for all of them before the next
   * one begins. Never throws.
   * @returns for each request its chain, or why it has none, which touches no other: an AuthorityError as `issue`
   * throws it, and `csr-malformed`, `csr-algorithm`, `csr-signature`, `key-refused`
   */
  issueForCsrs(requests: readonly CsrRequest[]): readonly (IssuedChain | Error)[] {
    const nowMs = this.#options.nowMs();
    const read = eachOf(requests, (request) => {
      this.#refuseForeign(request.id);
      return { request, csr: readCsr(request.csr) };
    });
    const withKeys = eachOf(read, ({ request, csr }) => ({ request, key: readKey(csr) }));
    const proven = eachOf(withKeys, ({ request, key }) => ({ request, csr: proveKey(key) }));
    const drafts = eachOf(proven, ({ request, csr }) => this.#draft(request.id, csr, request, nowMs));
    const signed = eachOf(drafts, (draft) => ({
      draft,
      signature: draft.intermediate.template.sign(draft.toBeSigned),
    }));
    return eachOf(signed, ({ draft, signature }) => this.#finish(draft, signature));
  }

  /** Issues nothing more, and tells nobody anything more. */
  close(): void {
    this.#closed = true;
    this.#keys.close();
    this.#bundleListeners.clear();
    this.#signerListeners.clear();
  }

  #draft(id: SpiffeId, key: CertifiedKey, options: IssueOptions, nowMs: number): Draft {
    const intermediate = this.#issuing.current(nowMs);
    const validity = this.#validityOf(intermediate, nowMs, options.ttlMs ?? this.#options.svidTtlMs);
    const serial = randomSerial();
    const toBeSigned = intermediate.template.toBeSigned({
      serial,
      validity: validity.der,
      subject: subjectOf(nowMs, options.holder),
      publicKeyInfo: key.publicKeyInfo,
      publicKeyBits: key.publicKeyBits,
      subjectAltName: namesExtension(id, options.dnsNames, options.ipAddresses),
    });
    return { id, nowMs, intermediate, validity, serial, toBeSigned };
  }

  #finish({ id, nowMs, intermediate, validity, serial, toBeSigned }: Draft, signature: Buffer): IssuedChain {
    const leaf = intermediate.template.assemble(toBeSigned, signature);
    const chain = [leaf, ...intermediate.chain];
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
      signedBy: this.#issuing.root.fingerprint,
    };
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
