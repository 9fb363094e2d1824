import type { CrossCertificate } from './cross.ts';

/** A root, and its key where that is ours to keep. */
export interface StoredRoot {
  readonly certificate: Buffer;
  /** PKCS#8. Absent: an operator's CA signs below it, whose key is kept elsewhere. */
  readonly privateKeyPem?: string | undefined;
}

/** A rotation that is under way: two roots are trusted, one of them signs. */
export interface StoredRotation {
  /** `prepared`: the other root is the next one. `activated`: it is the former one. */
  readonly step: 'prepared' | 'activated';
  /** When the step was taken, ms since the epoch. */
  readonly sinceMs: number;
  /** Trusted, and signs nothing. */
  readonly other: StoredRoot;
  /** When the last SVID below the other root ends, ms since the epoch; 0: there never was one. */
  readonly otherEndsMs: number;
}

/** What an authority keeps across restarts. Immutable. Intermediates are not in it: they live in memory alone. */
export interface StoredAuthority {
  readonly trustDomain: string;
  /** The root that signs. */
  readonly root: StoredRoot;
  /** Absent: none is under way. */
  readonly rotation?: StoredRotation | undefined;
  /** The roots of earlier rotations vouch for the keys of later ones. Absent: there were none. */
  readonly crosses?: readonly CrossCertificate[] | undefined;
  /** SHA-256 of the operator's CA, lower-case hex, whose rotation somebody took back: it is left alone. */
  readonly takenBack?: string | undefined;
  /** The roots that are trusted, the signing one among them; DER. */
  readonly bundle: {
    readonly x509Authorities: readonly Buffer[];
    readonly sequence: number;
    /** Seconds. */
    readonly refreshHintSeconds?: number | undefined;
  };
}

/** Where the root is kept. One authority uses a store at a time, unless it is `shared`. */
export interface KeyStore {
  /** For logs and errors: the kind and place, no secret. */
  readonly description: string;
  /** Several authorities use it: who was not the first to make a root takes the one that is there. */
  readonly shared?: boolean;
  /**
   * @returns `undefined` where nothing was ever kept; never because something could not be read.
   * @throws AuthorityError `store-*`
   */
  load(): Promise<StoredAuthority | undefined>;
  /** All or nothing: after a crash, `load` gives the old state or the new one. @throws AuthorityError `store-*` */
  save(state: StoredAuthority): Promise<void>;
}

/** Keeps the root as long as the process lives: for tests, and for meshes that may lose all trust at a restart. */
export function memoryKeyStore(): KeyStore {
  let kept: StoredAuthority | undefined;
  return {
    description: 'memory',
    load: () => Promise.resolve(kept),
    save: (state) => {
      kept = state;
      return Promise.resolve();
    },
  };
}
