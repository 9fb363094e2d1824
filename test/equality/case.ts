import type { Protocol, QuarantineRule } from '../../src/policy/index.ts';
import type { Peer } from './world.ts';

/** Policies of one workload, and how they are enforced. `$PORT` stands for the listener's port, `$NOW` for the time. */
export interface PolicySet {
  readonly protocol: Protocol;
  readonly defaultAction: 'allow' | 'deny';
  /** The compiler is told the port, and decides the terms on it. */
  readonly portKnown: boolean;
  /** `td2` is another name of the mesh's trust domain, `td1`. */
  readonly aliases?: boolean;
  /** Of `td2` there is no bundle any more. */
  readonly ended?: boolean;
  /** Verify the tokens of end users. `$KEYS0`, `$KEYS1`: the issuers' keys, `$KEYS2`: both. */
  readonly authentications?: readonly AuthenticationDocument[];
  /** Whom the workload denies before any policy. `$DIGEST0`: of the certificate of the first SVID. Times may be `$MS-10m`, or `$ISSUED+1` in ms. */
  readonly quarantine?: readonly QuarantineRule[];
  /** AuthorizationPolicy documents. */
  readonly documents: readonly PolicyDocument[];
}

export interface AuthenticationDocument {
  readonly apiVersion: string;
  readonly kind: 'RequestAuthentication';
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: { readonly jwtRules?: readonly Readonly<Record<string, unknown>>[] };
}

export type TokenPlace =
  | { readonly kind: 'header'; readonly name: string; readonly prefix: string }
  | { readonly kind: 'param' | 'cookie'; readonly name: string };

/** A token of an end user, in one place of a request. */
export interface Token {
  readonly place: TokenPlace;
  /** Which of the two issuers' keys signs it. */
  readonly key: number;
  /** Whether now is within its times. */
  readonly time: 'good' | 'over' | 'early';
  readonly claims: Readonly<Record<string, unknown>>;
}

export interface PolicyDocument {
  readonly apiVersion: string;
  readonly kind: 'AuthorizationPolicy';
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec: PolicySpec;
}

export interface PolicySpec {
  readonly action?: string;
  readonly mode?: string;
  /** Of CUSTOM: one of `AUTHORIZERS`, or a name that nobody has. */
  readonly provider?: { readonly name: string };
  readonly validity?: { readonly notBefore?: string; readonly notAfter?: string };
  readonly rules?: readonly RuleDocument[];
}

export interface RuleDocument {
  readonly from?: readonly { readonly source: Fields }[];
  readonly to?: readonly { readonly operation: Fields }[];
  readonly when?: readonly Condition[];
}

export type Fields = Readonly<Record<string, readonly string[]>>;

export interface Condition {
  readonly key: string;
  readonly values?: readonly string[];
  readonly notValues?: readonly string[];
}

/** What a caller sends. On a TCP connection only who and whence count. */
export interface Asked {
  readonly peer: Peer;
  /** Client and listener on ::1. */
  readonly ipv6: boolean;
  /** Address of the client, where that is not ::1. */
  readonly source: string;
  readonly sni: string | undefined;
  readonly http: 1 | 2;
  readonly method: string;
  readonly path: string;
  readonly host: string;
  /** In the order sent; names may repeat and be of any case. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** X-Forwarded-For, sent to a listener that believes it. */
  readonly forwardedFor: string | undefined;
  /** Address that a PROXY protocol header names as the client's, sent to a listener that believes it. */
  readonly proxied?: string | undefined;
  /** Sent to sets with authentications. */
  readonly tokens?: readonly Token[];
  /** Payload of a token that is valid in sets without authentications. */
  readonly claims?: Readonly<Record<string, unknown>> | undefined;
  /** Dynamic metadata that a filter in front writes down, by its namespace and key: one of `METADATA`. */
  readonly metadata?: Readonly<Record<string, Readonly<Record<string, unknown>>>> | undefined;
  /** What the external authorizer says if it is asked. Absent: yes. */
  readonly authorizer?: 'ALLOW' | 'DENY' | undefined;
}

/** One question to both judges. */
export interface Pair {
  readonly set: PolicySet;
  readonly asked: Asked;
}

/** A judgement in words that both judges use. Rules by their names inside Envoy. */
export interface Verdict {
  /** `REFUSED`: answered 400 before any policy was asked. `UNAUTHENTICATED`: 401, for what it shows as a token. */
  readonly verdict: 'ALLOW' | 'DENY' | 'REFUSED' | 'UNAUTHENTICATED';
  readonly rule?: string | undefined;
  /** The CUSTOM rule that sends the request to an external authorizer. */
  readonly asked?: string | undefined;
  /** The first AUDIT rule that matched. */
  readonly audited?: string | undefined;
  readonly shadow?: { readonly verdict: 'ALLOW' | 'DENY'; readonly rule?: string | undefined } | undefined;
  /** What kept Envoy from judging at all. */
  readonly fault?: string;
}
