/** The method that agents call. */
export const certificateMethod = '/istio.v1.auth.IstioCertificateService/CreateCertificate';
/** The method that sidecars call. */
export const deltaMethod = '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources';

export type BareProtocol = {
  /** Serves streams. @returns the port */
  readonly streams: readonly [Certificate & BareContent, number];
  /** Answers each call with these bytes, after one verification and one signature. @returns the port */
  readonly certificates: readonly [Certificate & { readonly answer: Uint8Array }, number];
  /** Serves handshakes alone. @returns the port */
  readonly handshakes: readonly [Certificate, number];
};

/** PEM. */
export interface Certificate {
  readonly chain: string;
  readonly key: string;
}

export interface BareContent {
  /** Answers a stream's first request with the first, the second with the rest. */
  readonly messages: readonly Uint8Array[];
  /** Written to every stream, one after the other, each time when the file is replaced. */
  readonly changes: readonly Uint8Array[];
  readonly watchedFile: string;
}

export const bareScript: URL = new URL('bare-server.ts', import.meta.url);
