import { isDeepStrictEqual } from 'node:util';
import {
  asApiServerError,
  BackOff,
  fieldsAt,
  isFields,
  Reflector,
  textAt,
  type ApiServer,
  type ApiServerError,
  type Fields,
} from '../kubernetes/index.ts';
import { pause } from './pause.ts';

export interface WebhookBundleOptions {
  readonly api: ApiServer;
  /** Of the ValidatingWebhookConfiguration. */
  readonly name: string;
  /** Whose webhooks of it are ours. */
  readonly service: { readonly namespace: string; readonly name: string };
  /** The roots that the webhook's certificate may be of, now: PEM. */
  readonly bundle: () => string;
  /** A clock that only goes forward. */
  readonly monotonicMs: () => number;
  readonly random: () => number;
  readonly onWritten: () => void;
  /** It cannot be watched or written; it is tried again. Once for each row of failures. */
  readonly onFailing: (error: ApiServerError) => void;
}

const COLLECTION = '/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations';
const EVERY_MS = 1_000;

/**
 * Keeps the `caBundle` of our webhooks equal to the trust bundle: through rotations, and whoever else writes there.
 * For one term of a leader.
 */
export class WebhookBundle {
  readonly #options: WebhookBundleOptions;
  readonly #backOff: BackOff;
  #seen: Fields | undefined;
  #dirty = false;

  constructor(options: WebhookBundleOptions) {
    this.#options = options;
    this.#backOff = new BackOff({ random: options.random, firstMs: 1_000, mostMs: 60_000 });
  }

  /** The bundle is another one. */
  wake(): void {
    this.#dirty = true;
  }

  /** Until `term` is aborted. Never rejects. */
  async run(term: AbortSignal): Promise<void> {
    const watch = this.#reflector().run(term);
    let waitMs = 0;
    while (!term.aborted) {
      if (this.#dirty) waitMs = await this.#write(term);
      await pause(Math.max(waitMs, EVERY_MS / 5), term);
    }
    await watch;
  }

  #reflector(): Reflector<Fields> {
    const { api, name, random, monotonicMs, onFailing } = this.#options;
    const set = (object: Fields | undefined): void => {
      this.#seen = object;
      this.#dirty = object !== undefined;
    };
    return new Reflector<Fields>({
      api,
      path: COLLECTION,
      fieldSelector: `metadata.name=${name}`,
      random,
      nowMs: monotonicMs,
      read: (object) => object,
      sink: {
        replaced: ([object]) => set(object),
        set,
        deleted: () => set(undefined),
        absent: () => set(undefined),
        failed: onFailing,
        recovered: () => {},
      },
    });
  }

  /** @returns how long to wait before the next try, at least; milliseconds */
  async #write(term: AbortSignal): Promise<number> {
    const { api, name, onWritten, onFailing } = this.#options;
    this.#dirty = false;
    const seen = this.#seen;
    const webhooks: unknown = seen?.['webhooks'];
    if (seen === undefined || !Array.isArray(webhooks)) return 0;
    const wanted = webhooks.map((webhook: unknown) => this.#filled(webhook));
    if (isDeepStrictEqual(webhooks, wanted)) return 0;
    // A merge patch replaces the list whole: for this version of it alone.
    const resourceVersion = textAt(fieldsAt(seen, 'metadata'), 'resourceVersion');
    try {
      await api.patch(
        `${COLLECTION}/${name}`,
        { metadata: { resourceVersion }, webhooks: wanted },
        { signal: term },
      );
      this.#backOff.reset();
      onWritten();
      return EVERY_MS;
    } catch (error) {
      const found = asApiServerError(error, COLLECTION);
      // Somebody was first: the watch tells what is there now.
      if (found.refused?.status === 409 || term.aborted) return EVERY_MS;
      this.#dirty = true;
      if (this.#backOff.failures === 0) onFailing(found);
      return this.#backOff.next();
    }
  }

  #filled(webhook: unknown): unknown {
    const { service, bundle } = this.#options;
    if (!isFields(webhook)) return webhook;
    const clientConfig = fieldsAt(webhook, 'clientConfig');
    const { namespace, name } = fieldsAt(clientConfig, 'service');
    if (namespace !== service.namespace || name !== service.name) return webhook;
    const caBundle = Buffer.from(bundle()).toString('base64');
    return { ...webhook, clientConfig: { ...clientConfig, caBundle } };
  }
}
