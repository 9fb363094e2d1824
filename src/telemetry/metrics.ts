import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';

/** Every metric of the control plane, in one place; exposed at `/metrics` in Prometheus' text form. */
export interface Metrics {
  readonly registry: Registry;
  readonly issued: Counter<'reason'>;
  readonly refused: Counter<'factor'>;
  readonly admissionSeconds: Histogram;
  readonly issuanceSeconds: Histogram;
  readonly issuanceWaitSeconds: Histogram;
  readonly requestSeconds: Histogram;
  readonly streams: Gauge<'method'>;
  readonly pushes: Counter<'type'>;
  readonly pushedBytes: Counter<'type'>;
  readonly acks: Counter<'type'>;
  readonly nacks: Counter<'type'>;
  readonly ackSeconds: Histogram<'type'>;
  readonly generation: Gauge;
  readonly objects: Gauge<'kind'>;
  readonly problems: Gauge;
  readonly judgements: Counter<'kind' | 'outcome'>;
  readonly statusWrites: Counter;
  readonly notAfter: Gauge<'certificate'>;
  readonly linksDue: Gauge<'state'>;
  readonly leader: Gauge;
  readonly unfollowed: Gauge;
  readonly silentReplicas: Gauge;
  readonly clockSkew: Gauge;
  readonly suspended: Gauge;
  readonly caRefused: Gauge;
  readonly signerFailed: Gauge;
  readonly quarantine: Gauge;
  readonly bundleWrites: Counter;
  readonly bundleConflicts: Counter;
  readonly jwksLastGood: Gauge<'uri'>;
  readonly jwksFailures: Counter<'uri'>;
  readonly federationSequence: Gauge<'trust_domain'>;
  readonly federationFetched: Gauge<'trust_domain'>;
  readonly federationFailures: Counter<'trust_domain'>;
  readonly bundleRequests: Counter<'code'>;
  readonly bundleCertificateFailures: Counter;
}

const latencyBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const counter = <L extends string = never>(name: string, help: string, ...labelNames: L[]): Counter<L> =>
    new Counter<L>({ name: `countersign_${name}`, help, labelNames, registers });
  const gauge = <L extends string = never>(name: string, help: string, ...labelNames: L[]): Gauge<L> =>
    new Gauge<L>({ name: `countersign_${name}`, help, labelNames, registers });
  const histogram = <L extends string = never>(
    name: string,
    help: string,
    ...labelNames: L[]
  ): Histogram<L> =>
    new Histogram<L>({ name: `countersign_${name}`, help, labelNames, registers, buckets: latencyBuckets });
  return {
    registry,
    issued: counter(
      'svids_issued_total',
      'SVIDs issued, by why (first, renewal, ordered, request)',
      'reason',
    ),
    refused: counter(
      'refusals_total',
      'Callers, renewals and certificate requests refused, by what failed',
      'factor',
    ),
    admissionSeconds: histogram('admission_seconds', 'Time to prove a caller'),
    issuanceSeconds: histogram('issuance_seconds', 'Time to make a key and sign an SVID'),
    issuanceWaitSeconds: histogram(
      'issuance_wait_seconds',
      'Time that an SVID had to wait before it was made, of those that had to',
    ),
    requestSeconds: histogram(
      'request_seconds',
      'From when the caller of a certificate request was proven until its certificate is written',
    ),
    streams: gauge('xds_streams', 'Open xDS streams', 'method'),
    pushes: counter('xds_pushes_total', 'Responses sent', 'type'),
    pushedBytes: counter('xds_pushed_bytes_total', 'Bytes of responses sent', 'type'),
    acks: counter('xds_acks_total', 'Responses that Envoys acknowledged', 'type'),
    nacks: counter('xds_nacks_total', 'Responses that Envoys rejected', 'type'),
    ackSeconds: histogram('xds_ack_seconds', 'From a response to its acknowledgement', 'type'),
    generation: gauge('mesh_generation', 'Generation of the mesh model: grows with each change'),
    objects: gauge('mesh_objects', 'Objects known', 'kind'),
    problems: gauge('source_problems', 'Documents that were refused and are not in force as written'),
    judgements: counter(
      'webhook_judgements_total',
      'Policies that the webhook was asked about, by what it said (allowed, warned, refused)',
      'kind',
      'outcome',
    ),
    statusWrites: counter('policy_status_writes_total', 'Statuses of policies written'),
    notAfter: gauge(
      'certificate_not_after_seconds',
      'When the first certificate of this kind ends (Unix time): root, trusted-root, ca, intermediate, serving, webhook, bundle-endpoint, svid, federated-root',
      'certificate',
    ),
    linksDue: gauge(
      'links_due',
      'Certificates, roots and keys that countersign doctor has something to say of, by state (soon, expired, unknown)',
      'state',
    ),
    leader: gauge('leader', 'Whether this replica leads: 1, or 0'),
    unfollowed: gauge(
      'unfollowed_resources',
      'Resources of the API server that cannot be followed now: what is known of them stays in force',
    ),
    clockSkew: gauge('clock_skew_seconds', "How far the clock is ahead of the API server's"),
    silentReplicas: gauge('silent_replicas', 'Replicas that are ready and do not report, as far as is known'),
    suspended: gauge(
      'signing_suspended',
      'Whether nothing is signed, as the root is gone or damaged: 1, or 0',
    ),
    caRefused: gauge(
      'ca_refused',
      "Whether the operator's CA as it is now was refused, and an earlier one is in use: 1, or 0",
    ),
    signerFailed: gauge(
      'ca_signer_failed',
      'Whether the token could sign no new intermediate when it was asked last: 1, or 0',
    ),
    quarantine: gauge('quarantine_entries', 'Entries of the quarantine in force on this replica'),
    bundleWrites: counter(
      'bundle_writes_total',
      'ConfigMaps and ClusterTrustBundles written with the trust bundle',
    ),
    bundleConflicts: counter(
      'bundle_conflicts_total',
      'Such objects found to be those of another mesh, and left alone',
    ),
    jwksLastGood: gauge(
      'jwks_last_good_seconds',
      'When the keys in force of a token issuer were fetched (Unix time; 0: there are none)',
      'uri',
    ),
    federationSequence: gauge(
      'federation_bundle_sequence',
      'Sequence of the bundle in force of a federated trust domain (-1: there is none)',
      'trust_domain',
    ),
    federationFetched: gauge(
      'federation_fetched_seconds',
      'When the bundle of a federated trust domain was fetched last (Unix time; 0: never)',
      'trust_domain',
    ),
    federationFailures: counter(
      'federation_failures_total',
      'Bundles of federated trust domains that could not be fetched or were refused',
      'trust_domain',
    ),
    bundleRequests: counter('bundle_endpoint_requests_total', 'Answers of the bundle endpoint', 'code'),
    bundleCertificateFailures: counter(
      'bundle_endpoint_certificate_failures_total',
      'Certificates for the bundle endpoint that were refused: the one before stayed',
    ),
    jwksFailures: counter('jwks_failures_total', 'Fetches of token issuers’ keys that failed', 'uri'),
  };
}
