import { isDeepStrictEqual } from 'node:util';
import type { JSONWebKeySet } from 'jose';
import type { FollowedJwks } from './token-verifier.ts';

export interface JwksFollowerOptions {
  /** The issuer's JWKS document (RFC 7517 section 5) as it is now. */
  readonly fetch: () => Promise<unknown>;
  /** What is known so far. */
  readonly initial: JSONWebKeySet;
  /** A clock that only goes forward. */
  readonly monotonicMs: () => number;
  readonly random: () => number;
  readonly onChange: (jwks: JSONWebKeySet) => void;
  /** It is tried again; what is known stays. */
  readonly onFailure: (error: unknown) => void;
  /** How soon it is asked again for unknown keys: anybody can name one. Default 5000. */
  readonly leastMs?: number;
  /** How often it is asked without a reason: a key that was withdrawn must not verify for ever. Default 300 000. */
  readonly everyMs?: number;
}

/** The public keys of an issuer that rotates them. */
export class JwksFollower implements FollowedJwks {
  readonly #options: JwksFollowerOptions;
  #jwks: JSONWebKeySet;
  #askedMs = -Infinity;
  #asking: Promise<JSONWebKeySet | undefined> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: JwksFollowerOptions) {
    this.#options = options;
    this.#jwks = options.initial;
    this.#schedule();
  }

  get jwks(): JSONWebKeySet {
    return this.#jwks;
  }

  async newer(): Promise<JSONWebKeySet | undefined> {
    const { monotonicMs, leastMs = 5_000 } = this.#options;
    if (this.#asking === undefined && monotonicMs() - this.#askedMs < leastMs) return undefined;
    return await this.#ask();
  }

  /** Something has happened to the issuer: its keys may be others by now. */
  lookAnew(): void {
    this.newer().catch(this.#options.onFailure);
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  async #ask(): Promise<JSONWebKeySet | undefined> {
    this.#asking ??= this.#fetch().finally(() => {
      this.#asking = undefined;
    });
    return await this.#asking;
  }

  async #fetch(): Promise<JSONWebKeySet | undefined> {
    this.#askedMs = this.#options.monotonicMs();
    const jwks = parseJwks(await this.#options.fetch());
    if (isDeepStrictEqual(jwks, this.#jwks)) return undefined;
    this.#jwks = jwks;
    this.#options.onChange(jwks);
    return jwks;
  }

  #schedule(): void {
    const { everyMs = 300_000, random, onFailure } = this.#options;
    this.#timer = setTimeout(
      () => {
        this.#ask().catch(onFailure);
        this.#schedule();
      },
      everyMs * (0.75 + random() / 2),
    );
    this.#timer.unref();
  }
}

/** @throws Error it is no JWKS, or one without keys, which nobody can have meant */
export function parseJwks(document: unknown): JSONWebKeySet {
  if (typeof document === 'object' && document !== null && 'keys' in document) {
    const { keys } = document;
    if (Array.isArray(keys) && keys.length > 0 && keys.every(isKey)) return { keys };
  }
  throw new Error('the JWKS is no JSON object with a list of `keys`');
}

function isKey(value: unknown): value is JSONWebKeySet['keys'][number] {
  return (
    typeof value === 'object' &&
    value !== null &&
    'kty' in value &&
    typeof value.kty === 'string' &&
    !('d' in value)
  );
}
