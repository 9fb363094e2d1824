import { TrustBundle } from '../identity/index.ts';
import { AuthorityError } from './errors.ts';
import { Issuing } from './issuing.ts';
import type { KeyStore, StoredAuthority, StoredRoot } from './key-store.ts';
import { DEFAULT_INTERMEDIATE_TTL_MS, DEFAULT_ROOT_TTL_MS, type AuthorityOptions } from './options.ts';
import { refuseOtherLine } from './lineage.ts';
import type { PluggedCa } from './plugged-ca.ts';
import { createRoot, describeRoot, openRoot, type Root } from './root.ts';
import { withoutFormerCa } from './rotation.ts';
import { serializeStored } from './stored.ts';

/** A kept state, checked and ready for use. */
export interface ReadyState {
  readonly stored: StoredAuthority;
  /** What signs: the root, or a CA below it, and its intermediate. */
  readonly issuing: Issuing;
  readonly bundle: TrustBundle;
}

/** The CAs of operators that are at hand, the newest first. */
export type PluggedCas = readonly PluggedCa[];

/**
 * What the store holds, or a first root of the trust domain where it is empty.
 * @throws AuthorityError `store-*`, `root-*`, `ca-missing`, `ca-replaced`, `signer-unavailable`
 */
export async function openState(options: AuthorityOptions): Promise<ReadyState> {
  const { store, ca } = options;
  const cas = ca === undefined ? [] : [ca];
  const stored = await store.load();
  if (stored !== undefined) return await reopen(stored, options);
  refuseLostRoot(options);
  const first = await firstState(options);
  try {
    await store.save(first);
  } catch (error) {
    const second = isConflict(error) && store.shared === true ? await store.load() : undefined;
    if (second === undefined) throw error;
    return await reopen(second, options);
  }
  return await ready(first, options, cas);
}

async function firstState(options: AuthorityOptions): Promise<StoredAuthority> {
  const { trustDomain, nowMs, rootTtlMs = DEFAULT_ROOT_TTL_MS, ca } = options;
  const root: StoredRoot =
    ca === undefined
      ? await createRoot(trustDomain, nowMs(), rootTtlMs)
      : { certificate: ca.root.certificate };
  const x509Authorities = ca === undefined ? [root.certificate] : ca.roots;
  const bundle = TrustBundle.of({ trustDomain, x509Authorities, sequence: 1 });
  return { trustDomain: trustDomain.name, root, bundle };
}

/** The CA that signed last may be gone, and another one be in its place: it may sign only where it is trusted already. */
async function reopen(stored: StoredAuthority, options: AuthorityOptions): Promise<ReadyState> {
  const { ca, store, nowMs, svidTtlMs } = options;
  const cas = ca === undefined ? [] : [ca];
  const isGone =
    ca !== undefined &&
    stored.root.privateKeyPem === undefined &&
    !stored.root.certificate.equals(ca.root.certificate);
  if (!isGone || stored.trustDomain !== options.trustDomain.name) return await ready(stored, options, cas);
  refuseLeftBehind(stored, ca, store);
  const next = withoutFormerCa(stored, ca.root.certificate, ca.roots, nowMs(), nowMs() + svidTtlMs);
  if (next === undefined) {
    throw new AuthorityError(
      'ca-replaced',
      `The CA in ${ca.root.where} leads to the root ${ca.root.fingerprint}, which no workload trusts yet; ${describeRoot(stored.root).fingerprint} signed last. Put the former CA back, start, and exchange it while the control plane runs.`,
    );
  }
  const opened = await ready(next, options, cas);
  await store.save(next);
  options.signingObserver?.formerGone(ca.root.fingerprint, describeRoot(stored.root).fingerprint);
  return opened;
}

/** Others on the same store sign below the root that was moved to: files that lag behind must not take them back. */
function refuseLeftBehind({ root, rotation }: StoredAuthority, ca: PluggedCa, { shared }: KeyStore): void {
  if (shared !== true || rotation?.step !== 'activated') return;
  if (!rotation.other.certificate.equals(ca.root.certificate)) return;
  throw new AuthorityError(
    'ca-missing',
    `The CA in ${ca.root.where} leads to the root ${ca.root.fingerprint}, which the control planes have left for ${describeRoot(root).fingerprint}: give the CA of that one, and to go back exchange it while they run.`,
  );
}

function isConflict(error: unknown): boolean {
  return error instanceof AuthorityError && error.code === 'store-conflict';
}

/** Changes of what is kept, one after the other. Each is checked, then kept, then told. */
export class StateKeeper {
  readonly #options: AuthorityOptions;
  readonly #adopt: (state: ReadyState) => void;
  #current: ReadyState;
  #cas: PluggedCas;
  #last: Promise<void> = Promise.resolve();

  constructor(first: ReadyState, options: AuthorityOptions, adopt: (state: ReadyState) => void) {
    this.#current = first;
    this.#options = options;
    this.#cas = options.ca === undefined ? [] : [options.ca];
    this.#adopt = adopt;
  }

  get current(): ReadyState {
    return this.#current;
  }

  /** The newest of them. */
  get ca(): PluggedCa | undefined {
    return this.#cas[0];
  }

