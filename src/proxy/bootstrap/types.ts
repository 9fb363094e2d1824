import type { ExternalAuthorizer } from '../../policy/index.ts';

/** What the bootstrap of one Envoy is made from. Everything is checked already: see `parse.ts`. */

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** `http` listeners speak HTTP/1.1 and HTTP/2; `tcp` ones pass bytes. */
export type ListenerProtocol = 'http' | 'tcp';

/** Takes mTLS from the mesh at `listen`, judges it, hands it in plaintext to the app. */
export interface Inbound {
  readonly protocol: ListenerProtocol;
  readonly listen: Endpoint;
  readonly app: Endpoint;
  /** The version of HTTP that the app speaks in plaintext, whatever the caller speaks. */
  readonly appHttp: 1 | 2;
}

/** Takes plaintext from the app at `listen`, speaks mTLS with `upstream`, which must prove to be `spiffeId`. */
export interface Outbound {
  readonly protocol: ListenerProtocol;
  readonly listen: Endpoint;
  readonly upstream: Endpoint;
  readonly spiffeId: string;
}

export interface BootstrapOptions {
  /** `namespace/name` of the pod: Envoy's node id, for people; the control plane trusts none of it. */
  readonly pod: string;
  readonly controlPlane: Endpoint;
  /** The name that the control plane's certificate is verified against. */
  readonly serverName: string;
  /** Path of the PEM bundle that the control plane's certificate is verified with. */
  readonly caFile: string;
  /** Path of the projected token; Envoy reads it afresh for each stream. */
  readonly tokenFile: string;
  readonly inbound: readonly Inbound[];
  readonly outbound: readonly Outbound[];
  /** Envoy's own admin port; always on loopback. 0: chosen by the system. */
  readonly adminPort: number;
  /** Where the JSON access log goes: a path, or `-` for stdout. */
  readonly accessLog: string;
  /** `sotw` or `delta` xDS. */
  readonly xds: 'sotw' | 'delta';
  /** Connections are closed at this age, so that none outlives the SVID that it was made with. In seconds. */
  readonly maxConnectionSeconds: number;
  /** Address that outbound connections come from; undefined: the system chooses. */
  readonly sourceAddress: string | undefined;
  /** Proxies in front of inbound HTTP listeners whose `x-forwarded-for` is believed; 0 or absent: none. */
  readonly trustedHops?: number;
  /** Inbound connections begin with a PROXY protocol header, which says where they come from. */
  readonly proxyProtocol?: boolean;
  /** Whom CUSTOM policies may ask: a cluster for each. */
  readonly authorizers: readonly ExternalAuthorizer[];
}

/** A value of Envoy's JSON configuration. */
export type Json = string | number | boolean | readonly Json[] | { readonly [key: string]: Json };
export interface JsonObject {
  readonly [key: string]: Json;
}
