import type { TrustBundle } from '../identity/index.ts';
import {
  Reflector,
  fieldsAt,
  textAt,
  type ApiServer,
  type ApiServerError,
  type Fields,
  type ReflectorSink,
} from '../kubernetes/index.ts';
import {
  BUNDLE_CONFIG_MAP,
  bundleConfigMap,
  clusterTrustBundle,
  clusterTrustBundleName,
  foundObject,
} from './bundle-objects.ts';
import type { MeshMark } from './mesh-mark.ts';
import { ObjectKeeper, type FoundObject, type ObjectObserver } from './object-keeper.ts';

export interface BundlePublisherOptions {
  readonly api: ApiServer;
  readonly mark: MeshMark;
  readonly bundle: () => TrustBundle;
  /** Calls back after each change of `bundle`. @returns the function that stops it */
  readonly onBundleChange: (listener: () => void) => () => void;
  readonly observer: ObjectObserver & {
    /** A list cannot be followed; it is tried again. */
    unfollowed(resource: string, error: ApiServerError): void;
    followed(resource: string): void;
  };
  /** Whose a namespace is may be another now. */
  readonly onOwners: () => void;
  readonly random: () => number;
  readonly monotonicMs: () => number;
  /** How soon a version of the ClusterTrustBundle that is not served is looked for again. Default 30 000. */
  readonly absentMs?: number;
}

/** Newest first. */
const CLUSTER_TRUST_BUNDLE_VERSIONS = ['v1', 'v1beta1'] as const;
const ABSENT_MS = 30_000;

/**
 * The trust bundle in every namespace, and for the cluster where the API server has ClusterTrustBundles. One watch of
 * each kind; what somebody changed or deleted is put right, and a new namespace gets it at once.
 */
export class BundlePublisher {
  readonly #options: BundlePublisherOptions;
  #namespaces: ObjectKeeper | undefined;

  constructor(options: BundlePublisherOptions) {
    this.#options = options;
  }

  /**
   * Whether a namespace is this mesh's to write into: it is whoever's bundle is there. Not before those that there are
   * have been listed, or could not be.
   */
  isOurs(namespace: string): boolean {
    return this.#namespaces !== undefined && this.#namespaces.otherMesh(namespace) === undefined;
  }

  /** Until `signal` is aborted. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#runConfigMaps(signal), this.#runClusterTrustBundle(signal)]);
  }

  async #runConfigMaps(signal: AbortSignal): Promise<void> {
    const { bundle, mark } = this.#options;
    const keeper = this.#keeper(
      BUNDLE_CONFIG_MAP,
      (namespace) => `/api/v1/namespaces/${namespace}/configmaps`,
    );
    const namespaces = new Set<string>();
    let listed = false;
    const want = (names: Iterable<string>): void => {
      // Before all that exist are known, each would be made anew.
      if (!listed) return;
      const object = bundleConfigMap(bundle(), mark);
      for (const name of names) keeper.want(name, object);
    };
    const drop = (name: string): void => {
      namespaces.delete(name);
      keeper.unwant(name);
    };
    const seen = ({ name, ends }: Namespace): void => {
      if (ends) drop(name);
      else if (!namespaces.has(name)) {
        namespaces.add(name);
        want([name]);
      }
    };
    const owners = (): void => {
      this.#namespaces = keeper;
      this.#options.onOwners();
    };
    const stop = this.#options.onBundleChange(() => want(namespaces));
    await Promise.all([
      this.#follow('/api/v1/namespaces', undefined, readNamespace, signal, {
        replaced: (all) => {
          const names = new Set(all.map(({ name }) => name));
          for (const name of namespaces) if (!names.has(name)) drop(name);
          for (const one of all) seen(one);
        },
        set: seen,
        deleted: ({ name }) => drop(name),
        absent: () => {},
      }),
      this.#follow('/api/v1/configmaps', BUNDLE_CONFIG_MAP, (object) => foundObject(object, mark), signal, {
        replaced: (all) => {
          keeper.foundAll(new Map(all.map((object) => [object.namespace, object])));
          owners();
          if (listed) return;
          listed = true;
          want(namespaces);
        },
        set: (object) => {
          keeper.found(object.namespace, object);
          owners();
        },
        deleted: ({ namespace }) => {
          keeper.gone(namespace);
          owners();
        },
        absent: () => {},
        failed: owners,
      }),
    ]);
    stop();
    keeper.stop();
    this.#namespaces = undefined;
  }

  async #runClusterTrustBundle(signal: AbortSignal): Promise<void> {
    const { bundle, mark } = this.#options;
    const name = clusterTrustBundleName(mark);
    const versions = CLUSTER_TRUST_BUNDLE_VERSIONS.map((version) => ({
      version,
      keeper: this.#keeper(name, () => clusterTrustBundles(version)),
      served: false,
    }));
    /** By the newest version that is served: under all it is the same object. */
    const want = (): void => {
      const newest = versions.find(({ served }) => served);
      for (const { version, keeper } of versions) {
        if (version === newest?.version) keeper.want(name, clusterTrustBundle(bundle(), mark, version));
        else keeper.unwant(name);
      }
    };
    const stop = this.#options.onBundleChange(want);
    await Promise.all(
      versions.map((one) =>
        this.#follow(clusterTrustBundles(one.version), name, (object) => foundObject(object, mark), signal, {
          replaced: (all) => {
            one.keeper.foundAll(new Map(all.map((object) => [name, object])));
            one.served = true;
            want();
          },
          set: (object) => one.keeper.found(name, object),
          deleted: () => one.keeper.gone(name),
          absent: () => {
            one.served = false;
            want();
          },
        }),
      ),
    );
    stop();
    for (const { keeper } of versions) keeper.stop();
  }

  #keeper(name: string, collection: (key: string) => string): ObjectKeeper {
    const { api, mark, observer, random } = this.#options;
    const found = (object: Fields): FoundObject => foundObject(object, mark);
    return new ObjectKeeper({ api, name, collection, found, observer, random });
  }

  #follow<T>(
    path: string,
    name: string | undefined,
    read: (object: Fields) => T,
    signal: AbortSignal,
    sink: Omit<ReflectorSink<T>, 'failed' | 'recovered'> & { readonly failed?: () => void },
  ): Promise<void> {
    const { api, random, monotonicMs, observer, absentMs = ABSENT_MS } = this.#options;
    const reflector = new Reflector<T>({
      api,
      path,
      ...(name !== undefined && { fieldSelector: `metadata.name=${name}` }),
      read,
      sink: {
        ...sink,
        failed: (error) => {
          observer.unfollowed(path, error);
          sink.failed?.();
        },
        recovered: () => observer.followed(path),
      },
      random,
      nowMs: monotonicMs,
      absentMs,
    });
    return reflector.run(signal);
  }
}

interface Namespace {
  readonly name: string;
  /** Nothing can be made in it any more. */
  readonly ends: boolean;
}

function readNamespace(object: Fields): Namespace {
  const metadata = fieldsAt(object, 'metadata');
  return {
    name: textAt(metadata, 'name') ?? '',
    ends: textAt(metadata, 'deletionTimestamp') !== undefined,
  };
}

function clusterTrustBundles(version: string): string {
  return `/apis/certificates.k8s.io/${version}/clustertrustbundles`;
}
