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

/** Request and response of each method. */
export interface OperatorMethods {
  readonly IssueToken: readonly [IssueTokenRequest, IssueTokenResponse];
  readonly ListProxies: readonly [ListProxiesRequest, ListProxiesResponse];
  readonly RenewSvid: readonly [RenewSvidRequest, RenewSvidResponse];
  readonly RotateRoot: readonly [RotateRootRequest, RotateRootResponse];
}

export type OperatorMethod = keyof OperatorMethods;
