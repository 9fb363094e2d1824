import type { IssuedSvid } from '../authority/index.ts';
import type { SpiffeId } from '../identity/index.ts';
import type { Pod } from '../mesh/index.ts';
import { refusedSecret, type BundleSecrets } from './bundle-secrets.ts';
import type { EncodedResource, ResourceEncoder } from './encoder.ts';
import type { FilterSet } from './filters.ts';
import { EXTENSION_CONFIG_TYPE, isFilterName, offeredFilters, SECRET_TYPE } from './resource-types.ts';
import { svidSecret } from './secrets.ts';

export type ProxyLookup =
  | { readonly kind: 'found'; readonly resource: EncodedResource }
  | { readonly kind: 'absent' }
  | { readonly kind: 'pending' }
  | { readonly kind: 'refused'; readonly code: 'NOT_FOUND' | 'PERMISSION_DENIED'; readonly reason: string };

export interface ProxyChange {
  readonly typeUrl: string;
  readonly names?: ReadonlySet<string>;
}

/** What a workload's Envoy is made from. */
export interface WorkloadProxyParts {
  readonly encoder: ResourceEncoder;
  readonly bundles: BundleSecrets;
  /** The filters that are right for the pod now. */
  readonly filters: () => FilterSet;
  /** The SVID that is right for the pod now: made on first use. Undefined: it could not be issued (reported there). */
  readonly svid: () => IssuedSvid | undefined;
}

/**
 * All that the Envoy of one pod may be told: its SVID, the trust bundles, its filters. Streams of the same pod
 * share one, so that they hold the same SVID.
 */
export class WorkloadProxy {
  readonly id: SpiffeId;
  readonly pod: Pod;
  readonly #parts: WorkloadProxyParts;
  readonly #listeners = new Set<(change: ProxyChange) => void>();
  #filters: FilterSet | undefined;
  #secrets: { readonly of: IssuedSvid; readonly byName: Map<string, EncodedResource> } | undefined;

  constructor(id: SpiffeId, pod: Pod, parts: WorkloadProxyParts) {
    this.id = id;
    this.pod = pod;
    this.#parts = parts;
  }

  /** The filters in use, if any stream asked for them. */
  get filters(): FilterSet | undefined {
    return this.#filters;
  }

  get watched(): boolean {
    return this.#listeners.size > 0;
  }

  lookup(typeUrl: string, name: string): ProxyLookup {
    switch (typeUrl) {
      case SECRET_TYPE:
        return this.#secret(name);
      case EXTENSION_CONFIG_TYPE:
        return this.#filter(name);
      default:
        return {
          kind: 'refused',
          code: 'NOT_FOUND',
          reason: `${typeUrl} is not served; use Secret or TypedExtensionConfig`,
        };
    }
  }

  /** Neither secrets nor extension configs have a wildcard in xDS. */
  wildcard(): undefined {
    return undefined;
  }

  watch(listener: (change: ProxyChange) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  secretsChanged(): void {
    this.#emit({ typeUrl: SECRET_TYPE });
  }

  policiesChanged(): void {
    this.#filters = undefined;
    this.#emit({ typeUrl: EXTENSION_CONFIG_TYPE });
  }

  #emit(change: ProxyChange): void {
    for (const listener of this.#listeners) listener(change);
  }

  #secret(name: string): ProxyLookup {
    if (name === 'default' || name === this.id.uri) {
      const svid = this.#parts.svid();
      // Absent would tell a delta client to drop the SVID that it holds; it is told when there is one.
      if (svid === undefined) return { kind: 'pending' };
      const secrets =
        this.#secrets?.of === svid ? this.#secrets : { of: svid, byName: new Map<string, EncodedResource>() };
      this.#secrets = secrets;
      const resource = secrets.byName.get(name) ?? svidSecret(this.#parts.encoder, name, svid);
      secrets.byName.set(name, resource);
      return { kind: 'found', resource };
    }
    const bundle = this.#parts.bundles.get(name);
    return bundle === undefined ? refusedSecret(name, this.id.uri) : { kind: 'found', resource: bundle };
  }

  #filter(name: string): ProxyLookup {
    if (!isFilterName(name)) {
      return {
        kind: 'refused',
        code: 'NOT_FOUND',
        reason: `no extension has this name; there are ${offeredFilters}`,
      };
    }
    this.#filters ??= this.#parts.filters();
    const resource = this.#filters.get(name);
    return resource === undefined ? { kind: 'absent' } : { kind: 'found', resource };
  }
}
