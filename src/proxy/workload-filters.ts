import { keyOf, type Mesh, type ObjectKey, type PolicySubject } from '../mesh/index.ts';
import { resolvePeerModes, type MeshSettings, type QuarantineRule } from '../policy/index.ts';
import { FilterCache, urisOf, type FilterCacheOptions, type FilterSet } from './filters.ts';

/** The filters of each pod, as the mesh, its settings and the keys of issuers are now. */
export class WorkloadFilters {
  readonly #mesh: Mesh;
  readonly #cache: FilterCache;
  #settings: MeshSettings;

  constructor(mesh: Mesh, options: FilterCacheOptions) {
    this.#mesh = mesh;
    this.#settings = options.settings;
    this.#cache = new FilterCache(options);
  }

  /** @param quarantine whom it denies before any policy */
  of(subject: PolicySubject, quarantine: readonly QuarantineRule[]): FilterSet {
    return this.#cache.get({
      policies: this.#mesh.policiesOf(subject),
      requestAuthentications: this.#mesh.requestAuthenticationsOf(subject),
      peers: resolvePeerModes(this.#mesh.peerAuthenticationsOf(subject), subject, this.#settings),
      quarantine,
    });
  }

  use(settings: MeshSettings): void {
    this.#settings = settings;
    this.#cache.use(settings);
  }

  /** The pods whose filters hold the keys behind a URI. */
  podsUsing(uri: string): ReadonlySet<ObjectKey> {
    const users = this.#mesh
      .list('RequestAuthentication')
      .filter(({ policy }) => urisOf(policy).includes(uri))
      .flatMap(({ policy }) => this.#mesh.workloadsOf(policy));
    return new Set(users.map(keyOf));
  }

  /** Forgets what none of these many workloads uses, when there is enough of it. */
  tidy(workloads: number, used: () => ReadonlySet<FilterSet>): void {
    if (this.#cache.size > workloads + 64) this.#cache.keepOnly(used());
  }
}
