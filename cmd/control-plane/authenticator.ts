import type { Attestor, ProvenWorkload, Verdict, WorkloadWatch } from '../../src/attestation/index.ts';
import type { AuditLog } from '../../src/audit/index.ts';
import type { Admission, Authenticator, Credentials, StreamEnd } from '../../src/discovery/index.ts';
import { keyOf } from '../../src/mesh/index.ts';
import type { Proxies } from '../../src/proxy/index.ts';
import type { Logger, Metrics } from '../../src/telemetry/index.ts';
import type { Throttle } from './throttle.ts';

/** What it takes to prove a caller, and to tell of those who are refused. */
export interface AttestationParts {
  readonly attestor: Attestor;
  readonly audit: AuditLog;
  readonly metrics: Metrics;
  readonly log: Logger;
  /** By peer address: whoever reaches the port can be refused. */
  readonly refusals: Throttle;
}

export interface AuthenticatorParts extends AttestationParts {
  readonly watch: WorkloadWatch;
  readonly proxies: Proxies;
}

/** The one way in, for a stream and for a call: proves the caller, and tells log, metrics and audit of a refusal. */
export async function attestCaller(parts: AttestationParts, credentials: Credentials): Promise<Verdict> {
  const start = performance.now();
  const verdict = await parts.attestor.attest(credentials.bearer, { address: credentials.peerAddress });
  parts.metrics.admissionSeconds.observe((performance.now() - start) / 1_000);
  if (verdict.ok) return verdict;
  const { factor, detail, claimed } = verdict.refusal;
  const actor = claimed === undefined ? 'unknown' : `${claimed.namespace}/${claimed.pod ?? '?'}`;
  const peer = credentials.peerAddress ?? 'unknown';
  parts.metrics.refused.inc({ factor });
  parts.refusals.tell(peer, 1, (leftOut) => {
    parts.audit.record({ event: 'workload.refused', actor, peer, factor, detail, leftOut });
    parts.log.warn({ actor, peer, factor, leftOut }, `caller refused: ${detail}`);
  });
  return verdict;
}

/** Joins attestation to discovery: a stream's token becomes a proven workload, and that workload's view. */
export function createAuthenticator(parts: AuthenticatorParts): Authenticator {
  return {
    admit: async (credentials, signal): Promise<Admission> => {
      const verdict = await attestCaller(parts, credentials);
      if (!verdict.ok) {
        const { code, publicMessage: message, retryAfterMs } = verdict.refusal;
        return { ok: false, end: { code, message, retryAfterMs } };
      }
      signal.throwIfAborted();
      return { ok: true, session: openSession(parts, verdict.workload, credentials) };
    },
  };
}

function openSession(
  parts: AuthenticatorParts,
  workload: ProvenWorkload,
  credentials: Credentials,
): Extract<Admission, { ok: true }>['session'] {
  const actor = keyOf(workload.pod);
  parts.audit.record({
    event: 'workload.admitted',
    actor,
    id: workload.id.uri,
    peer: credentials.peerAddress ?? 'unknown',
    tokenId: workload.tokenId,
    factors: workload.factors.map(({ factor, outcome }) => ({ factor, outcome })),
  });
  const revoked = new AbortController();
  const lease = parts.proxies.open(workload, () => parts.watch.recheck(workload)?.detail);
  const unwatch = parts.watch.watchRevocation(workload, (refusal) => {
    parts.metrics.refused.inc({ factor: refusal.factor });
    parts.audit.record({
      event: 'workload.refused',
      actor,
      peer: credentials.peerAddress ?? 'unknown',
      factor: refusal.factor,
      detail: refusal.detail,
      leftOut: 0,
    });
    parts.log.warn({ actor, factor: refusal.factor }, `stream ended: ${refusal.detail}`);
    const reason: StreamEnd = { code: refusal.code, message: refusal.publicMessage };
    revoked.abort(reason);
  });
  return {
    client: actor,
    view: lease.proxy,
    expiresAtMs: workload.tokenExpiresAtMs,
    revoked: revoked.signal,
    closed: (): void => {
      unwatch();
      lease.release();
    },
  };
}
