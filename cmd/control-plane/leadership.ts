import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { LeaderElection, LeaseObject } from '../../src/cluster/index.ts';
import type { ApiServer } from '../../src/kubernetes/index.ts';
import type { Witnesses } from './observers.ts';

/** Of the Lease, in the control plane's own namespace. */
const LEASE = 'countersign';

/** What one replica alone does: begun when this one leads, and over when `term` is aborted. Must not throw. */
export type LeaderJob = (term: AbortSignal) => void;

/** Whether this replica leads, and what it does while it leads. */
export class Leadership {
  /** Of this replica: a pod's name is its host's, and a restart within it is another one. */
  readonly identity: string = `${hostname()}-${randomBytes(4).toString('hex')}`;
  readonly #jobs: LeaderJob[] = [];
  readonly #election: LeaderElection;
  readonly #witnesses: Witnesses;
  readonly #stopped = new AbortController();
  #term: AbortSignal | undefined;
  #done: Promise<void> | undefined;

  constructor(api: ApiServer, namespace: string, witnesses: Witnesses) {
    this.#witnesses = witnesses;
    const { log, metrics } = witnesses;
    const { identity } = this;
    metrics.leader.set(0);
    this.#election = new LeaderElection({
      lease: new LeaseObject(api, namespace, LEASE),
      identity,
      wallMs: Date.now,
      monotonicMs: () => performance.now(),
      random: Math.random,
      onElected: (term) => this.#begin(term),
      onLost: (why) => this.#end(why),
      onLeader: (leader) => {
        if (leader !== '') log.info({ leader }, 'another replica leads');
      },
      onFailing: (error) =>
        log.error({ err: error }, `the Lease ${namespace}/${LEASE} cannot be held; it is tried again`),
    });
  }

  get leading(): boolean {
    return this.#term !== undefined;
  }

  /** Of each term of this replica; at once where it leads already. */
  onTerm(job: LeaderJob): void {
    this.#jobs.push(job);
    if (this.#term !== undefined) job(this.#term);
  }

  /** Stands for election from here on. */
  start(): void {
    this.#done ??= this.#election.run(this.#stopped.signal);
  }

  /** Gives the Lease back, where it is held. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#done;
  }

  #begin(term: AbortSignal): void {
    this.#term = term;
    this.#tell('leader', 'elected');
    for (const job of this.#jobs) job(term);
  }

  #end(why: string): void {
    this.#term = undefined;
    this.#tell('follower', why);
  }

  #tell(role: 'leader' | 'follower', detail: string): void {
    const { log, metrics, audit } = this.#witnesses;
    const { identity } = this;
    metrics.leader.set(role === 'leader' ? 1 : 0);
    audit.record({ event: 'leader.changed', actor: identity, role, detail });
    if (role === 'leader') log.info({ identity }, 'this replica leads');
    else log.warn({ identity, detail }, 'this replica leads no longer');
  }
}
