import type { PeerAddressMode, TokenReviewMode } from '../../src/attestation/index.ts';
import type { DiscoveryLimits } from '../../src/discovery/index.ts';
import type { TrustDomain } from '../../src/identity/index.ts';
import type { MeshSettings } from '../../src/policy/index.ts';
import type { SettingsFlags } from './mesh-config.ts';
import type { LogFormat } from '../../src/telemetry/index.ts';

/** Where an operator's CA comes from. */
export type CaConfig =
  | {
      readonly kind: 'files';
      /** Undefined: the key is in a token, and its root is made of it. */
      readonly cert: string | undefined;
      /** A file, or the URI of a key in a token. */
      readonly key: string;
      readonly roots: string | undefined;
    }
  | { readonly kind: 'secret'; readonly name: string };

/** Where partners fetch the trust bundle, and how this endpoint proves itself. */
export interface BundleEndpointConfig {
  readonly listen: ListenAddress;
  /** Of `https_web`; undefined: `https_spiffe`, by an SVID of the control plane's own. */
  readonly web: { readonly certFile: string; readonly keyFile: string } | undefined;
  readonly refreshHintMs: number;
}

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** A control plane's whole configuration, checked. */
export interface ControlPlaneConfig {
  /** Of manifests; undefined: an API server is watched. */
  readonly directory: string | undefined;
  /** Of that API server; undefined: the one of the cluster that this runs in. */
  readonly kubeconfig: string | undefined;
  /** Of the control plane itself, in the cluster; undefined: as its access to the API server says. */
  readonly namespace: string | undefined;
  readonly dataDir: string;
  readonly listen: ListenAddress;
  readonly admin: ListenAddress;
  /** Of the validating webhook; undefined: none. */
  readonly admission: ListenAddress | undefined;
  /** Undefined: none. */
  readonly bundleEndpoint: BundleEndpointConfig | undefined;
  readonly trustDomain: TrustDomain;
  /** At the start. */
  readonly settings: MeshSettings;
  /** The file that further versions of the settings come from. */
  readonly meshConfig: { readonly file: string; readonly flags: SettingsFlags } | undefined;
  /** Undefined: the root is the control plane's own. */
  readonly ca: CaConfig | undefined;
  readonly svidTtlMs: number;
  /** Of a root that is made here. */
  readonly rootTtlMs: number;
  /** Undefined: the root is replaced by an operator alone. */
  readonly rotateRootAtAgeMs: number | undefined;
  /** Between two fetches of a token issuer's keys, where its server names no time. */
  readonly jwksRefreshMs: number;
  readonly audience: string;
  /** Undefined: our own, or the one that the API server names. */
  readonly tokenIssuer: string | undefined;
  readonly peerAddress: PeerAddressMode;
  readonly tokenReview: TokenReviewMode;
  /** DNS names of the control plane's own certificate. The first is what `bootstrap` verifies by default. */
  readonly serverNames: readonly string[];
  readonly auditLog: string | undefined;
  readonly limits: DiscoveryLimits;
  /** Callers being proven at once. */
  readonly maxConcurrentAttestations: number;
  /** CreateCertificate calls of one pod; Infinity: no bound. */
  readonly maxRequestsPerMinute: number;
  readonly logFormat: LogFormat;
  readonly logLevel: string;
}

/** The name that Envoys verify the control plane's certificate against, unless told otherwise. */
export const defaultServerName = 'countersign.countersign-system.svc';

/** Of the control plane itself, where nothing says otherwise. */
export const defaultNamespace = 'countersign-system';

export const svidTtlBounds: { readonly minMs: number; readonly maxMs: number } = {
  minMs: 60_000,
  maxMs: 24 * 3_600_000,
};
