/**
 * One intermediate form with two readers: the compiler to Envoy RBAC and the evaluator.
 * Everything is already parsed and checked: a value of these types cannot be malformed.
 */

export type Action = 'ALLOW' | 'DENY' | 'AUDIT' | 'CUSTOM';
export type Mode = 'Enforce' | 'Shadow';

/** A checked AuthorizationPolicy document (`policy-language.md`). Immutable. */
export interface AuthorizationPolicy {
  readonly apiGroup: 'security.countersign.dev' | 'security.istio.io';
  readonly namespace: string;
  readonly name: string;
  /** `selector.matchLabels`; empty: every pod that the policy's namespace reaches. */
  readonly selector: Readonly<Record<string, string>>;
  readonly action: Action;
  /** `provider.name`, of CUSTOM alone. */
  readonly provider?: string;
  readonly mode: Mode;
  readonly reason: string | undefined;
  /** Absent: at any time. */
  readonly validity?: Validity;
  /** OR. Empty with ALLOW: allows nothing. */
  readonly rules: readonly Rule[];
  /** Of what the document means (not its text): equal digests compile to equal bytes. Hex SHA-256. */
  readonly digest: string;
}

/** From `notBefore` on, and no more at `notAfter`; undefined: without that limit. Milliseconds since the epoch. */
export interface Validity {
  readonly notBeforeMs: number | undefined;
  readonly notAfterMs: number | undefined;
}

/** AND of the three; an absent part matches all. */
export interface Rule {
  /** Position in the document, and in the rule's name inside Envoy. */
  readonly index: number;
  /** OR. */
  readonly from: readonly Clause[];
  /** OR. */
  readonly to: readonly Clause[];
  /** AND. */
  readonly when: Clause;
}

/** AND of its terms; none: matches all. */
export type Clause = readonly Term[];

/** One attribute against values: matches when any `values` does (if there are any) and none of `notValues` does. */
export interface Term {
  readonly attribute: Attribute;
  readonly values: readonly Matcher[];
  readonly notValues: readonly Matcher[];
  /** Path of the field in the document, for explanations: `spec.rules[0].to[0].operation.paths`. */
  readonly field: string;
  readonly notField: string;
}

export type Attribute =
  | { readonly kind: 'source.principal' }
  | InTrustDomain
  | { readonly kind: 'source.trustDomain' }
  | { readonly kind: 'source.ip' }
  | { readonly kind: 'remote.ip' }
  | { readonly kind: 'destination.ip' }
  | { readonly kind: 'destination.port' }
  | { readonly kind: 'connection.sni' }
  | { readonly kind: 'request.host' }
  | { readonly kind: 'request.method' }
  | { readonly kind: 'request.path' }
  | { readonly kind: 'request.header'; readonly name: string }
  /** Who a verified token speaks for: its issuer and subject. */
  | { readonly kind: 'request.auth.principal' }
  /** A claim of a verified token, by its way from the top: `['realm_access', 'roles']`. A text, or a list of them. */
  | { readonly kind: 'request.auth.claim'; readonly path: readonly string[] }
  /** What another filter of this Envoy has written down: `envoy.filters.http.x`. */
  | { readonly kind: 'filter.metadata'; readonly filter: string; readonly key: string };

/** Names of a mesh's own workloads. */
export interface InTrustDomain {
  readonly kind: 'source.namespace' | 'source.serviceAccount';
  /**
   * The names of the mesh's trust domain: what an ALLOW names is there, in no federated one. Absent: as parsed, and
   * nothing is said about trust domains yet.
   */
  readonly within?: readonly string[];
}

export type TextMatcher =
  | { readonly kind: 'exact'; readonly value: string }
  | { readonly kind: 'prefix'; readonly value: string }
  | { readonly kind: 'suffix'; readonly value: string }
  | { readonly kind: 'present' };

