import type { Attestor, Peer, ProvenWorkload, Refusal, Verdict, WorkloadWatch } from './types.ts';

/** What was decided against a workload, though all it says of itself is true. */
export interface CutOff {
  /** Names the decision: the caller is told. */
  readonly name: string;
  /** For the log. */
  readonly detail: string;
}

export interface CutOffAttestorOptions {
  readonly inner: Attestor & WorkloadWatch;
  /** Undefined: nothing was. */
  readonly against: (workload: Pick<ProvenWorkload, 'id' | 'pod'>) => CutOff | undefined;
}

interface Watcher {
  readonly workload: ProvenWorkload;
  readonly onGone: (refusal: Refusal) => void;
}

/** Refuses workloads that were cut off, who prove themselves or not: at the door, at each renewal, and in between. */
export class CutOffAttestor implements Attestor, WorkloadWatch {
  readonly #options: CutOffAttestorOptions;
  readonly #watchers = new Set<Watcher>();

  constructor(options: CutOffAttestorOptions) {
    this.#options = options;
  }

  async attest(token: string | undefined, peer: Peer): Promise<Verdict> {
    const verdict = await this.#options.inner.attest(token, peer);
    if (!verdict.ok) return verdict;
    const refusal = this.#refusal(verdict.workload);
    return refusal === undefined ? verdict : { ok: false, refusal };
  }

  recheck(workload: ProvenWorkload): Refusal | undefined {
    return this.#refusal(workload) ?? this.#options.inner.recheck(workload);
  }

  watchRevocation(workload: ProvenWorkload, onGone: (refusal: Refusal) => void): () => void {
    const watcher = { workload, onGone };
    const unwatch = this.#options.inner.watchRevocation(workload, (refusal) => {
      if (this.#watchers.delete(watcher)) onGone(refusal);
    });
    this.#watchers.add(watcher);
    return () => {
      this.#watchers.delete(watcher);
      unwatch();
    };
  }

  /** Others are cut off than before: those who are are told that they are gone. */
  changed(): void {
    for (const watcher of this.#watchers) {
      const refusal = this.#refusal(watcher.workload);
      if (refusal !== undefined && this.#watchers.delete(watcher)) watcher.onGone(refusal);
    }
  }

  #refusal(workload: ProvenWorkload): Refusal | undefined {
    const cutOff = this.#options.against(workload);
    if (cutOff === undefined) return undefined;
    const { pod, tokenId } = workload;
    return {
      factor: 'quarantine',
      code: 'PERMISSION_DENIED',
      detail: cutOff.detail,
      publicMessage: `not attested: in quarantine (${cutOff.name})`,
      claimed: {
        namespace: pod.namespace,
        serviceAccount: pod.serviceAccount,
        pod: pod.name,
        podUid: pod.uid,
        node: pod.nodeName,
        tokenId,
      },
    };
  }
}
