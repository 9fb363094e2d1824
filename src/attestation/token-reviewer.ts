import { createHash } from 'node:crypto';
import type { TokenClaims } from './claims.ts';
import { RecentCache } from './recent-cache.ts';

/** What a reviewer says of a token; details are for logs, and never hold it. */
export interface ReviewOutcome {
  readonly kind: 'passed' | 'refused' | 'unavailable';
  readonly detail: string;
}

/** Who knows more of a token than its signature says: that it was withdrawn, for one. */
export interface TokenReviewer {
  /**
   * Never rejects.
   * @param claims what the token says; its signature, its pod and all else that is known here were found good
   */
  review(token: string, claims: TokenClaims): Promise<ReviewOutcome>;
}

export interface ApiServerReviewerOptions {
  /** Creates a TokenReview (`authentication.k8s.io/v1`) with this spec. @returns it as answered @throws Error the API server cannot be asked */
  readonly create: (spec: { token: string; audiences: readonly string[] }) => Promise<unknown>;
  readonly audience: string;
  /** A clock that only goes forward. */
  readonly monotonicMs: () => number;
  /** Told when the API server could not be asked, once until it can again. */
  readonly onUnavailable: (error: unknown) => void;
  readonly onAvailable: () => void;
  /** Reviews under way at once. Default 32. */
  readonly maxInFlight?: number;
  /** Reviews that wait for their turn. Default 4096; more cannot be decided in time. */
  readonly maxWaiting?: number;
  /** How long a token that passed is not asked about again. Default and most 60 000. */
  readonly cacheMs?: number;
  /** Default 10 000. */
  readonly maxCachedTokens?: number;
  /** How long nobody waits for an API server that could not be asked. Default 2000. */
  readonly pauseMs?: number;
}

type Json = Readonly<Record<string, unknown>>;

/**
 * Asks the API server about tokens: each once, and never more than a bound at a time. A token that passed is believed
 * for a minute; the pod that it is bound to is looked at each time, by whoever asks here.
 */
export class ApiServerReviewer implements TokenReviewer {
  readonly #options: ApiServerReviewerOptions;
  readonly #passed: RecentCache<true>;
  readonly #inFlight = new Map<string, Promise<ReviewOutcome>>();
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  /** Undefined: it answers. */
  #away: { untilMs: number; tried: boolean } | undefined;

  constructor(options: ApiServerReviewerOptions) {
    this.#options = options;
    this.#passed = new RecentCache({
      maxEntries: options.maxCachedTokens ?? 10_000,
      maxAgeMs: Math.min(options.cacheMs ?? 60_000, 60_000),
      nowMs: options.monotonicMs,
    });
  }

  async review(token: string, claims: TokenClaims): Promise<ReviewOutcome> {
    const hash = createHash('sha256').update(token).digest('hex');
    if (this.#passed.get(hash) === true) return passed('it passed within the last minute');
    const known = this.#inFlight.get(hash);
    if (known !== undefined) return await known;
    const asked = this.#inTurn(token, claims, hash).finally(() => this.#inFlight.delete(hash));
    this.#inFlight.set(hash, asked);
    return await asked;
  }

  async #inTurn(token: string, claims: TokenClaims, hash: string): Promise<ReviewOutcome> {
    const { maxInFlight = 32, maxWaiting = 4_096 } = this.#options;
    if (this.#running >= maxInFlight) {
      if (this.#waiting.length >= maxWaiting) return unavailable(`${maxWaiting} reviews are waiting already`);
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else {
      this.#running += 1;
    }
    try {
      if (!this.#mayTry()) return unavailable('the API server did not answer a moment ago');
      const outcome = await this.#ask(token, claims);
      if (outcome.kind === 'passed') this.#passed.set(hash, true);
      return outcome;
    } finally {
      // The turn goes on to the next, or is given back.
      const next = this.#waiting.shift();
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }

  async #ask(token: string, claims: TokenClaims): Promise<ReviewOutcome> {
    const { create, audience, monotonicMs, pauseMs = 2_000, onUnavailable, onAvailable } = this.#options;
    let answer: unknown;
    try {
      answer = await create({ token, audiences: [audience] });
    } catch (error) {
      if (this.#away === undefined) onUnavailable(error);
      this.#away = { untilMs: monotonicMs() + pauseMs, tried: false };
      return unavailable(error instanceof Error ? error.message : String(error));
    }
    if (this.#away !== undefined) onAvailable();
    this.#away = undefined;
    return judge(answer, audience, claims);
  }

  /** While it is away, one at a time finds out whether it is back. */
  #mayTry(): boolean {
    const away = this.#away;
    if (away === undefined) return true;
    if (away.tried || this.#options.monotonicMs() < away.untilMs) return false;
    away.tried = true;
    return true;
  }
}

/** What a TokenReview must say for the token to be what its claims say. */
function judge(answer: unknown, audience: string, claims: TokenClaims): ReviewOutcome {
  const status = objectAt(answer, 'status');
  if (status['authenticated'] !== true) {
    const { error } = status;
    const why = typeof error === 'string' ? `: ${error.slice(0, 200)}` : '';
    return refused(`the API server does not authenticate the token${why}`);
  }
  const { audiences } = status;
  // An API server that does not know of audiences answers none: it has not looked.
  if (!Array.isArray(audiences) || audiences.length !== 1 || audiences[0] !== audience) {
    return refused(`the API server did not confirm the audience \`${audience}\``);
  }
  const user = objectAt(status, 'user');
  const extra = objectAt(user, 'extra');
  const { namespace, serviceAccount, pod, node, tokenId } = claims;
  const wanted: readonly (readonly [string, unknown, string | undefined])[] = [
    ['username', user['username'], `system:serviceaccount:${namespace}:${serviceAccount.name}`],
    ['uid', user['uid'], serviceAccount.uid],
    ['pod-name', extraAt(extra, 'pod-name'), pod?.name],
    ['pod-uid', extraAt(extra, 'pod-uid'), pod?.uid],
    ['node-name', extraAt(extra, 'node-name'), node?.name],
    ['credential-id', extraAt(extra, 'credential-id'), `JTI=${tokenId}`],
  ];
  for (const [name, found, expected] of wanted) {
    if (found !== expected) {
      return refused(
        `the API server says of the token's ${name} ${shown(found)}, the token ${shown(expected)}`,
      );
    }
  }
  return passed(`authenticated as ${String(user['username'])}`);
}

function extraAt(extra: Json, name: string): unknown {
  const values = extra[`authentication.kubernetes.io/${name}`];
  if (values === undefined) return undefined;
  return Array.isArray(values) && values.length === 1 ? values[0] : values;
}

function objectAt(value: unknown, name: string): Json {
  const inner = isObject(value) ? value[name] : undefined;
  return isObject(inner) ? inner : {};
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function shown(value: unknown): string {
  return value === undefined ? 'nothing' : JSON.stringify(value).slice(0, 200);
}

function passed(detail: string): ReviewOutcome {
  return { kind: 'passed', detail };
}

function refused(detail: string): ReviewOutcome {
  return { kind: 'refused', detail };
}

function unavailable(detail: string): ReviewOutcome {
  return { kind: 'unavailable', detail: `the API server cannot be asked: ${detail}` };
}