export type Matcher =
  | TextMatcher
  | { readonly kind: 'template'; readonly value: string }
  | { readonly kind: 'cidr'; readonly address: string; readonly prefixLength: number }
  | { readonly kind: 'port'; readonly value: number }
  /** `sa` (namespace undefined: the policy's own at parse time is filled in) or `ns/sa`. */
  | { readonly kind: 'serviceAccount'; readonly namespace: string; readonly name: string }
  /** `<iss>/<sub>`, cut at the last `/`. */
  | { readonly kind: 'requestPrincipal'; readonly issuer: TextMatcher; readonly subject: TextMatcher }
  /** Some entry of a list; of filter metadata, whose texts and lists are told apart by the policy. */
  | { readonly kind: 'listItem'; readonly item: TextMatcher };

export type Severity = 'error' | 'warning';

/** One finding about a document. */
export interface Issue {
  readonly severity: Severity;
  /** Of warnings that a pipeline may want to tell apart: `shadowed-rule`. */
  readonly code?: string;
  /** Exact path of the field: `spec.rules[2].to[0].operation.paths[1]`. Empty: the whole document. */
  readonly path: string;
  /** What was found, what is allowed, what to do. */
  readonly message: string;
}

export type Parsed =
  | { readonly ok: true; readonly policy: AuthorizationPolicy; readonly issues: readonly Issue[] }
  | { readonly ok: false; readonly issues: readonly Issue[] };

/** What holds for the whole mesh. */
export interface MeshSettings {
  readonly trustDomain: string;
  readonly rootNamespace: string;
  readonly defaultAction: 'allow' | 'deny';
  /** Further names of this mesh's trust domain: a principal under one of them stands for all of them. */
  readonly trustDomainAliases?: readonly string[];
  /** Whom CUSTOM policies can ask, each under a name of its own. */
  readonly authorizers?: readonly ExternalAuthorizer[];
  /** Trust domains that are trusted beside the own, each apart. Policies name their callers in full. */
  readonly federation?: readonly FederatedTrustDomain[];
  /** Trust domains of which there was a bundle, and is none now; said by no configuration. */
  readonly endedTrustDomains?: readonly string[];
}

/** A trust domain that is trusted beside the own, and where its bundle comes from. */
export interface FederatedTrustDomain {
  readonly trustDomain: string;
  /** Of its bundle endpoint: `https:`, without user name and password. */
  readonly url: string;
  readonly profile:
    | { readonly type: 'https_web' }
    | { readonly type: 'https_spiffe'; readonly endpointSpiffeId: string };
  /** A bundle in SPIFFE's JSON form, to begin with. */
  readonly bootstrapBundle?: string;
}

/** An external authorizer, as `extensionProviders` declares it. */
export interface ExternalAuthorizer {
  readonly name: string;
  readonly protocol: 'grpc' | 'http';
  readonly host: string;
  readonly port: number;
  readonly timeoutMs: number;
  /** Whether requests pass when it cannot be asked. */
  readonly failOpen: boolean;
  /** The HTTP status for a request that it could not be asked about. */
  readonly statusOnError: number;
  /** How much of a request's body it is shown; absent: nothing. */
  readonly body?:
    | { readonly maxBytes: number; readonly allowPartial: boolean; readonly asBytes: boolean }
    | undefined;
  readonly http?: {
    readonly pathPrefix: string;
    /** Names of headers, `x-*` and `*-x` among them, lower case. */
    readonly sentHeaders: readonly string[];
    readonly addedHeaders: Readonly<Record<string, string>>;
    readonly upstreamOnAllow: readonly string[];
    readonly downstreamOnDeny: readonly string[];
    readonly downstreamOnAllow: readonly string[];
  };
}

export type Protocol = 'http' | 'tcp';

