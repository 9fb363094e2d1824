import type { ClaimedWorkload } from './types.ts';

/** The claims of a projected service account token, as the API server writes them. */
export interface TokenClaims {
  readonly namespace: string;
  readonly serviceAccount: { readonly name: string; readonly uid: string };
  /** Undefined: bound to no pod. */
  readonly pod: { readonly name: string; readonly uid: string } | undefined;
  /** Undefined: the pod was on no node when the token was made. */
  readonly node: { readonly name: string } | undefined;
  readonly tokenId: string;
  readonly issuedAtMs: number;
  readonly notBeforeMs: number;
  readonly expiresAtMs: number;
}

export type ParsedClaims =
  | { readonly ok: true; readonly claims: TokenClaims }
  | { readonly ok: false; readonly detail: string };

type Json = Readonly<Record<string, unknown>>;

/**
 * Reads the payload of a token whose signature was valid.
 * @param tokenHash what stands in for a missing `jti`; hex
 */
export function parseClaims(payload: Json, tokenHash: string): ParsedClaims {
  const { exp, iat, nbf, jti, sub } = payload;
  if (!isSeconds(exp)) return malformed('`exp` must be a number of seconds');
  if (!isSeconds(iat)) return malformed('`iat` must be a number of seconds');
  if (nbf !== undefined && !isSeconds(nbf)) return malformed('`nbf` must be a number of seconds');
  const bound = payload['kubernetes.io'];
  if (!isObject(bound))
    return malformed('`kubernetes.io` is missing: this is no projected service account token');
  const { namespace } = bound;
  if (!isText(namespace)) return malformed('`kubernetes.io.namespace` must be a name');
  const serviceAccount = nameAndUid(bound['serviceaccount']);
  if (serviceAccount === undefined) return malformed('`kubernetes.io.serviceaccount` must have name and uid');
  if (sub !== `system:serviceaccount:${namespace}:${serviceAccount.name}`) {
    return malformed('`sub` is not the service account that `kubernetes.io` names');
  }
  const pod = nameAndUid(bound['pod']);
  if (bound['pod'] !== undefined && pod === undefined)
    return malformed('`kubernetes.io.pod` must have name and uid');
  const node = nameOf(bound['node']);
  if (bound['node'] !== undefined && node === undefined)
    return malformed('`kubernetes.io.node` must have a name');
  return {
    ok: true,
    claims: {
      namespace,
      serviceAccount,
      pod,
      node,
      tokenId: isTokenId(jti) ? jti : `sha256:${tokenHash.slice(0, 16)}`,
      issuedAtMs: iat * 1000,
      notBeforeMs: (nbf ?? iat) * 1000,
      expiresAtMs: exp * 1000,
    },
  };
}

export function claimedBy(claims: TokenClaims): ClaimedWorkload {
  return {
    namespace: claims.namespace,
    serviceAccount: claims.serviceAccount.name,
    pod: claims.pod?.name,
    podUid: claims.pod?.uid,
    node: claims.node?.name,
    tokenId: claims.tokenId,
  };
}

function malformed(detail: string): ParsedClaims {
  return { ok: false, detail: `its claims are malformed: ${detail}` };
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= 253;
}

/** Also keeps what is logged short and printable. */
function isTokenId(value: unknown): value is string {
  return typeof value === 'string' && /^[\w:.-]{1,128}$/.test(value);
}

function isSeconds(value: unknown): value is number {
  return (
    typeof value === 'number' &&
    Number.isFinite(value) &&
    value >= 0 &&
    value <= Number.MAX_SAFE_INTEGER / 1000
  );
}

function nameOf(value: unknown): { name: string } | undefined {
  return isObject(value) && isText(value['name']) ? { name: value['name'] } : undefined;
}

function nameAndUid(value: unknown): { name: string; uid: string } | undefined {
  if (!isObject(value) || !isText(value['name']) || !isText(value['uid'])) return undefined;
  return { name: value['name'], uid: value['uid'] };
}
