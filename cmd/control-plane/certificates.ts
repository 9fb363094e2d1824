import type protobuf from 'protobufjs';
import type { Attestor, WorkloadWatch } from '../../src/attestation/index.ts';
import type { AuditEvent } from '../../src/audit/index.ts';
import type { Authority } from '../../src/authority/index.ts';
import {
  CertificateService,
  type CertificateObserver,
  type Issuance,
  type RequestRate,
} from '../../src/certificates/index.ts';
import { statusOf } from '../../src/discovery/index.ts';
import { keyOf } from '../../src/mesh/index.ts';
import { attestCaller } from './authenticator.ts';
import { svidTtlBounds, type ControlPlaneConfig } from './config.ts';
import { holderOf, issuance, type Witnesses } from './observers.ts';
import type { Throttle } from './throttle.ts';

/** The call by which Istio's agents ask for a certificate, with the same proof as a stream's. */
export function openCertificates(parts: {
  readonly config: Pick<ControlPlaneConfig, 'svidTtlMs'>;
  readonly authority: Authority;
  readonly schema: protobuf.Root;
  readonly attestor: Attestor;
  readonly watch: WorkloadWatch;
  readonly witnesses: Witnesses;
  readonly rate: RequestRate;
  /** Of callers, by peer address. */
  readonly callers: Throttle;
  /** Of refusals, by client. */
  readonly refusals: Throttle;
}): CertificateService {
  const { config, authority, attestor, witnesses } = parts;
  const attestation = { ...witnesses, attestor, refusals: parts.callers };
  return new CertificateService({
    root: parts.schema,
    attest: (credentials) => attestCaller(attestation, credentials),
    recheck: (workload) => parts.watch.recheck(workload),
    bundle: () => authority.bundle,
    sign: (requests) =>
      authority.issueForCsrs(
        requests.map(({ workload: { id, pod }, csr, ttlMs }) => ({ id, csr, ttlMs, holder: holderOf(pod) })),
      ),
    validity: { ...svidTtlBounds, svidTtlMs: config.svidTtlMs },
    rate: parts.rate,
    statusOf,
    ticks: () => performance.now(),
    observer: certificateObserver(witnesses, parts.refusals),
  });
}

function certificateObserver({ audit, metrics, log }: Witnesses, refusals: Throttle): CertificateObserver {
  const counted = metrics.issued.labels('request');
  return {
    issued: (issuances): void => {
      audit.recordAll(issuances.map(eventOf));
      for (const { workload, issued, tookMs } of issuances) {
        counted.inc();
        metrics.requestSeconds.observe(tookMs / 1_000);
        const { uri: id } = issued.id;
        log.debug({ pod: keyOf(workload.pod), id, serial: issued.serial, reason: 'request' }, 'SVID issued');
      }
    },
    refused: (workload, { field, detail }): void => {
      const pod = keyOf(workload.pod);
      const id = workload.id.uri;
      metrics.refused.inc({ factor: field });
      refusals.tell(`${pod} requests`, 1, (leftOut) => {
        audit.record({ event: 'svid.refused', actor: pod, id, factor: field, detail, leftOut });
        log.warn({ pod, id, field, leftOut }, `certificate request refused: ${detail}`);
      });
    },
    failed: (error): void => {
      log.error({ err: error }, 'a certificate request failed inside the control plane');
    },
  };
}

function eventOf({ workload, issued, peerAddress }: Issuance): AuditEvent {
  return {
    ...issuance(issued),
    actor: keyOf(workload.pod),
    podUid: workload.pod.uid,
    reason: 'request',
    peer: peerAddress ?? 'unknown',
    tokenId: workload.tokenId,
    factors: workload.factors.map(({ factor, outcome }) => ({ factor, outcome })),
  };
}
