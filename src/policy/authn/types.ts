/**
 * Who may speak, before what they may do: RequestAuthentication and PeerAuthentication (`policy-language.md`).
 * As in `../types.ts`, a value of these types cannot be malformed.
 */
import type { AuthorizationPolicy, Issue } from '../types.ts';

/** What every document of the language has. */
interface Document extends Pick<AuthorizationPolicy, 'apiGroup' | 'namespace' | 'name' | 'selector'> {
  /** Of what the document means: equal digests compile to equal bytes. Hex SHA-256. */
  readonly digest: string;
}

/** Which tokens of end users are verified, with whose keys. Immutable. */
export interface RequestAuthentication extends Document {
  /** Empty: the document verifies nothing. */
  readonly jwtRules: readonly JwtRule[];
}

/** Tokens of one issuer. Header and cookie names as written, header names in lower case. */
export interface JwtRule {
  readonly issuer: string;
  /** OR. Empty: any audience. */
  readonly audiences: readonly string[];
  readonly keys: JwksSource;
  /** Where its tokens are looked for. All three empty: `Authorization: Bearer` and the parameter `access_token`. */
  readonly fromHeaders: readonly { readonly name: string; readonly prefix: string }[];
  readonly fromParams: readonly string[];
  readonly fromCookies: readonly string[];
  /** Header that carries the verified payload (base64url) to the app. */
  readonly outputPayloadToHeader: string | undefined;
  readonly outputClaimToHeaders: readonly { readonly header: string; readonly claim: string }[];
  /** Whether the app gets the token too. */
  readonly forwardOriginalToken: boolean;
  /** Claims beside `scope` and `permission` whose text is a list, cut at spaces. */
  readonly spaceDelimitedClaims: readonly string[];
  /** For fetching the keys. */
  readonly timeoutMs: number;
}

export type JwksSource =
  /** A JWKS document (RFC 7517 section 5), public parts only, in one canonical form. */
  { readonly kind: 'inline'; readonly jwks: string } | { readonly kind: 'uri'; readonly uri: string };

/** How peers have to come. Immutable. */
export interface PeerAuthentication extends Document {
  /** Undefined: as the wider scope says. */
  readonly mode: PeerMode | undefined;
  /** By workload port. Undefined mode: as `mode` says. */
  readonly ports: ReadonlyMap<number, PeerMode | undefined>;
  /** `metadata.creationTimestamp`, ms since the epoch; undefined: not said. The oldest wins in a tie. */
  readonly createdAtMs: number | undefined;
}

/** STRICT: mTLS alone. PERMISSIVE: mTLS or plaintext. DISABLE: plaintext alone. */
export type PeerMode = 'STRICT' | 'PERMISSIVE' | 'DISABLE';

/** How peers have to come to one workload. Immutable. */
export interface PeerModes {
  readonly mode: PeerMode;
  /** Only ports whose mode is another, ascending. */
  readonly ports: ReadonlyMap<number, PeerMode>;
  /** `namespace/name` of the documents that said so, the mesh's first. Empty: the default, STRICT. */
  readonly from: readonly string[];
}

export type ParsedRequestAuthentication =
  | { readonly ok: true; readonly policy: RequestAuthentication; readonly issues: readonly Issue[] }
  | { readonly ok: false; readonly issues: readonly Issue[] };

export type ParsedPeerAuthentication =
  | { readonly ok: true; readonly policy: PeerAuthentication; readonly issues: readonly Issue[] }
  | { readonly ok: false; readonly issues: readonly Issue[] };
