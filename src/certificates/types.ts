import type * as grpc from '@grpc/grpc-js';
import type protobuf from 'protobufjs';
import type { ProvenWorkload, Refusal, Verdict } from '../attestation/index.ts';
import type { IssuedChain } from '../authority/index.ts';
import type { TrustBundle } from '../identity/index.ts';
import type { RequestRate } from './request-rate.ts';
import type { ValidityBounds } from './validity.ts';

/** A field of the request that was not taken; `rate`: one too many of this pod; `queue`: of all; `proof`: holds no more. */
export type RefusedField = 'message' | 'csr' | 'validity' | 'metadata' | 'rate' | 'queue' | 'proof';

/** Why a proven workload gets no certificate for what it sent. */
export interface RequestRefusal {
  readonly field: RefusedField;
  /** For the caller and the log: what was found and what is allowed. Never a key or a token. */
  readonly detail: string;
}

/** What a caller showed. */
export interface Credentials {
  /** From `authorization: Bearer ...`. Never logged. */
  readonly bearer: string | undefined;
  /** Its IP address without port, where the transport knows it. */
  readonly peerAddress: string | undefined;
}

/** One call of `CreateCertificate`, whatever brought it. */
export interface CertificateCall {
  readonly credentials: Credentials;
  /** An `IstioCertificateRequest`. Nothing of it is read before the caller is proven. */
  readonly message: Buffer;
  /** Whether its sender went away. */
  cancelled(): boolean;
}

/** How a call ends: an `IstioCertificateResponse`, or a status. */
export type CertificateAnswer = { readonly message: Buffer } | CertificateStatus;

/** A status as gRPC says it. */
export interface CertificateStatus {
  readonly code: grpc.status;
  readonly details: string;
  /** Trailing metadata, ASCII. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/** What the authority is asked for: a certificate for a proven workload. */
export interface SigningRequest {
  readonly workload: ProvenWorkload;
  /** PEM. */
  readonly csr: string;
  readonly ttlMs: number;
}

/** A certificate that was written for a workload, and is about to leave. */
export interface Issuance {
  readonly workload: ProvenWorkload;
  readonly issued: IssuedChain;
  readonly peerAddress: string | undefined;
  /** From when its caller was proven, ms. */
  readonly tookMs: number;
}

/** What happened to requests, as data that flows back. Must not throw or block. */
export interface CertificateObserver {
  /** Those that are answered together, in order of arrival; before any of them is. */
  issued(issuances: readonly Issuance[]): void;
  /** As often as the caller asks: bound what you write. */
  refused(workload: ProvenWorkload, refusal: RequestRefusal): void;
  /** The proof could not be decided, or the authority cannot sign; the caller is told to try again. */
  failed(error: unknown): void;
}

/** What a caller is told who gets nothing. */
export interface SaidRefusal {
  readonly code:
    | 'UNAUTHENTICATED'
    | 'PERMISSION_DENIED'
    | 'UNAVAILABLE'
    | 'RESOURCE_EXHAUSTED'
    | 'INVALID_ARGUMENT';
  readonly message: string;
  /** When to come back, ms from now; absent: as it likes. */
  readonly retryAfterMs?: number | undefined;
}

export interface CertificateServiceOptions {
  /** Has `istio.v1.auth`, field names kept as in the proto file. */
  readonly root: protobuf.Root;
  /** Proves the caller, before anything of its message is read; tells of refusals itself. */
  readonly attest: (credentials: Credentials) => Promise<Verdict>;
  /** Asked again right before it is signed for: what of its proof holds no more. Never throws. */
  readonly recheck: (workload: ProvenWorkload) => Refusal | undefined;
  readonly bundle: () => TrustBundle;
  /** As `Authority.issueForCsrs`: what one fails by is in its place. */
  readonly sign: (requests: readonly SigningRequest[]) => readonly (IssuedChain | Error)[];
  readonly validity: ValidityBounds;
  readonly rate: RequestRate;
  /** How a refusal is said in gRPC. */
  readonly statusOf: (refusal: SaidRefusal) => CertificateStatus;
  /** Monotonic, ms. */
  readonly ticks: () => number;
  readonly observer: CertificateObserver;
}
