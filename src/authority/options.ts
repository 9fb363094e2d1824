import type { SvidHolder, TrustDomain } from '../identity/index.ts';
import { AuthorityError } from './errors.ts';
import type { SigningObserver } from './issuing.ts';
import type { KeyStore } from './key-store.ts';
import type { PluggedCa } from './plugged-ca.ts';

export interface AuthorityOptions {
  readonly store: KeyStore;
  readonly trustDomain: TrustDomain;
  /** What shows that there was a root (a path, for people): where it is given, an empty store makes no first one. */
  readonly rootEvidence?: string | undefined;
  /** ms since the epoch. */
  readonly nowMs: () => number;
  /** Why nothing may be dated by that clock now, for people; undefined: it may. */
  readonly clockFault?: () => string | undefined;
  /** Life of an SVID where `issue` is not told another. */
  readonly svidTtlMs: number;
  /** Life of a root made here. Default 10 years. */
  readonly rootTtlMs?: number;
  /** Life of an intermediate; it is replaced at half of it. Default 24 hours. */
  readonly intermediateTtlMs?: number;
  /** Signs instead of a root of this authority's making. */
  readonly ca?: PluggedCa | undefined;
  /** Is told how signing by a key in a token goes. */
  readonly signingObserver?: SigningObserver | undefined;
  /** One certificate in so many is read back and verified before it leaves. Default 256; 1 checks each. */
  readonly selfCheckEvery?: number;
  /** Keys of SVIDs that are made ahead and kept in memory. Default 0; at most 1,024. */
  readonly keysAhead?: number;
}

export interface IssueOptions {
  /** Whose it is: pod and node stand in the subject. */
  readonly holder?: SvidHolder;
  /** Life of this SVID, cut to that of its issuer. */
  readonly ttlMs?: number;
  /** DNS names besides the SPIFFE ID; lower case, `*.` allowed in front. */
  readonly dnsNames?: readonly string[];
  /** IPv4 or IPv6 addresses besides the SPIFFE ID. */
  readonly ipAddresses?: readonly string[];
}

const DAY_MS = 24 * 3600 * 1000;
export const DEFAULT_INTERMEDIATE_TTL_MS: number = DAY_MS;
export const DEFAULT_ROOT_TTL_MS: number = 3650 * DAY_MS;
export const DEFAULT_SELF_CHECK_EVERY = 256;
const MAX_KEYS_AHEAD = 1024;
/** Certificates carry whole seconds. */
export const MIN_TTL_MS = 1000;

/** @throws AuthorityError `options-invalid` */
export function refuseBadOptions(options: AuthorityOptions): void {
  refuseBadTtl(options.svidTtlMs, 'svidTtlMs', 'options-invalid');
  refuseBadTtl(options.rootTtlMs ?? DEFAULT_ROOT_TTL_MS, 'rootTtlMs', 'options-invalid');
  refuseBadTtl(
    options.intermediateTtlMs ?? DEFAULT_INTERMEDIATE_TTL_MS,
    'intermediateTtlMs',
    'options-invalid',
  );
  const every = options.selfCheckEvery ?? DEFAULT_SELF_CHECK_EVERY;
  if (!Number.isSafeInteger(every) || every < 1) {
    throw new AuthorityError(
      'options-invalid',
      `selfCheckEvery is ${every}: a whole number from 1 is allowed.`,
    );
  }
  const { keysAhead = 0 } = options;
  if (!Number.isSafeInteger(keysAhead) || keysAhead < 0 || keysAhead > MAX_KEYS_AHEAD) {
    throw new AuthorityError(
      'options-invalid',
      `keysAhead is ${keysAhead}: a whole number from 0 to ${MAX_KEYS_AHEAD} is allowed.`,
    );
  }
}

/** @throws AuthorityError with `code`. @param what begins the message */
export function refuseBadTtl(ttlMs: number, what: string, code: 'options-invalid' | 'ttl-invalid'): void {
  // 100 years: dates stay within what a certificate can say.
  if (ttlMs >= MIN_TTL_MS && ttlMs <= 36_500 * DAY_MS) return;
  throw new AuthorityError(code, `${what} is ${ttlMs} ms: from ${MIN_TTL_MS} ms to 100 years is allowed.`);
}
