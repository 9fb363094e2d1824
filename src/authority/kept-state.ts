import { TrustBundle } from '../identity/index.ts';
import { AuthorityError } from './errors.ts';
import type { StoredAuthority } from './key-store.ts';
import { DEFAULT_ROOT_TTL_MS, type AuthorityOptions } from './options.ts';
import { refuseOtherLine } from './lineage.ts';
import { createRoot, openRoot, type Root } from './root.ts';
import { serializeStored } from './stored.ts';

/** A kept state, checked and ready for use. */
export interface ReadyState {
  readonly stored: StoredAuthority;
  /** The root that signs. */
  readonly root: Root;
  readonly bundle: TrustBundle;
}

type Of = Pick<AuthorityOptions, 'store' | 'trustDomain'>;

/**
 * What the store holds, or a first root of the trust domain where it is empty.
 * @throws AuthorityError `store-*`
 */
export async function openState(options: AuthorityOptions): Promise<ReadyState> {
  const { store, trustDomain, nowMs, rootTtlMs = DEFAULT_ROOT_TTL_MS } = options;
  const stored = await store.load();
  if (stored !== undefined) return ready(stored, options);
  refuseLostRoot(options);
  const root = await createRoot(trustDomain, nowMs(), rootTtlMs);
  const bundle = TrustBundle.of({ trustDomain, x509Authorities: [root.certificate], sequence: 1 });
  const first: StoredAuthority = { trustDomain: trustDomain.name, root, bundle };
  try {
    await store.save(first);
  } catch (error) {
    const second = isConflict(error) && store.shared === true ? await store.load() : undefined;
    if (second === undefined) throw error;
    return ready(second, options);
  }
  return ready(first, options);
}

function isConflict(error: unknown): boolean {
  return error instanceof AuthorityError && error.code === 'store-conflict';
}

/** Changes of what is kept, one after the other. Each is checked, then kept, then told. */
export class StateKeeper {
  readonly #options: Of;
  readonly #adopt: (state: ReadyState) => void;
  #current: ReadyState;
  #last: Promise<void> = Promise.resolve();

  constructor(first: ReadyState, options: Of, adopt: (state: ReadyState) => void) {
    this.#current = first;
    this.#options = options;
    this.#adopt = adopt;
  }

  get current(): ReadyState {
    return this.#current;
  }

  /**
   * @param edit gives the state as it was where nothing is to change
   * @throws what `edit` throws; AuthorityError `store-*`
   */
  change(edit: (state: StoredAuthority) => StoredAuthority): Promise<void> {
    return this.#inTurn(async () => {
      const stored = edit(this.#current.stored);
      if (stored === this.#current.stored) return;
      const next = ready(stored, this.#options);
      await this.#options.store.save(stored);
      this.#current = next;
      this.#adopt(next);
    });
  }

  /**
   * Takes over what another authority on the same store has kept.
   * @returns whether it was anything new
   * @throws AuthorityError `root-outdated`, `root-replaced`, `store-corrupted`, `store-foreign`
   */
  follow(stored: StoredAuthority): Promise<boolean> {
    return this.#inTurn(async () => {
      if (serializeStored(stored) === serializeStored(this.#current.stored)) return false;
      const next = ready(stored, this.#options);
      refuseOtherLine(this.#current.stored, stored, this.#options.store.description);
      this.#current = next;
      this.#adopt(next);
      return true;
    });
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

/** @throws AuthorityError `store-foreign`, `store-corrupted` */
function ready(stored: StoredAuthority, { store, trustDomain }: Of): ReadyState {
  if (stored.trustDomain !== trustDomain.name) {
    throw new AuthorityError(
      'store-foreign',
      `The root in ${store.description} is that of the trust domain ${stored.trustDomain}, not ${trustDomain.name}: use that trust domain, or another data directory.`,
    );
  }
  const bundle = TrustBundle.of({ trustDomain, ...stored.bundle });
  const root = openRoot(stored.root, store.description);
  const roots = stored.rotation ? [root, openRoot(stored.rotation.other, store.description)] : [root];
  if (roots.every(({ certificate }) => bundle.hasAuthority(certificate))) return { stored, root, bundle };
  throw new AuthorityError(
    'store-corrupted',
    `The bundle in ${store.description} lacks a root in use: restore the store from a backup.`,
  );
}

/** A new root made silently would cut off every workload that trusts the old one. */
function refuseLostRoot({ store, rootEvidence }: AuthorityOptions): void {
  if (rootEvidence === undefined) return;
  throw new AuthorityError(
    'root-lost',
    `There is no root in ${store.description}, but ${rootEvidence} says that there was one: restore it from a backup; only to begin with a new root, which every workload must then be given, remove ${rootEvidence} too.`,
  );
}