/** The workload that enforces. */
export interface Target {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** Whom every workload denies, whatever its policies say: first of all DENY rules. */
export interface QuarantineRule {
  /** Name of the entry that it comes from; letters, digits and dashes. */
  readonly entry: string;
  readonly reason: string;
  readonly callers: QuarantinedCallers;
}

export type QuarantinedCallers =
  | { readonly kind: 'id'; readonly uri: string }
  /** SHA-256 of the leaf's DER, lower-case hex. */
  | { readonly kind: 'certificate'; readonly digest: string }
  /** By what the Subject of an SVID says (`subjectText`). */
  | { readonly kind: 'pod'; readonly uid: string }
  | { readonly kind: 'node'; readonly node: string }
  /** Of the own trust domain, or of one SPIFFE ID. */
  | { readonly kind: 'issued-before'; readonly atMs: number; readonly id?: string }
  /** Of the workload that is itself in quarantine. */
  | { readonly kind: 'everyone' };

/** A peer's certificate, as Envoy shows it to rules. */
export interface PeerCertificate {
  /** SHA-256 of its DER, lower-case hex. */
  readonly digest: string;
  /** RFC 2253; empty: it has none. */
  readonly subject: string;
}

/** What a caller asks, as Envoy would see it. */
export interface Request {
  readonly protocol: Protocol;
  /** SPIFFE ID of the authenticated peer; undefined: plaintext or unauthenticated. */
  readonly principal: string | undefined;
  /** The peer's; absent: not known, and none of those that are in quarantine. */
  readonly certificate?: PeerCertificate | undefined;
  readonly sourceIp: string | undefined;
  readonly remoteIp: string | undefined;
  readonly destinationIp: string | undefined;
  readonly destinationPort: number | undefined;
  readonly sni: string | undefined;
  readonly method: string | undefined;
  /** As sent, query included. Judged normalized. */
  readonly path: string | undefined;
  readonly host: string | undefined;
  /** Lower-case names; several values of one header in the order received. */
  readonly headers: Readonly<Record<string, readonly string[]>>;
  /** The payload of its verified token, as Envoy's jwt_authn leaves it to the rules. Absent: it has none. */
  readonly claims?: unknown;
  /** Dynamic metadata by the name of the filter that wrote it: `{'envoy.filters.http.x': {key: value}}`. */
  readonly filterMetadata?: Readonly<Record<string, unknown>>;
  /** What the external authorizer answers, if a CUSTOM rule asks it. Absent: not known, decided as if it allowed. */
  readonly authorizerSays?: 'ALLOW' | 'DENY';
  /** When it arrives; milliseconds since the epoch. Absent: as the evaluator's clock says. */
  readonly nowMs?: number;
}

/** A rule by its place. */
export interface RuleRef {
  readonly namespace: string;
  readonly policy: string;
  readonly rule: number;
}

/** What Envoy knows of every request, and a question may leave out. */
export type Unsaid =
  | 'source.ip'
  | 'remote.ip'
  | 'destination.ip'
  | 'destination.port'
  | 'request.host'
  | 'request.method'
  | 'request.path';

export interface Decision {
  readonly verdict: 'ALLOW' | 'DENY';
  /** The rule that decided; undefined when no rule did (default action, or no ALLOW rule matched). */
  readonly decidedBy: RuleRef | undefined;
  /** The entry of the quarantine that decided, before any rule of a policy. */
  readonly quarantine?: string;
  /** The caller's trust domain, where that is what decided: there is no bundle of it any more. */
  readonly ended?: string;
  /** In words, for an operator. */
  readonly reason: string;
  /** AUDIT rules that matched. */
  readonly audited: readonly RuleRef[];
  /** What the shadow rules would have said, if any selects the workload. */
  readonly shadow:
    | {
        readonly verdict: 'ALLOW' | 'DENY';
        readonly decidedBy: RuleRef | undefined;
        readonly quarantine?: string;
        readonly ended?: string;
      }
    | undefined;
  /** A CUSTOM rule sends the request to an external authorizer first, who may deny whatever this decision says. */
  readonly asks?: { readonly provider: string; readonly rule: RuleRef };
  /** The verdict could be the other one: this rule looks at something that the request leaves out. */
  readonly undecided?: { readonly rule: RuleRef; readonly attribute: Unsaid } | undefined;
  /** For a denial that no rule made: the ALLOW rule that came closest, and what failed in it. */
  readonly nearest: { readonly rule: RuleRef; readonly failed: readonly string[] } | undefined;
}