  /** The roots in use below which all is there to sign. */
  get signable(): readonly StoredRoot[] {
    const { root, rotation } = this.#current.stored;
    return [root, ...(rotation === undefined ? [] : [rotation.other])].filter(
      (one) => one.privateKeyPem !== undefined || caOf(one, this.#cas) !== undefined,
    );
  }

  /**
   * Takes an operator's CA. Where it leads to the root that signs it signs from here on; else when that root does.
   * @throws AuthorityError `signer-unavailable`
   */
  plugIn(ca: PluggedCa): Promise<void> {
    return this.#inTurn(async () => {
      const former = this.#cas.filter(({ root }) => root.fingerprint !== ca.root.fingerprint);
      const cas = [ca, ...former];
      const next = await ready(this.#current.stored, this.#options, cas, this.#current);
      this.#cas = cas;
      this.#take(next);
    });
  }

  /**
   * @param edit gives the state as it was where nothing is to change
   * @throws what `edit` throws; AuthorityError `store-*`, `ca-missing`, `signer-unavailable`
   */
  change(edit: (state: StoredAuthority) => StoredAuthority): Promise<void> {
    return this.#inTurn(async () => {
      const stored = edit(this.#current.stored);
      if (stored === this.#current.stored) return;
      const next = await ready(stored, this.#options, this.#cas, this.#current);
      await this.#options.store.save(stored);
      this.#take(next);
    });
  }

  /**
   * Takes over what another authority on the same store has kept.
   * @returns whether it was anything new
   * @throws AuthorityError `root-outdated`, `root-replaced`, `store-corrupted`, `store-foreign`, `ca-missing`
   */
  follow(stored: StoredAuthority): Promise<boolean> {
    return this.#inTurn(async () => {
      if (serializeStored(stored) === serializeStored(this.#current.stored)) return false;
      refuseOtherLine(this.#current.stored, stored, this.#options.store.description);
      const next = await ready(stored, this.#options, this.#cas, this.#current);
      this.#take(next);
      return true;
    });
  }

  /** Keys of CAs that will not sign again are not kept. */
  #take(next: ReadyState): void {
    const { root, rotation } = next.stored;
    this.#cas = this.#cas.filter(
      (ca, index) =>
        index === 0 ||
        [root, rotation?.other].some((known) => known?.certificate.equals(ca.root.certificate) === true),
    );
    this.#current = next;
    this.#adopt(next);
  }

  #inTurn<T>(act: () => Promise<T>): Promise<T> {
    const done = this.#last.then(act);
    // The next one waits for this one, and does not care how it went: this caller hears of it.
    this.#last = done.then(
      () => undefined,
      () => undefined,
    );
    return done;
  }
}

/** @throws AuthorityError `store-foreign`, `store-corrupted`, `ca-missing`, `root-expired`, `signer-unavailable` */
async function ready(
  stored: StoredAuthority,
  options: AuthorityOptions,
  cas: PluggedCas,
  before?: ReadyState,
): Promise<ReadyState> {
  const { store, trustDomain, nowMs, intermediateTtlMs = DEFAULT_INTERMEDIATE_TTL_MS } = options;
  if (stored.trustDomain !== trustDomain.name) {
    throw new AuthorityError(
      'store-foreign',
      `The root in ${store.description} is that of the trust domain ${stored.trustDomain}, not ${trustDomain.name}: use that trust domain, or another data directory.`,
    );
  }
  const bundle = TrustBundle.of({ trustDomain, ...stored.bundle });
  const root = signerOf(stored.root, cas, store.description);
  const other = stored.rotation?.other;
  if (other?.privateKeyPem !== undefined) openRoot(other, store.description);
  for (const { certificate } of [root, ...(other === undefined ? [] : [other])]) {
    if (bundle.hasAuthority(certificate)) continue;
    throw new AuthorityError(
      'store-corrupted',
      `The bundle in ${store.description} lacks a root in use: restore the store from a backup.`,
    );
  }
  const kept = before?.issuing;
  if (kept !== undefined && isSameSigner(kept.root, root)) return { stored, issuing: kept, bundle };
  const observer = options.signingObserver;
  const issuing = await Issuing.open(root, { trustDomain, intermediateTtlMs, nowMs, observer });
  return { stored, issuing, bundle };
}

/** By itself, or by the operator's CA that is at hand. */
function signerOf(stored: StoredRoot, cas: PluggedCas, where: string): Root {
  if (stored.privateKeyPem !== undefined) return openRoot(stored, where);
  const ca = caOf(stored, cas);
  if (ca !== undefined) return ca.root;
  throw new AuthorityError(
    'ca-missing',
    `Below the root ${describeRoot(stored).fingerprint} in ${where} an operator's CA signs, and it is not at hand: name it with --ca-cert and --ca-key, or --ca-secret.`,
  );
}

function caOf({ certificate }: StoredRoot, cas: PluggedCas): PluggedCa | undefined {
  return cas.find(({ root }) => root.certificate.equals(certificate));
}

function isSameSigner(one: Root, other: Root): boolean {
  const path = ({ chain, certificate }: Root): Buffer => Buffer.concat([...chain, certificate]);
  return path(one).equals(path(other)) && one.key.publicKey.equals(other.key.publicKey);
}

/** A new root made silently would cut off every workload that trusts the old one. */
function refuseLostRoot({ store, rootEvidence }: AuthorityOptions): void {
  if (rootEvidence === undefined) return;
  throw new AuthorityError(
    'root-lost',
    `There is no root in ${store.description}, but ${rootEvidence} says that there was one: restore it from a backup; only to begin with a new root, which every workload must then be given, remove ${rootEvidence} too.`,
  );
}
