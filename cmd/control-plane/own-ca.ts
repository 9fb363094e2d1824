import {
  AuthorityError,
  caParts,
  checkCa,
  digestOf,
  readCaFiles,
  rootOfKey,
  algorithmOf,
  type Authority,
  type CaMaterial,
  type CaRules,
  type KeyStore,
  type PluggedCa,
  type SigningKey,
  type SigningObserver,
} from '../../src/authority/index.ts';
import { isTokenUri, TokenKey } from '../../src/pkcs11/index.ts';
import type { CaConfig, ControlPlaneConfig } from './config.ts';
import type { Tell } from './home.ts';
import { ownIpAddresses } from './listen.ts';
import type { Witnesses } from './observers.ts';

/** How often it is looked at. What is new counts when it was the same twice: files are written one after the other. */
const POLL_MS = 500;
const RETRY_MS = 10_000;
/** Its place in `/readyz`. */
const REMARK = 'ca';

/** Where an operator's CA comes from. */
export interface CaSource {
  /** For people. */
  readonly where: string;
  /** Of the key, where it is in a token. */
  readonly tokenUri?: string;
  /** @throws AuthorityError `ca-unreadable`, `ca-too-open` */
  read(): Promise<CaMaterial>;
  close(): void | Promise<void>;
}

export function caFiles({ cert, key, roots }: Extract<CaConfig, { kind: 'files' }>): CaSource {
  const inToken = isTokenUri(key);
  return {
    where: cert ?? 'the token',
    ...(inToken && { tokenUri: key }),
    read: () => readCaFiles({ cert, key: inToken ? undefined : key, roots }),
    close: () => {},
  };
}

/** How signing in a token goes: to the log, the metrics and `/readyz`. */
export function signingObserver({ log, metrics, audit }: Witnesses, remark: Tell['remark']): SigningObserver {
  const place = 'ca-signer';
  metrics.signerFailed.set(0);
  return {
    failed: (error, untilMs) => {
      const until = new Date(untilMs).toISOString();
      metrics.signerFailed.set(1);
      remark(
        place,
        `no new intermediate can be signed; the present one serves until ${until}: ${error.message}`,
      );
      log.error(
        { err: error, until },
        'no new intermediate can be signed; the present one serves until then',
      );
    },
    formerGone: (signing, other) => {
      const detail =
        'the CA that signed last is gone, so the next one signs at once: who does not trust it yet is refused until it does';
      log.warn({ signing, other }, detail);
      audit.record({
        event: 'root.rotated',
        actor: 'ca',
        step: 'activate',
        signing,
        other,
        forcedPast: [detail],
      });
    },
    recovered: () => {
      metrics.signerFailed.set(0);
      remark(place, undefined);
      log.info('intermediates can be signed again');
    },
  };
}

function signingKey(token: TokenKey): SigningKey {
  const asUnavailable = async <T>(asked: Promise<T>): Promise<T> => {
    try {
      return await asked;
    } catch (cause) {
      throw new AuthorityError('signer-unavailable', reasonOf(cause), { cause });
    }
  };
  return {
    publicKey: token.publicKey,
    algorithm: algorithmOf(token.publicKey),
    sign: (toBeSigned) => asUnavailable(token.sign(toBeSigned)),
    check: () => asUnavailable(token.check()),
  };
}

/**
 * Opens what signs below the CA. Of replicas that start at once with one key and no certificate each makes a root of
 * that key; the first that is kept counts for all, so whoever comes second looks again.
 * @throws what `first` and `open` throw
 */
export async function openBelow<T>(
  ownCa: Pick<OwnCa, 'first' | 'makesRoot'> | undefined,
  store: KeyStore,
  open: (ca: PluggedCa | undefined) => Promise<T>,
): Promise<T> {
  try {
    return await open(await ownCa?.first(store));
  } catch (error) {
    const isSecond =
      ownCa?.makesRoot === true &&
      store.shared === true &&
      error instanceof AuthorityError &&
      error.code === 'ca-replaced';
    if (!isSecond) throw error;
    return await open(await ownCa.first(store));
  }
}

export type OwnCaConfig = Pick<
  ControlPlaneConfig,
  'trustDomain' | 'serverNames' | 'listen' | 'bundleEndpoint'
>;

/** An operator's CA: checked at the start, and followed from then on. What is bad leaves the one before in use. */
export class OwnCa {
  readonly #source: CaSource;
  readonly #config: OwnCaConfig;
  readonly #witnesses: Witnesses;
  readonly #remark: Tell['remark'];
  /** Digests: as it was seen last, and as it was judged last. */
  #seen: string | undefined;
  #judged: string | undefined;
  /** After what may pass by itself; by a clock that nobody sets. */
  #retryAtMs = 0;
  /** The newest first. Former ones may sign still, until the mesh has moved on. */
  #tokens: readonly TokenKey[] = [];
  #makesRoot = false;
  /** Why it is refused. */
  #refused: string | undefined;

  constructor(source: CaSource, config: OwnCaConfig, witnesses: Witnesses, remark: Tell['remark']) {
    this.#source = source;
    this.#config = config;
    this.#witnesses = witnesses;
    this.#remark = remark;
    witnesses.metrics.caRefused.set(0);
  }

