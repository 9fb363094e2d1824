import type { AuditEvent, AuditLog } from '../../src/audit/index.ts';
import type { IssuedChain } from '../../src/authority/index.ts';
import type { DiscoveryObserver } from '../../src/discovery/index.ts';
import type { SvidHolder } from '../../src/identity/index.ts';
import { keyOf, MESH_KINDS, type Mesh, type MeshNotice, type Pod } from '../../src/mesh/index.ts';
import { hash } from 'node:crypto';
import type { ProxiesObserver } from '../../src/proxy/index.ts';
import type { Logger, Metrics } from '../../src/telemetry/index.ts';
import type { Throttle } from './throttle.ts';

/** Where what happens is told: log, metrics, audit. */
export interface Witnesses {
  readonly audit: AuditLog;
  readonly metrics: Metrics;
  readonly log: Logger;
}

function shortType(typeUrl: string): string {
  return typeUrl.slice(typeUrl.lastIndexOf('.') + 1);
}

/** Names listed in one event, characters of each, and characters of what an Envoy says of a push. */
const MAX_LISTED = 20;
const MAX_LISTED_LENGTH = 256;
const MAX_REJECTION_LENGTH = 1_024;

function cut(text: string, length: number = MAX_LISTED_LENGTH): string {
  return text.length <= length ? text : `${text.slice(0, length)}…`;
}

/** What a client can make happen as fast as it can ask; by client. */
export interface ClientThrottles {
  readonly refusals: Throttle;
  readonly rejections: Throttle;
}

export function discoveryObserver(
  { audit, metrics, log }: Witnesses,
  mesh: Mesh,
  { refusals, rejections }: ClientThrottles,
): DiscoveryObserver {
  return {
    streamOpened: ({ method, client, streamId }): void => {
      metrics.streams.inc({ method });
      log.debug({ client, method, streamId }, 'stream opened');
    },
    streamClosed: ({ method, client, streamId, reason }): void => {
      metrics.streams.dec({ method });
      log.debug({ client, method, streamId, reason }, 'stream closed');
    },
    pushed: ({ typeUrl, bytes }): void => {
      const type = shortType(typeUrl);
      metrics.pushes.inc({ type });
      metrics.pushedBytes.inc({ type }, bytes);
    },
    acked: ({ typeUrl, latencyMs }): void => {
      const type = shortType(typeUrl);
      metrics.acks.inc({ type });
      metrics.ackSeconds.observe({ type }, latencyMs / 1_000);
    },
    nacked: ({ client, typeUrl, resources, message }): void => {
      const type = shortType(typeUrl);
      metrics.nacks.inc({ type });
      const { generation } = mesh;
      const names = [...resources.keys()];
      const detail = cut(message, MAX_REJECTION_LENGTH);
      rejections.tell(client, 1, (leftOut) => {
        log.error({ client, type, resources: names, leftOut }, `Envoy rejected a push: ${detail}`);
        audit.record({
          event: 'push.rejected',
          actor: client,
          type,
          resources: names,
          detail,
          generation,
          leftOut,
        });
      });
    },
    failed: ({ client, method, error }): void => {
      log.error({ client, method, err: error }, 'a stream failed inside the control plane');
    },
    refused: ({ client, typeUrl, names }): void => {
      const type = shortType(typeUrl);
      const resources = names
        .slice(0, MAX_LISTED)
        .map(({ name, reason }) => ({ name: cut(name), detail: cut(reason) }));
      const unlisted = names.length - resources.length;
      refusals.tell(client, names.length, (before) => {
        const leftOut = before + unlisted;
        log.warn({ client, type, resources, leftOut }, 'resources refused');
        audit.record({ event: 'resource.refused', actor: client, type, resources, leftOut });
      });
    },
  };
}

/** @param touch called after whatever may change which Envoys run what */
export function noticing(observer: DiscoveryObserver, touch: () => void): DiscoveryObserver {
  const then =
    <Event>(tell: (event: Event) => void) =>
    (event: Event): void => {
      tell(event);
      touch();
    };
  return {
    ...observer,
    streamOpened: then((event) => observer.streamOpened?.(event)),
    streamClosed: then((event) => observer.streamClosed?.(event)),
    pushed: then((event) => observer.pushed?.(event)),
    acked: then((event) => observer.acked?.(event)),
    nacked: then((event) => observer.nacked?.(event)),
  };
}

/** What the Subject of a pod's SVID says. */
export function holderOf({ uid, nodeName }: Pod): SvidHolder {
  return { podUid: uid, node: nodeName };
}

/** What an audit event says of every SVID, whoever it is for. */
export function issuance(
  svid: IssuedChain,
): Pick<Extract<AuditEvent, { event: 'svid.issued' }>, 'event' | 'id' | 'serial' | 'digest' | 'notAfter'> {
  const leaf = svid.chain[0];
  return {
    event: 'svid.issued',
    id: svid.id.uri,
    serial: svid.serial,
    digest: leaf === undefined ? '' : hash('sha256', leaf),
    notAfter: new Date(svid.notAfterMs).toISOString(),
  };
}

export function proxiesObserver({ audit, metrics, log }: Witnesses): ProxiesObserver {
  return {
    waited: (ms): void => metrics.issuanceWaitSeconds.observe(ms / 1_000),
    issued: (workload, svid, reason): void => {
      metrics.issued.inc({ reason });
      audit.record({
        ...issuance(svid),
        actor: keyOf(workload.pod),
        podUid: workload.pod.uid,
        reason,
        factors: workload.factors.map(({ factor, outcome }) => ({ factor, outcome })),
      });
      log.info({ pod: keyOf(workload.pod), id: workload.id.uri, serial: svid.serial, reason }, 'SVID issued');
    },
    refused: (workload, why): void => {
      metrics.refused.inc({ factor: 'renewal' });
      audit.record({
        event: 'svid.refused',
        actor: keyOf(workload.pod),
        id: workload.id.uri,
        factor: 'renewal',
        detail: why,
        leftOut: 0,
      });
      log.warn({ pod: keyOf(workload.pod), id: workload.id.uri }, `SVID refused: ${why}`);
    },
    failed: (workload, error): void => {
      log.error(
        { pod: keyOf(workload.pod), err: error },
        'the sidecar cannot be given what is right for it now: see err',
      );
    },
  };
}

/** Policy changes as audit events; object counts as metrics. `actor`: whoever changes the mesh. */
export function watchMesh(mesh: Mesh, { audit, metrics, log }: Witnesses, actor: string): () => void {
  return mesh.subscribe((notice) => {
    metrics.generation.set(notice.generation);
    for (const kind of MESH_KINDS) metrics.objects.set({ kind }, mesh.count(kind));
    recordPolicyChanges(mesh, notice, { audit, log, actor });
  });
}

function recordPolicyChanges(
  mesh: Mesh,
  notice: MeshNotice,
  { audit, log, actor }: { audit: AuditLog; log: Logger; actor: string },
): void {
  for (const change of notice.changes) {
    const object = change.after ?? change.before;
    if (object === undefined || !('policy' in object)) continue;
    const { kind, policy } = object;
    const what = change.before === undefined ? 'added' : change.after === undefined ? 'removed' : 'updated';
    const workloads = mesh.workloadsOf(policy).length;
    audit.record({
      event: 'policy.changed',
      actor,
      kind,
      policy: change.key,
      change: what,
      digest: policy.digest,
      generation: notice.generation,
      workloads,
    });
    log.info(
      { kind, policy: change.key, change: what, generation: notice.generation, workloads },
      'policy changed',
    );
  }
}
