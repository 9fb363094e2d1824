/** `countersign.operator.v1` as protobufjs gives it (field names as in the proto). */

export interface IssueTokenRequest {
  readonly namespace: string;
  readonly pod: string;
  readonly audience: string;
  readonly ttl_seconds: number;
}

export interface IssueTokenResponse {
  readonly token: string;
}

export type ListProxiesRequest = Readonly<Record<string, never>>;

export interface ListProxiesResponse {
  readonly proxies: readonly ProxyState[];
}

export interface ProxyState {
  readonly pod: string;
  readonly node_id: string;
  readonly method: string;
  readonly serial: string;
  readonly renew_at: string;
  readonly resources: readonly ResourceState[];
}

export interface ResourceState {
  readonly type_url: string;
  readonly name: string;
  readonly version: string;
  readonly acknowledged: boolean;
  readonly rejection: string;
}

export interface RenewSvidRequest {
  readonly namespace: string;
  readonly pod: string;
}

export interface RenewSvidResponse {
  readonly old_serial: string;
  readonly new_serial: string;
}

export interface RotateRootRequest {
  readonly step: string;
  readonly force: boolean;
  readonly dry_run: boolean;
}

export interface RotateRootResponse {
  readonly state: string;
  readonly since: string;
  readonly signing: RootState | null;
  readonly other: RootState | null;
  readonly other_ends: string;
  readonly lagging: readonly string[];
  readonly plan: readonly string[];
  readonly taken: boolean;
}

export interface RootState {
  readonly fingerprint: string;
  readonly not_before: string;
  readonly not_after: string;
}

export interface AddQuarantineRequest {
  readonly id: string;
  readonly pod: string;
  readonly pod_uid: string;
  readonly node: string;
  readonly certificate: string;
  readonly issued_before: string;
  readonly reason: string;
  readonly by: string;
  readonly for_seconds: number;
  readonly forever: boolean;
  readonly force: boolean;
}

export interface QuarantineState {
  readonly entries: readonly QuarantineEntry[];
  readonly proxies: number;
  readonly enforced: number;
  readonly lagging: readonly string[];
  readonly replicas: number;
  readonly unshared: string;
  readonly not_kept: string;
}

export interface AddQuarantineResponse extends QuarantineState {
  readonly added: string;
}

export type ListQuarantineRequest = Readonly<Record<string, never>>;

export interface RemoveQuarantineRequest {
  readonly name: string;
  readonly by: string;
}

export interface QuarantineEntry {
  readonly name: string;
  readonly kind: string;
  readonly subject: string;
  readonly id: string;
  readonly pod: string;
  readonly pod_uid: string;
  readonly node: string;
  readonly certificate: string;
  readonly issued_before: string;
  readonly reason: string;
  readonly by: string;
  readonly added: string;
  readonly expires: string;
}

export interface ListFederationResponse {
  readonly domains: readonly FederatedDomainState[];
}

export interface FederatedDomainState {
  readonly trust_domain: string;
  readonly url: string;
  readonly profile: string;
  readonly sequence: string;
  readonly roots: readonly string[];
  readonly fetched_at: string;
  readonly next_try: string;
  readonly failure: string;
}

export type CheckExpiryRequest = Readonly<Record<string, never>>;

export interface CheckExpiryResponse {
  readonly now: string;
  readonly links: readonly LinkState[];
}

export interface LinkState {
  readonly kind: string;
  readonly name: string;
  readonly serves: string;
  readonly state: string;
  readonly ends: string;
  readonly detail: string;
  readonly run: string;
}

/** Request and response of each method. */
export interface OperatorMethods {
  readonly IssueToken: readonly [IssueTokenRequest, IssueTokenResponse];
  readonly ListProxies: readonly [ListProxiesRequest, ListProxiesResponse];
  readonly RenewSvid: readonly [RenewSvidRequest, RenewSvidResponse];
  readonly ListFederation: readonly [Readonly<Record<string, never>>, ListFederationResponse];
  readonly RotateRoot: readonly [RotateRootRequest, RotateRootResponse];
  readonly AddQuarantine: readonly [AddQuarantineRequest, AddQuarantineResponse];
  readonly ListQuarantine: readonly [ListQuarantineRequest, QuarantineState];
  readonly RemoveQuarantine: readonly [RemoveQuarantineRequest, QuarantineState];
  readonly CheckExpiry: readonly [CheckExpiryRequest, CheckExpiryResponse];
}

export type OperatorMethod = keyof OperatorMethods;
