import { setTimeout as sleep } from 'node:timers/promises';
import { AuthorityError, type CaMaterial } from '../authority/index.ts';
import {
  ApiServerError,
  fieldsAt,
  Reflector,
  textAt,
  type ApiServer,
  type Fields,
} from '../kubernetes/index.ts';

export interface CaSecretOptions {
  readonly api: ApiServer;
  readonly namespace: string;
  readonly name: string;
  readonly random: () => number;
  readonly monotonicMs: () => number;
  /** The Secret cannot be read, or be read again; what was read last stays. */
  readonly onFailing: (error: ApiServerError) => void;
  readonly onRecovered: () => void;
}

/** In the form that cert-manager writes, and every TLS Secret has. */
const TLS = { certificates: ['tls.crt'], key: 'tls.key', roots: 'ca.crt' } as const;
/** In the form of Istio's `cacerts`. */
const CACERTS = {
  certificates: ['ca-cert.pem', 'cert-chain.pem'],
  key: 'ca-key.pem',
  roots: 'root-cert.pem',
} as const;
const RETRY_MS = 1_000;

/** An operator's CA in a Secret of the control plane's own namespace, as it is now. */
export class CaSecret {
  readonly where: string;
  readonly #options: CaSecretOptions;
  readonly #closing = new AbortController();
  /** Undefined: there is none. */
  #object: Fields | undefined;
  #watching: Promise<void> | undefined;

  constructor(options: CaSecretOptions) {
    this.#options = options;
    this.where = `the Secret ${options.namespace}/${options.name}`;
  }

  /** The first time it is asked for, until the API server answers; from then on it is watched. @throws AuthorityError `ca-unreadable` */
  async read(): Promise<CaMaterial> {
    if (this.#watching === undefined) {
      this.#object = await this.#get();
      this.#watching = this.#watch();
    }
    return caMaterialOf(this.#object, this.where);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#watching;
  }

  async #get(): Promise<Fields | undefined> {
    const { api, namespace, name, onFailing } = this.#options;
    const { signal } = this.#closing;
    for (let failures = 0; ; failures += 1) {
      try {
        return await api.get(`/api/v1/namespaces/${namespace}/secrets/${name}`, { signal });
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof ApiServerError)) throw error;
        if (error.refused?.status === 404) return undefined;
        if (!error.away) {
          throw new AuthorityError(
            'ca-unreadable',
            `${this.where} with the CA cannot be read (${error.message}): check what the control plane's service account may do.`,
            { cause: error },
          );
        }
        if (failures === 0) onFailing(error);
      }
      await sleep(RETRY_MS, undefined, { signal });
    }
  }

  async #watch(): Promise<void> {
    const { api, namespace, name, random, monotonicMs, onFailing, onRecovered } = this.#options;
    const set = (object: Fields | undefined): void => {
      this.#object = object;
    };
    const reflector = new Reflector<Fields>({
      api,
      path: `/api/v1/namespaces/${namespace}/secrets`,
      fieldSelector: `metadata.name=${name}`,
      read: (object) => object,
      random,
      nowMs: monotonicMs,
      sink: {
        replaced: ([object]) => set(object),
        set,
        deleted: () => set(undefined),
        // Every API server serves Secrets: one that does not says nothing about this one.
        absent: () => {},
        failed: onFailing,
        recovered: onRecovered,
      },
    });
    await reflector.run(this.#closing.signal);
  }
}

/** @throws AuthorityError `ca-unreadable` */
export function caMaterialOf(secret: Fields | undefined, where: string): CaMaterial {
  if (secret === undefined) {
    throw new AuthorityError(
      'ca-unreadable',
      `There is no ${where.replace(/^the /u, '')} with the CA: make it.`,
    );
  }
  const data = fieldsAt(secret, 'data');
  const [one, other] = [TLS, CACERTS].map(({ key }) => textAt(data, key) !== undefined);
  if (one === other) {
    throw new AuthorityError(
      'ca-unreadable',
      `${where} must hold tls.crt, tls.key and ca.crt, or ca-cert.pem, ca-key.pem, root-cert.pem and cert-chain.pem: it holds ${
        one === true ? 'the keys of both' : 'the key of neither'
      }.`,
    );
  }
  const form = one === true ? TLS : CACERTS;
  const text = (name: string): string => Buffer.from(textAt(data, name) ?? '', 'base64').toString('utf8');
  return {
    certificates: form.certificates.map(text).join('\n'),
    key: text(form.key),
    roots: text(form.roots),
  };
}
