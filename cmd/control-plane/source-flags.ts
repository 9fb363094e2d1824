import { isInCluster } from '../../src/kubernetes/index.ts';
import { isTokenUri, parseTokenUri } from '../../src/pkcs11/index.ts';
import type { CaConfig } from './config.ts';

/**
 * Exactly one place for pods and policies: one that is not meant could prove whom it should not.
 * @throws Error that says which flags to give
 */
export function refuseUnclearSource(flags: {
  readonly directory?: string;
  readonly kubeconfig?: string;
  readonly admission?: object;
}): void {
  const { directory, kubeconfig } = flags;
  if (directory !== undefined && kubeconfig !== undefined) {
    throw new Error(
      '--directory and --kubeconfig were both given: pods and policies come from one place, so keep one of the two',
    );
  }
  if (directory !== undefined && flags.admission !== undefined) {
    throw new Error(
      '--admission answers an API server, and with --directory there is none: leave one of the two out',
    );
  }
  if (directory === undefined && kubeconfig === undefined && !isInCluster()) {
    throw new Error(
      'where pods and policies come from is not said, and this is no pod of a cluster: give --directory <dir> or --kubeconfig <file>',
    );
  }
}

export interface CaFlags {
  readonly directory?: string;
  readonly caCert?: string;
  readonly caKey?: string;
  readonly caRoots?: string;
  readonly caSecret?: string;
  readonly rotateRootAtAge?: number;
}

/**
 * Where the operator's CA comes from; undefined: there is none.
 * @throws Error that says which flags belong together
 */
export function caOf(flags: CaFlags): CaConfig | undefined {
  const { caCert: cert, caKey: key, caRoots: roots, caSecret: secret } = flags;
  if (cert === undefined && key === undefined && roots === undefined && secret === undefined)
    return undefined;
  if (flags.rotateRootAtAge !== undefined) {
    throw new Error(
      '--rotate-root-at-age makes roots, and with --ca-cert or --ca-secret they are the operator’s to make: leave one of the two out',
    );
  }
  if (secret !== undefined) {
    if (cert !== undefined || key !== undefined || roots !== undefined) {
      throw new Error(
        '--ca-secret holds certificate, key and roots: leave --ca-cert, --ca-key and --ca-roots out',
      );
    }
    if (flags.directory !== undefined) {
      throw new Error(
        '--ca-secret names a Secret of an API server, and with --directory there is none: give --ca-cert and --ca-key',
      );
    }
    return { kind: 'secret', name: secret };
  }
  if (key !== undefined && isTokenUri(key)) {
    parseTokenUri(key);
    if (cert === undefined && roots !== undefined)
      throw new Error('--ca-roots says what --ca-cert leads to: give both, or neither with a key in a token');
  } else if (cert === undefined || key === undefined) {
    throw new Error('--ca-cert and --ca-key belong together (and --ca-roots to them): give both');
  }
  return { kind: 'files', cert, key, roots };
}
