import { hash } from 'node:crypto';
import { createLocalJWKSet, errors, jwtVerify } from 'jose';
import type { JSONWebKeySet, JWTPayload, JWTVerifyGetKey, JWTVerifyOptions } from 'jose';
import { claimedBy, parseClaims } from './claims.ts';
import type { TokenClaims } from './claims.ts';
import { RecentCache } from './recent-cache.ts';
import { refuseToken } from './refusal.ts';
import type { Refusal } from './types.ts';

/** Keys that change at their issuer. */
export interface FollowedJwks {
  /** As last seen. */
  readonly jwks: JSONWebKeySet;
  /**
   * Asked when a token names a key that is not among them: has the issuer another by now?
   * @returns undefined: none that is newer
   * @throws Error the issuer cannot be asked
   */
  newer(): Promise<JSONWebKeySet | undefined>;
}

/** Public keys that tokens are verified with: fixed, asked for at each verification, or followed. */
export type JwksSource = JSONWebKeySet | (() => JSONWebKeySet | Promise<JSONWebKeySet>) | FollowedJwks;

export interface TokenVerifierOptions {
  readonly jwks: JwksSource;
  /** `iss`, exactly. */
  readonly issuer: string;
  /** `aud`, exactly, and as the only one. */
  readonly audience: string;
  readonly nowMs: () => number;
  /** Longer tokens are refused unread. */
  readonly maxTokenBytes: number;
  /** How long a verified signature is believed again; at most 60 s. */
  readonly cacheMs: number;
  readonly maxCachedTokens: number;
}

export type VerifiedToken =
  | { readonly ok: true; readonly claims: TokenClaims }
  | { readonly ok: false; readonly refusal: Refusal };

/** How far the issuer's clock may be ahead of ours. An expired token is expired: that way there is no tolerance. */
const CLOCK_SKEW_MS = 30_000;
const ALGORITHMS: NonNullable<JWTVerifyOptions['algorithms']> = ['RS256', 'ES256'];

/** Factor one: signature, issuer, audience and time of a token (RFC 7519, 7515; Kubernetes' projected format). */
export class TokenVerifier {
  readonly #options: TokenVerifierOptions;
  readonly #verified: RecentCache<TokenClaims>;
  readonly #inFlight = new Map<string, Promise<VerifiedToken>>();
  #keySet: { readonly jwks: JSONWebKeySet; readonly resolve: JWTVerifyGetKey } | undefined;

  constructor(options: TokenVerifierOptions) {
    this.#options = options;
    this.#verified = new RecentCache({
      maxEntries: options.maxCachedTokens,
      maxAgeMs: Math.min(options.cacheMs, 60_000),
      nowMs: options.nowMs,
    });
  }

  /** Never rejects. The same token, sent by many at once, is verified once. */
  async verify(token: string): Promise<VerifiedToken> {
    const bytes = Buffer.byteLength(token);
    if (bytes > this.#options.maxTokenBytes) {
      return refused(`the token has ${bytes} bytes; at most ${this.#options.maxTokenBytes} are read`);
    }
    const tokenHash = hash('sha256', token);
    const claims = this.#verified.get(tokenHash);
    if (claims !== undefined) return this.#inTime(claims);
    const running = this.#inFlight.get(tokenHash) ?? this.#start(token, tokenHash);
    return running;
  }

  #start(token: string, tokenHash: string): Promise<VerifiedToken> {
    const running = this.#verifyAnew(token, tokenHash).finally(() => this.#inFlight.delete(tokenHash));
    this.#inFlight.set(tokenHash, running);
    return running;
  }

  async #verifyAnew(token: string, tokenHash: string): Promise<VerifiedToken> {
    let payload: JWTPayload;
    try {
      payload = await this.#signedPayload(token);
    } catch (error) {
      return refused(describe(error, this.#options), claimedIn(error, tokenHash));
    }
    const parsed = parseClaims(payload, tokenHash);
    if (!parsed.ok) return refused(`the token is genuine, but ${parsed.detail}`);
    const audiences = [payload.aud].flat();
    if (audiences.length !== 1) {
      return refused(
        `the token is for ${audiences.length} audiences; it must be for \`${this.#options.audience}\` alone, as each other receiver could present it here`,
        parsed.claims,
      );
    }
    const verdict = this.#inTime(parsed.claims);
    if (verdict.ok) this.#verified.set(tokenHash, parsed.claims);
    return verdict;
  }

  async #signedPayload(token: string): Promise<JWTPayload> {
    const { issuer, audience, nowMs } = this.#options;
    const options: JWTVerifyOptions = {
      algorithms: ALGORITHMS,
      issuer,
      audience,
      currentDate: new Date(nowMs()),
      clockTolerance: CLOCK_SKEW_MS / 1000,
      requiredClaims: ['exp', 'iat', 'sub'],
    };
    try {
      return await payloadOf(token, await this.#keys(), options);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      const newer = await this.#newerKeys();
      if (newer === undefined) throw error;
      return await payloadOf(token, newer, options);
    }
  }

  async #newerKeys(): Promise<JWTVerifyGetKey | undefined> {
    const { jwks: source } = this.#options;
    if (!isFollowed(source)) return undefined;
    try {
      return (await source.newer()) === undefined ? undefined : await this.#keys();
    } catch (error) {
      throw new KeysUnavailable({ cause: error });
    }
  }

  async #keys(): Promise<JWTVerifyGetKey> {
    const { jwks: source } = this.#options;
    let jwks: JSONWebKeySet;
    try {
      jwks = typeof source === 'function' ? await source() : isFollowed(source) ? source.jwks : source;
      if (this.#keySet?.jwks !== jwks) this.#keySet = { jwks, resolve: createLocalJWKSet(jwks) };
    } catch (error) {
      throw new KeysUnavailable({ cause: error });
    }
    return this.#keySet.resolve;
  }

  /** What a cached signature does not answer: the time of now. */
  #inTime(claims: TokenClaims): VerifiedToken {
    const now = this.#options.nowMs();
    if (now >= claims.expiresAtMs) {
      return refused(`the token expired at ${isoTime(claims.expiresAtMs)}; it is ${isoTime(now)}`, claims);
    }
    if (claims.notBeforeMs > now + CLOCK_SKEW_MS) {
      return refused(
        `the token is not valid before ${isoTime(claims.notBeforeMs)}; it is ${isoTime(now)}`,
        claims,
      );
    }
    if (claims.issuedAtMs > now + CLOCK_SKEW_MS || claims.issuedAtMs > claims.expiresAtMs) {
      return refused(
        `the token says it was issued at ${isoTime(claims.issuedAtMs)}, which cannot be`,
        claims,
      );
    }
    return { ok: true, claims };
  }
}

