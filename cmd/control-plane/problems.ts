import type { DirectoryReport, Problem } from '../../src/sources/directory/index.ts';
import type { Witnesses } from './observers.ts';

function place(problem: Problem): string {
  const line = problem.line > 0 ? `:${problem.line}` : '';
  return `${problem.file}${line}${problem.field === '' ? '' : ` ${problem.field}`}`;
}

const MEANWHILE: Readonly<Record<NonNullable<Problem['inForce']>, string>> = {
  this: '',
  earlier: ' (the last good version stays in force)',
  none: ' (it is NOT in force, and no earlier version of it is)',
};

/** What the directory of manifests says of itself: to the log, the audit stream, and the count in the metrics. */
export function reportProblems(report: DirectoryReport, { log, audit, metrics }: Witnesses): void {
  switch (report.kind) {
    case 'problem': {
      const { problem } = report;
      const where = place(problem);
      if (problem.severity === 'warning') {
        log.warn({ where, object: problem.object }, problem.message);
        return;
      }
      metrics.problems.inc();
      const { inForce } = problem;
      const detail = inForce === undefined ? problem.message : problem.message + MEANWHILE[inForce];
      log.error({ where, object: problem.object }, detail);
      audit.record({ event: 'policy.rejected', actor: 'directory', where, detail });
      return;
    }
    case 'solved':
      if (report.problem.severity === 'error') metrics.problems.dec();
      log.info({ where: place(report.problem) }, 'solved');
      return;
    case 'ignored':
      log.debug({ file: report.file, line: report.line, object: report.object }, 'not needed');
      return;
    case 'applied':
      log.debug({ generation: report.notice.generation, files: report.files }, 'manifests applied');
  }
}
