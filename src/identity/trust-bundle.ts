import { X509Certificate } from 'node:crypto';
import { IdentityError, quote } from './errors.ts';
import { isObject, parseUniqueJson } from './json.ts';
import { TrustDomain } from './spiffe-id.ts';
import { profile, signerTrustDomain } from './svid-profile.ts';

/** One key of a SPIFFE bundle: a JWK (RFC 7517) with the root certificate in `x5c`. */
export interface SpiffeBundleKey {
  readonly kty: string;
  readonly use: 'x509-svid';
  /** Exactly one: base64 of the DER. */
  readonly x5c: readonly [string];
  /** The public key's own members: `crv`, `x`, `y`, or `n`, `e`. */
  readonly [member: string]: unknown;
}

/** SPIFFE's JSON form of a trust bundle (SPIFFE_Trust_Domain_and_Bundle section 4). */
export interface SpiffeBundleDocument {
  readonly keys: readonly SpiffeBundleKey[];
  readonly spiffe_sequence: number;
  /** Seconds. */
  readonly spiffe_refresh_hint?: number;
}

export interface TrustBundleParts {
  readonly trustDomain: TrustDomain;
  /** DER, each exactly one CA certificate. */
  readonly x509Authorities: readonly Uint8Array[];
  /** Grows with each change of content. A non-negative safe integer. */
  readonly sequence: number;
  readonly refreshHintSeconds?: number | undefined;
}

/** The roots of one trust domain. Immutable: a change is a new bundle with a higher sequence. */
export class TrustBundle {
  /** Makes the type nominal. */
  declare protected readonly checked: never;
  readonly trustDomain: TrustDomain;
  /** DER. May be empty: then nothing of this trust domain is trusted. */
  readonly x509Authorities: readonly Buffer[];
  readonly sequence: number;
  readonly refreshHintSeconds: number | undefined;

  private constructor(parts: TrustBundleParts, authorities: readonly Buffer[]) {
    this.trustDomain = parts.trustDomain;
    this.x509Authorities = authorities;
    this.sequence = parts.sequence;
    this.refreshHintSeconds = parts.refreshHintSeconds;
  }

  /** @throws IdentityError `bundle-malformed` */
  static of(parts: TrustBundleParts): TrustBundle {
    const owner = `bundle of ${parts.trustDomain.name}`;
    refuseBadInteger(parts.sequence, 'spiffe_sequence', owner);
    if (parts.refreshHintSeconds !== undefined) {
      refuseBadInteger(parts.refreshHintSeconds, 'spiffe_refresh_hint', owner);
    }
    const authorities: Buffer[] = [];
    for (const [index, der] of parts.x509Authorities.entries()) {
      const authority = checkAuthority(der, `certificate ${index} of the ${owner}`);
      if (!authorities.some((known) => known.equals(authority))) authorities.push(authority);
    }
    return new TrustBundle(parts, Object.freeze(authorities));
  }

  /**
   * Reads SPIFFE's JSON form. What the standard says to ignore is ignored: unknown members, keys of another
   * `kty` or `use`, keys without `x5c`, every `x5c` value but the first.
   * @throws IdentityError `bundle-malformed`
   */
  static parse(trustDomain: TrustDomain, jsonText: string): TrustBundle {
    const what = `bundle of ${trustDomain.name}`;
    return TrustBundle.of(readDocument(trustDomain, parseUniqueJson(jsonText, what), what));
  }