class KeysUnavailable extends Error {
  constructor(options: ErrorOptions) {
    super('the public keys are not to be had', options);
  }
}

function isFollowed(source: JwksSource): source is FollowedJwks {
  return 'newer' in source;
}

async function payloadOf(
  token: string,
  keys: JWTVerifyGetKey,
  options: JWTVerifyOptions,
): Promise<JWTPayload> {
  try {
    return (await jwtVerify(token, keys, options)).payload;
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error;
    return await verifyWithAny(token, error, options);
  }
}

/** While keys rotate, two may share what the token says of its key: any of them may have signed it. */
async function verifyWithAny(
  token: string,
  candidates: errors.JWKSMultipleMatchingKeys,
  options: JWTVerifyOptions,
): Promise<JWTPayload> {
  for await (const key of candidates) {
    try {
      return (await jwtVerify(token, key, options)).payload;
    } catch (error) {
      if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw error;
    }
  }
  throw new errors.JWSSignatureVerificationFailed();
}

function refused(detail: string, claims?: TokenClaims): VerifiedToken {
  return { ok: false, refusal: refuseToken(detail, claims === undefined ? undefined : claimedBy(claims)) };
}

/** jose checks the signature before it looks at a claim: these two errors mean that it was valid. */
function claimedIn(error: unknown, tokenHash: string): TokenClaims | undefined {
  if (!(error instanceof errors.JWTClaimValidationFailed || error instanceof errors.JWTExpired))
    return undefined;
  const parsed = parseClaims(error.payload, tokenHash);
  return parsed.ok ? parsed.claims : undefined;
}

function describe(error: unknown, options: TokenVerifierOptions): string {
  if (error instanceof KeysUnavailable) {
    return `the token cannot be verified, as the issuer's public keys (JWKS) are not to be had: ${String(error.cause)}`;
  }
  if (error instanceof errors.JWTExpired) return `the token has expired (${error.claim})`;
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.claim === 'aud')
      return `the token is for another audience; it must be for \`${options.audience}\``;
    if (error.claim === 'iss') return `the token is of another issuer; it must be of \`${options.issuer}\``;
    return `the token's claim \`${error.claim}\` is not acceptable: ${error.message}`;
  }
  if (error instanceof errors.JOSEAlgNotAllowed) {
    return `the token is signed by an algorithm that is not allowed: ${ALGORITHMS.join(' and ')} are`;
  }
  if (error instanceof errors.JWKSNoMatchingKey)
    return 'the token is signed by a key that the issuer does not publish';
  if (error instanceof errors.JWSSignatureVerificationFailed)
    return 'the signature of the token is not valid';
  if (error instanceof errors.JOSEError) return `the token is malformed (${error.code})`;
  return `the token could not be verified: ${error instanceof Error ? error.name : typeof error}`;
}

function isoTime(ms: number): string {
  return ms <= 8_640_000_000_000_000 ? new Date(ms).toISOString() : 'a time beyond all dates';
}
