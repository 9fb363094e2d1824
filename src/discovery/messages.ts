import type { Resource } from './types.ts';

/** The discovery API's messages, reduced to the fields that the engine reads and writes. Wire names. */

export interface Status {
  readonly code: number;
  readonly message: string;
}

/** What the requests of both variants have. */
export interface AnyRequest {
  /** `node.id`; only a stream's first request has to carry it. */
  readonly node_id: string;
  readonly type_url: string;
}

export interface DiscoveryRequest extends AnyRequest {
  readonly version_info: string;
  readonly resource_names: readonly string[];
  readonly response_nonce: string;
  /** Present: the response under `response_nonce` was rejected. */
  readonly error_detail: Status | undefined;
}

export interface DeltaDiscoveryRequest extends AnyRequest {
  readonly resource_names_subscribe: readonly string[];
  readonly resource_names_unsubscribe: readonly string[];
  readonly initial_resource_versions: ReadonlyMap<string, string>;
  readonly response_nonce: string;
  readonly error_detail: Status | undefined;
}

/** A name that is not served, and why. */
export interface NameError {
  readonly name: string;
  readonly code: 'NOT_FOUND' | 'PERMISSION_DENIED';
  readonly reason: string;
  /** False: it may come to be; there is just nothing now. */
  readonly refused: boolean;
}

/** A response of either variant before it is encoded. SotW ignores `removed`. */
export interface Outgoing {
  readonly typeUrl: string;
  readonly nonce: string;
  /** SotW: `version_info`. Delta: `system_version_info`, for people who debug. */
  readonly version: string;
  readonly resources: readonly Resource[];
  readonly removed: readonly string[];
  readonly errors: readonly NameError[];
}
