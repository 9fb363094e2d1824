import { hash } from 'node:crypto';
import type { TrustBundle } from '../identity/index.ts';
import { fieldsAt, textAt, type Fields } from '../kubernetes/index.ts';
import { markOf, otherMesh, type MeshMark } from './mesh-mark.ts';
import type { FoundObject, WantedObject } from './object-keeper.ts';

/** In every namespace, with `bundle.pem` and `bundle.json` (SPIFFE's form). */
export const BUNDLE_CONFIG_MAP = 'countersign-trust-bundle';

/** Its name, for the cluster. */
export function clusterTrustBundleName({ trustDomain }: MeshMark): string {
  return `countersign-${trustDomain}`;
}

/** A ConfigMap with the bundle, without its namespace: it is the same in each. */
export function bundleConfigMap(bundle: TrustBundle, mark: MeshMark): WantedObject {
  return wanted({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: BUNDLE_CONFIG_MAP, ...markOf(mark) },
    data: {
      'bundle.json': `${JSON.stringify(bundle.toJSON(), undefined, 2)}\n`,
      'bundle.pem': bundle.toPem(),
    },
  });
}

/** @param version of `certificates.k8s.io` */
export function clusterTrustBundle(bundle: TrustBundle, mark: MeshMark, version: string): WantedObject {
  return wanted({
    apiVersion: `certificates.k8s.io/${version}`,
    kind: 'ClusterTrustBundle',
    metadata: { name: clusterTrustBundleName(mark), ...markOf(mark) },
    spec: { trustBundle: bundle.toPem() },
  });
}

/** Of either kind, as the API server has it. */
export function foundObject(object: Fields, mark: MeshMark): FoundObject {
  const metadata = fieldsAt(object, 'metadata');
  return {
    namespace: textAt(metadata, 'namespace') ?? '',
    version: textAt(metadata, 'resourceVersion') ?? '',
    digest: digestOf(object),
    otherMesh: otherMesh(object, mark),
  };
}

function wanted(body: Fields): WantedObject {
  return { body, digest: digestOf(body) };
}

/** Of what we write, and of nothing that others may add: their labels are theirs. */
function digestOf(object: Fields): string {
  const metadata = fieldsAt(object, 'metadata');
  const { labels, annotations } = markOf({ trustDomain: '', namespace: '' });
  const marks = [
    ...Object.keys(labels).map((name) => textAt(fieldsAt(metadata, 'labels'), name)),
    ...Object.keys(annotations).map((name) => textAt(fieldsAt(metadata, 'annotations'), name)),
  ];
  const parts = ['data', 'binaryData', 'spec'].map((name) =>
    Object.entries(fieldsAt(object, name)).toSorted(([a], [b]) => (a < b ? -1 : 1)),
  );
  return hash('sha256', JSON.stringify([marks, parts]));
}
