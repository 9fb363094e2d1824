import type { KubernetesReport, PolicyStatus } from '../../src/sources/kubernetes/index.ts';
import type { Tell } from './home.ts';
import type { Witnesses } from './observers.ts';
import { Unfollowed } from './unfollowed.ts';

/** What the API server's objects come to: to the log, the audit stream, the metrics, and `/readyz`. */
export function kubernetesReports(
  { log, audit, metrics }: Witnesses,
  remark: Tell['remark'],
): (report: KubernetesReport) => void {
  const unfollowed = new Unfollowed(metrics, remark, Date.now);
  const rejected = new Set<string>();
  const policy = (status: PolicyStatus): void => {
    const where = placeOf(status);
    for (const { severity, path, message } of status.issues) {
      const about = { where, field: path, generation: status.generation };
      if (severity === 'warning') log.warn(about, message);
      else log.error(about, `${message} (${IN_FORCE[status.inForce]})`);
    }
    if (status.ok) {
      if (rejected.delete(where)) log.info({ where }, 'solved');
    } else {
      rejected.add(where);
      const detail = status.issues.map(({ path, message }) => `${path}: ${message}`).join('; ');
      audit.record({ event: 'policy.rejected', actor: 'kubernetes', where, detail: detail.slice(0, 1_024) });
    }
    metrics.problems.set(rejected.size);
  };
  return (report) => {
    unfollowed.take(report);
    switch (report.kind) {
      case 'failing':
        log.error(
          { resource: report.resource, code: report.error.code },
          `${report.error.message}; what is known stays in force, and it is tried again`,
        );
        return;
      case 'recovered':
        log.info({ resource: report.resource }, 'the API server is followed again');
        return;
      case 'served':
        log.info({ resource: report.resource }, 'the API server knows this kind now');
        return;
      case 'not-served':
        log.info(
          { resource: report.resource },
          'the API server does not know this kind: its CRD is not installed',
        );
        return;
      case 'synced':
        log.info('everything in the API server was listed');
        return;
      case 'remembered':
        log.warn(
          { objects: report.objects },
          'the API server is away: what an earlier run knew is in force until it is back',
        );
        return;
      case 'not-remembered':
        log.error(
          { err: report.error },
          'what is known could not be written down for a start without the API server',
        );
        return;
      case 'applied':
        log.debug({ generation: report.notice.generation }, 'objects applied');
        return;
      case 'policy':
        policy(report.status);
        return;
      case 'policy-gone':
        rejected.delete(placeOf(report.status));
        metrics.problems.set(rejected.size);
        return;
      case 'unreadable':
        log.error(
          { resource: report.resource, object: report.key },
          `${report.message}; it counts as absent`,
        );
    }
  };
}

const IN_FORCE: Readonly<Record<PolicyStatus['inForce'], string>> = {
  this: 'it is in force',
  earlier: 'the last good version stays in force',
  none: 'nothing is in force under this name',
};

function placeOf({ resource, namespace, name }: PolicyStatus): string {
  return `${resource} ${namespace}/${name}`;
}
