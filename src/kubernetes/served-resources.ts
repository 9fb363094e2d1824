import type { ApiServer } from './api-server.ts';
import { ApiServerError } from './errors.ts';
import { isFields } from './fields.ts';

export interface ServedResourcesOptions {
  readonly api: ApiServer;
  /** As `security.istio.io`. */
  readonly group: string;
  /** Those that are understood, the one that is wanted most first. */
  readonly versions: readonly [string, ...string[]];
  /** A clock that only goes forward. */
  readonly nowMs: () => number;
  /** How long an answer serves all who ask. Default 1000. */
  readonly freshMs?: number;
}

/**
 * Under which version the API server serves the resources of one group, by its discovery documents: those may be read
 * by whoever has an account there, where a watch of CRDs would need a right to all of them.
 */
export class ServedResources {
  readonly #options: ServedResourcesOptions;
  #asked:
    | { readonly atMs: number; readonly served: Promise<ReadonlyMap<string, string> | undefined> }
    | undefined;

  constructor(options: ServedResourcesOptions) {
    this.#options = options;
  }

  /**
   * The path of a resource's list, as `/apis/security.istio.io/v1beta1/authorizationpolicies`. Undefined: it is not
   * served. The first version where discovery may not be read.
   * @throws ApiServerError
   */
  async pathOf(plural: string): Promise<string | undefined> {
    const { group, versions, nowMs, freshMs = 1_000 } = this.#options;
    if (this.#asked === undefined || nowMs() - this.#asked.atMs >= freshMs)
      this.#asked = { atMs: nowMs(), served: this.#ask() };
    const served = await this.#asked.served;
    const version = served === undefined ? versions[0] : served.get(plural);
    return version === undefined ? undefined : `/apis/${group}/${version}/${plural}`;
  }

  /** Versions by plural. Undefined: nobody says. */
  async #ask(): Promise<ReadonlyMap<string, string> | undefined> {
    const { api, group, versions } = this.#options;
    const found = new Map<string, string>();
    for (const version of versions.toReversed()) {
      try {
        const { resources } = await api.get(`/apis/${group}/${version}`, { timeoutMs: 5_000 });
        for (const each of Array.isArray(resources) ? resources.filter(isFields) : [])
          if (typeof each['name'] === 'string') found.set(each['name'], version);
      } catch (error) {
        const status = error instanceof ApiServerError ? error.refused?.status : undefined;
        if (status === 403) return undefined;
        if (status !== 404) throw error;
      }
    }
    return found;
  }
}