  /**
   * As it is at the start, where there is none before it.
   * @param store what knows the root that was made of a key in a token
   * @throws AuthorityError `ca-*`, `signer-unavailable`; TokenError
   */
  async first(store: KeyStore): Promise<PluggedCa> {
    const material = await this.#source.read();
    const ca = await this.#check(material, store);
    this.#judged = digestOf(material);
    return ca;
  }

  /** There is a key and no certificate: its root is one of our making. */
  get makesRoot(): boolean {
    return this.#makesRoot;
  }

  /** @param onPlugged another one is at hand @returns stops it */
  follow(authority: Authority, onPlugged: () => void): () => Promise<void> {
    if (authority.ca !== undefined) this.#tellPlugged(authority.ca, authority);
    let closed = false;
    let timer: NodeJS.Timeout | undefined;
    let looking = Promise.resolve();
    const look = async (): Promise<void> => {
      await this.#look(authority, onPlugged);
      if (closed) return;
      timer = setTimeout(() => {
        looking = look();
      }, POLL_MS).unref();
    };
    looking = look();
    return async () => {
      closed = true;
      clearTimeout(timer);
      await looking;
      await this.close();
    };
  }

  async close(): Promise<void> {
    for (const token of this.#tokens) token.close();
    await this.#source.close();
  }

  async #look(authority: Authority, onPlugged: () => void): Promise<void> {
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
    if (!settled || content === this.#judged || performance.now() < this.#retryAtMs) return;
    this.#judged = content;
    try {
      if (material === undefined) throw fault;
      await this.#take(await this.#check(material), authority);
      onPlugged();
    } catch (error) {
      if (this.#mayPass(error)) {
        this.#judged = undefined;
        this.#retryAtMs = performance.now() + RETRY_MS;
      }
      this.#refuse(error);
    }
  }

  /** What is away now, or the key of the certificate, may be there next time, though no file has changed. */
  #mayPass(error: unknown): boolean {
    if (!(error instanceof AuthorityError && error.code.startsWith('ca-'))) return true;
    return error.code === 'ca-key-mismatch' && this.#source.tokenUri !== undefined;
  }

  async #take(ca: PluggedCa, authority: Authority): Promise<void> {
    await authority.plugIn(ca);
    this.#tellPlugged(ca, authority);
  }

  async #check(material: CaMaterial, store?: KeyStore): Promise<PluggedCa> {
    const { trustDomain, serverNames } = this.#config;
    const nowMs = Date.now();
    const ipAddresses = ownIpAddresses(this.#config);
    const rules: CaRules = { trustDomain, nowMs, dnsNames: serverNames, ipAddresses };
    const { tokenUri, where } = this.#source;
    if (tokenUri === undefined) return await checkCa(caParts(material, where), rules);
    const [known] = this.#tokens;
    const token = known ?? (await TokenKey.open({ uri: tokenUri }));
    if (known === undefined) this.#tokens = [token];
    this.#makesRoot = material.certificates === '';
    if (this.#makesRoot) {
      const key = signingKey(token);
      const root = await rootOfKey(key, await store?.load(), trustDomain, nowMs);
      return await checkCa({ certificates: [root], roots: [], key, where: token.where }, rules);
    }
    const checkWith = (one: TokenKey): Promise<PluggedCa> =>
      checkCa({ ...caParts(material, where, signingKey(one)), where: one.where }, rules);
    try {
      return await checkWith(token);
    } catch (error) {
      const isOther = error instanceof AuthorityError && error.code === 'ca-key-mismatch';
      if (!isOther || known === undefined) throw error;
      return await this.#withRenewed(known, checkWith);
    }
  }

  /** Another key may be in the token by now, under the same name. */
  async #withRenewed(known: TokenKey, check: (token: TokenKey) => Promise<PluggedCa>): Promise<PluggedCa> {
    const token = await known.renewed();
    try {
      const ca = await check(token);
      this.#tokens = [token, ...this.#tokens];
      return ca;
    } catch (error) {
      token.close();
      throw error;
    }
  }

  #tellPlugged(ca: PluggedCa, { waitingCa }: Authority): void {
    const detail = waitingCa === undefined ? '' : 'it waits until its root is trusted by all';
    const { log, audit, metrics } = this.#witnesses;
    const { root, fingerprint } = ca;
    this.#refused = undefined;
    metrics.caRefused.set(0);
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

  #refuse(error: unknown): void {
    const why = reasonOf(error);
    const code = error instanceof AuthorityError ? error.code : undefined;
    const { log, audit, metrics } = this.#witnesses;
    if (why === this.#refused) return;
    this.#refused = why;
    const { where } = this.#source;
    const detail = `refused, the one before stays in use: ${why}`;
    metrics.caRefused.set(1);
    this.#remark(REMARK, detail);
    log.error({ where, code }, `the CA of the operator was ${detail}`);
    audit.record({ event: 'ca.refused', actor: where, ca: '', root: '', detail: why });
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