  /** The same trust domain with these roots, and the next sequence if they differ; otherwise this bundle. */
  withAuthorities(x509Authorities: readonly Uint8Array[]): TrustBundle {
    const next = TrustBundle.of({ ...this.#parts(), x509Authorities, sequence: this.sequence + 1 });
    return this.hasSameAuthorities(next) ? this : next;
  }

  /** The same bundle, for whoever is to fetch it again after so many seconds. */
  withRefreshHint(refreshHintSeconds: number): TrustBundle {
    return TrustBundle.of({ ...this.#parts(), refreshHintSeconds });
  }

  hasSameAuthorities(other: TrustBundle): boolean {
    return (
      this.x509Authorities.length === other.x509Authorities.length &&
      this.x509Authorities.every((der) => other.hasAuthority(der))
    );
  }

  hasAuthority(der: Uint8Array): boolean {
    return this.x509Authorities.some((known) => known.equals(der));
  }

  toJSON(): SpiffeBundleDocument {
    return {
      keys: this.x509Authorities.map(toKey),
      spiffe_sequence: this.sequence,
      ...(this.refreshHintSeconds === undefined ? {} : { spiffe_refresh_hint: this.refreshHintSeconds }),
    };
  }

  /** All roots, one PEM block each, in order. Empty text for an empty bundle. */
  toPem(): string {
    return this.x509Authorities.map((der) => new X509Certificate(der).toString()).join('');
  }

  #parts(): TrustBundleParts {
    return {
      trustDomain: this.trustDomain,
      x509Authorities: this.x509Authorities,
      sequence: this.sequence,
      refreshHintSeconds: this.refreshHintSeconds,
    };
  }
}

/**
 * Reads a bundle map (SPIFFE_Trust_Domain_and_Bundle section 5): trust domain name to its bundle.
 * A refresh hint inside a map says nothing about the map, and is dropped.
 * @throws IdentityError `bundle-malformed` (a name twice included), or what `TrustDomain.parse` throws
 */
export function parseBundleMap(text: string): ReadonlyMap<string, TrustBundle> {
  const value = parseUniqueJson(text, 'bundle map');
  const domains = isObject(value) ? value['trust_domains'] : undefined;
  if (!isObject(domains)) {
    throw new IdentityError('bundle-malformed', 'The bundle map has no object "trust_domains".');
  }
  const bundles = new Map<string, TrustBundle>();
  for (const [name, document] of Object.entries(domains)) {
    const trustDomain = TrustDomain.parse(name);
    const parts = readDocument(trustDomain, document, `bundle of ${name}`);
    bundles.set(name, TrustBundle.of({ ...parts, refreshHintSeconds: undefined }));
  }
  return bundles;
}

function readDocument(trustDomain: TrustDomain, value: unknown, what: string): TrustBundleParts {
  const keys = isObject(value) ? value['keys'] : undefined;
  if (!isObject(value) || !Array.isArray(keys)) {
    throw new IdentityError('bundle-malformed', `The ${what} has no array "keys" (it may be empty).`);
  }
  return {
    trustDomain,
    x509Authorities: keys.flatMap((key: unknown, index) => readKey(key, `key ${index} of the ${what}`)),
    sequence: readInteger(value['spiffe_sequence'], 'spiffe_sequence', what) ?? 0,
    refreshHintSeconds: readInteger(value['spiffe_refresh_hint'], 'spiffe_refresh_hint', what),
  };
}

const KEY_TYPES: ReadonlySet<unknown> = new Set(['EC', 'RSA', 'OKP']);

function readKey(key: unknown, what: string): readonly Buffer[] {
  if (!isObject(key)) throw new IdentityError('bundle-malformed', `The ${what} is not an object.`);
  if (!KEY_TYPES.has(key['kty']) || key['use'] !== 'x509-svid') return [];
  const chain = key['x5c'];
  if (chain === undefined || (Array.isArray(chain) && chain.length === 0)) return [];
  const first: unknown = Array.isArray(chain) ? chain[0] : undefined;
  if (typeof first !== 'string' || !/^[A-Za-z0-9+/]+={0,2}$/.test(first)) {
    throw new IdentityError(
      'bundle-malformed',
      `The ${what} has an "x5c" that is not a list of base64 texts.`,
    );
  }
  return [Buffer.from(first, 'base64')];
}

function readInteger(value: unknown, member: string, what: string): number | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'number') {
    throw new IdentityError('bundle-malformed', `The ${what} has a "${member}" that is not a number.`);
  }
  refuseBadInteger(value, member, what);
  return value;
}

/** A number that JSON cannot carry exactly is refused: rounded, a newer bundle could look like an older one. */
function refuseBadInteger(value: number, member: string, what: string): void {
  if (Number.isSafeInteger(value) && value >= 0) return;
  throw new IdentityError(
    'bundle-malformed',
    `The ${what} has the ${member} ${quote(String(value))}: a whole number from 0 to ${Number.MAX_SAFE_INTEGER} is allowed.`,
  );
}

/** One certificate, nothing after it, that may sign: found out here, not when a peer calls. */
function checkAuthority(der: Uint8Array, what: string): Buffer {
  try {
    const authority = profile(der);
    signerTrustDomain(authority);
    return Buffer.from(authority.certificate.raw);
  } catch (cause) {
    if (!(cause instanceof IdentityError)) throw cause;
    throw new IdentityError('bundle-malformed', `The ${what} cannot be a root: ${cause.message}`, { cause });
  }
}

function toKey(der: Buffer): SpiffeBundleKey {
  const { kty, ...members } = new X509Certificate(der).publicKey.export({ format: 'jwk' });
  return { kty: String(kty), ...members, use: 'x509-svid', x5c: [der.toString('base64')] };
}
