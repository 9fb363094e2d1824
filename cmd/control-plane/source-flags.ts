import { isInCluster } from '../../src/kubernetes/index.ts';

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
