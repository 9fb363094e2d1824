import {
  AuthorityError,
  caParts,
  checkCa,
  digestOf,
  readCaFiles,
  type Authority,
  type CaMaterial,
  type CaRules,
  type PluggedCa,
} from '../../src/authority/index.ts';
import type { CaConfig, ControlPlaneConfig } from './config.ts';
import type { Tell } from './home.ts';
import type { Witnesses } from './observers.ts';

/** How often it is looked at. What is new counts when it was the same twice: files are written one after the other. */
const POLL_MS = 500;
/** Its place in `/readyz`. */
const REMARK = 'ca';

/** Where an operator's CA comes from. */
export interface CaSource {
  /** For people. */
  readonly where: string;
  /** @throws AuthorityError `ca-unreadable`, `ca-too-open` */
  read(): Promise<CaMaterial>;
  close(): void | Promise<void>;
}

export function caFiles({ cert, key, roots }: Extract<CaConfig, { kind: 'files' }>): CaSource {
  return { where: cert, read: () => readCaFiles({ cert, key, roots }), close: () => {} };
}

/** An operator's CA: checked at the start, and followed from then on. What is bad leaves the one before in use. */
export class OwnCa {
  readonly #source: CaSource;
  readonly #config: Pick<ControlPlaneConfig, 'trustDomain' | 'serverNames'>;
  readonly #witnesses: Witnesses;
  readonly #remark: Tell['remark'];
  /** Digests: as it was seen last, and as it was judged last. */
  #seen: string | undefined;
  #judged: string | undefined;
  /** Why it is refused. */
  #refused: string | undefined;

  constructor(
    source: CaSource,
    config: Pick<ControlPlaneConfig, 'trustDomain' | 'serverNames'>,
    witnesses: Witnesses,
    remark: Tell['remark'],
  ) {
    this.#source = source;
    this.#config = config;
    this.#witnesses = witnesses;
    this.#remark = remark;
    witnesses.metrics.caRefused.set(0);
  }

  /** As it is at the start, where there is none before it. @throws AuthorityError `ca-*` */
  async first(): Promise<PluggedCa> {
    const material = await this.#source.read();
    const ca = await this.#check(material);
    this.#judged = digestOf(material);
    this.#tellPlugged(ca, '');
    return ca;
  }

  /** @returns stops it */
  follow(authority: Authority): () => Promise<void> {
    let closed = false;
    let timer: NodeJS.Timeout | undefined;
    let looking = Promise.resolve();
    const look = (): void => {
      looking = this.#look(authority).then(() => {
        if (!closed) timer = setTimeout(look, POLL_MS).unref();
      });
    };
    look();
    return async () => {
      closed = true;
      clearTimeout(timer);
      await looking;
      await this.#source.close();
    };
  }

  async #look(authority: Authority): Promise<void> {
    let material: CaMaterial | undefined;
    let content: string;
    let fault: unknown;
    try {
      material = await this.#source.read();
      content = digestOf(material);
    } catch (error) {
      fault = error;
      content = reasonOf(error);
    }
    const settled = content === this.#seen;
    this.#seen = content;
    if (!settled || content === this.#judged) return;
    this.#judged = content;
    try {
      if (material === undefined) throw fault;
      await this.#take(await this.#check(material), authority);
    } catch (error) {
      // A token or a store that is away now may be there next time, though nothing of the CA has changed.
      if (!(error instanceof AuthorityError && error.code.startsWith('ca-'))) this.#judged = undefined;
      this.#refuse(reasonOf(error));
    }
  }

  async #take(ca: PluggedCa, authority: Authority): Promise<void> {
    await authority.plugIn(ca);
    const waits = authority.waitingCa !== undefined;
    this.#tellPlugged(ca, waits ? 'it waits until its root is trusted by all' : '');
  }

  async #check(material: CaMaterial): Promise<PluggedCa> {
    const { trustDomain, serverNames } = this.#config;
    const rules: CaRules = { trustDomain, nowMs: Date.now(), dnsNames: serverNames };
    return await checkCa(caParts(material, this.#source.where), rules);
  }

  #tellPlugged(ca: PluggedCa, detail: string): void {
    const { log, audit, metrics } = this.#witnesses;
    const { root, fingerprint } = ca;
    this.#refused = undefined;
    metrics.caRefused.set(0);
    metrics.notAfter.set({ certificate: 'ca' }, root.notAfterMs / 1_000);
    this.#remark(REMARK, undefined);
    audit.record({ event: 'ca.plugged', actor: root.where, ca: fingerprint, root: root.fingerprint, detail });
    log.info(
      {
        where: root.where,
        ca: fingerprint,
        root: root.fingerprint,
        notAfter: new Date(root.notAfterMs).toISOString(),
      },
      detail === '' ? 'the CA of the operator signs' : `the CA of the operator was taken over; ${detail}`,
    );
  }

  #refuse(why: string): void {
    const { log, audit, metrics } = this.#witnesses;
    if (why === this.#refused) return;
    this.#refused = why;
    const { where } = this.#source;
    const detail = `refused, the one before stays in use: ${why}`;
    metrics.caRefused.set(1);
    this.#remark(REMARK, detail);
    log.error({ where }, `the CA of the operator was ${detail}`);
    audit.record({ event: 'ca.refused', actor: where, ca: '', root: '', detail: why });
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
