import type { LocalAttestor, LocalIssuer } from '../../src/attestation/index.ts';
import type { Mesh } from '../../src/mesh/index.ts';
import type { ControlPlaneConfig } from './config.ts';
import type { Witnesses } from './observers.ts';

/** Where pods and policies come from, and who vouches for tokens: a directory of manifests, or an API server. */
export interface Home {
  readonly attestor: LocalAttestor;
  /** Of the directory alone: elsewhere the API server issues the tokens. */
  readonly issuer: LocalIssuer | undefined;
  /** Resolves when the mesh holds what there is; it is kept so from then on. */
  fill(): Promise<void>;
  /** From here on it takes its part among the replicas: everything is wired, and it serves. */
  join(): void;
}

export interface HomeOptions {
  readonly config: ControlPlaneConfig;
  readonly mesh: Mesh;
  readonly witnesses: Witnesses;
  /** Told what is waited for. */
  readonly starting: (step: string) => void;
  /** Aborted where the start is given up. */
  readonly signal: AbortSignal;
  /** What was opened is closed by these, the last first. */
  readonly closers: (() => void | Promise<void>)[];
}
