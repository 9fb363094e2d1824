import type { LocalAttestor, LocalIssuer } from '../../src/attestation/index.ts';
import type { Authority, KeyStore } from '../../src/authority/index.ts';
import type { Mesh } from '../../src/mesh/index.ts';
import type { ControlPlaneConfig } from './config.ts';
import type { Witnesses } from './observers.ts';

/** Where pods and policies come from, and who vouches for tokens: a directory of manifests, or an API server. */
export interface Home {
  readonly attestor: LocalAttestor;
  /** Of the directory alone: elsewhere the API server issues the tokens. */
  readonly issuer: LocalIssuer | undefined;
  /** Where the root is kept. */
  readonly rootStore: KeyStore;
  /** Resolves when the mesh holds what there is; it is kept so from then on. */
  fill(): Promise<void>;
  /** From here on it takes its part among the replicas: everything is wired, and it serves. */
  join(authority: Authority): void;
  /** Whether this replica does what one of all does alone. */
  leads(): boolean;
}

/** What `/readyz` says. */
export interface Tell {
  /** What is waited for. */
  readonly starting: (step: string) => void;
  /** What there is to say though it serves; undefined: nothing any more. */
  readonly remark: (name: string, what: string | undefined) => void;
}

export interface HomeOptions {
  readonly config: ControlPlaneConfig;
  readonly mesh: Mesh;
  readonly witnesses: Witnesses;
  readonly tell: Tell;
  /** Aborted where the start is given up. */
  readonly signal: AbortSignal;
  /** What was opened is closed by these, the last first. */
  readonly closers: (() => void | Promise<void>)[];
}
