import { ApiServerError, fieldsAt, textAt, type ApiServer, type Fields } from '../kubernetes/index.ts';

/** A `coordination.k8s.io/v1` Lease as the election needs it. */
export interface Lease {
  readonly resourceVersion: string;
  /** Empty: nobody holds it. */
  readonly holder: string;
  /** Milliseconds. */
  readonly durationMs: number;
  /** As it is written: another text means that somebody renewed it. */
  readonly renewTime: string;
  readonly transitions: number;
}

/** What is written into it. */
export interface LeaseClaim {
  readonly holder: string;
  readonly durationMs: number;
  readonly acquiredAtMs: number;
  readonly renewedAtMs: number;
  readonly transitions: number;
}

/** One Lease of the API server. */
export class LeaseObject {
  readonly #api: ApiServer;
  readonly #namespace: string;
  readonly #name: string;

  constructor(api: ApiServer, namespace: string, name: string) {
    this.#api = api;
    this.#namespace = namespace;
    this.#name = name;
  }

  /** Undefined: it does not exist. @throws ApiServerError */
  async read(timeoutMs: number): Promise<Lease | undefined> {
    try {
      return leaseOf(await this.#api.get(`${this.#collection}/${this.#name}`, { timeoutMs }));
    } catch (error) {
      if (error instanceof ApiServerError && error.refused?.status === 404) return undefined;
      throw error;
    }
  }

  /**
   * Writes it, if it still is what was read.
   * @returns it as it stands then; undefined: somebody else was first
   * @throws ApiServerError
   */
  async write(known: Lease | undefined, claim: LeaseClaim, timeoutMs: number): Promise<Lease | undefined> {
    const body = {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: {
        name: this.#name,
        namespace: this.#namespace,
        ...(known && { resourceVersion: known.resourceVersion }),
      },
      spec: {
        holderIdentity: claim.holder,
        leaseDurationSeconds: Math.max(1, Math.round(claim.durationMs / 1_000)),
        acquireTime: microTime(claim.acquiredAtMs),
        renewTime: microTime(claim.renewedAtMs),
        leaseTransitions: claim.transitions,
      },
    };
    try {
      return leaseOf(
        known === undefined
          ? await this.#api.post(this.#collection, body, { timeoutMs })
          : await this.#api.put(`${this.#collection}/${this.#name}`, body, { timeoutMs }),
      );
    } catch (error) {
      if (error instanceof ApiServerError && error.refused?.status === 409) return undefined;
      throw error;
    }
  }

  get #collection(): string {
    return `/apis/coordination.k8s.io/v1/namespaces/${this.#namespace}/leases`;
  }
}

function leaseOf(object: Fields): Lease {
  const spec = fieldsAt(object, 'spec');
  return {
    resourceVersion: textAt(fieldsAt(object, 'metadata'), 'resourceVersion') ?? '',
    holder: textAt(spec, 'holderIdentity') ?? '',
    durationMs: numberAt(spec, 'leaseDurationSeconds') * 1_000,
    renewTime: textAt(spec, 'renewTime') ?? '',
    transitions: numberAt(spec, 'leaseTransitions'),
  };
}

function numberAt(fields: Fields, name: string): number {
  const value = fields[name];
  return typeof value === 'number' ? value : 0;
}

/** `metav1.MicroTime`. */
function microTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, -1)}000Z`;
}
