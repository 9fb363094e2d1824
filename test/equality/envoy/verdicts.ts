import type { Verdict } from '../case.ts';
import type { EvaluatedSet } from '../evaluated.ts';

/** A line of the access log, with what a verdict is read from. Absent or null: there was nothing. */
export interface LogLine {
  readonly source_address: string;
  readonly destination_address: string;
  readonly number?: string | null;
  readonly details?: string | null;
  readonly flags?: string | null;
  readonly asked_by?: string | null;
  readonly allowed_by?: string | null;
  readonly audited_by?: string | null;
  readonly shadow_denied_by?: string | null;
  readonly shadow_allowed_by?: string | null;
  readonly shadow_allow_result?: string | null;
}

/** What came of a question. */
export interface Observed {
  readonly status: Status;
  /** Whether an external authorizer was asked. */
  readonly asked: boolean;
}

/** What Envoy's answer and its access log say. */
export function verdictOf(
  { status, asked }: Observed,
  line: LogLine | undefined,
  set: EvaluatedSet,
): Verdict {
  if (!isJudged(status)) return { verdict: 'REFUSED' };
  const passed = status === 200 || status === 'echoed';
  if (status === 401) return { verdict: 'UNAUTHENTICATED', asked: text(line?.asked_by) };
  if (!passed && status !== 403 && status !== 'ended') {
    return { verdict: 'DENY', fault: `status ${status}, ${line?.details ?? 'no details'}` };
  }
  if (line === undefined) return { verdict: 'DENY', fault: 'no line in the access log' };
  const verdict = judged(passed, line, set);
  if (asked && verdict.asked === undefined) return { ...verdict, fault: 'no rule has an authorizer asked' };
  return verdict;
}

/**
 * Of an HTTP request, or what became of a TCP connection. `reset`: Envoy's reader of HTTP/2 ended the connection for
 * what stands in a request's head. undefined: no answer at all.
 */
export type Status = number | 'reset' | 'echoed' | 'ended' | undefined;

/** False for what Envoy refused before any policy was asked, and may not have logged. */
export function isJudged(status: Status): boolean {
  return status !== 400 && status !== 'reset';
}

function judged(passed: boolean, line: LogLine, set: EvaluatedSet): Verdict {
  return {
    verdict: passed ? 'ALLOW' : 'DENY',
    rule: passed ? text(line.allowed_by) : deniedBy(line),
    asked: text(line.asked_by),
    audited: text(line.audited_by),
    shadow: shadowOf(passed, line, set),
  };
}

/**
 * What shadow and enforced rules say together. Where the deny filter denied, the allow filter was never asked, and
 * never needed to be; its own shadow rules hold the enforced ones as well.
 */
function shadowOf(passed: boolean, line: LogLine, { tried }: EvaluatedSet): Verdict['shadow'] {
  if (!tried.any) return undefined;
  const denied = [deniedBy(line), text(line.shadow_denied_by)].filter((name) => name !== undefined);
  if (denied.length > 0) return { verdict: 'DENY', rule: denied.sort()[0] };
  if (!tried.allow) return { verdict: passed ? 'ALLOW' : 'DENY', rule: text(line.allowed_by) };
  const allowed = text(line.shadow_allow_result) === 'allowed';
  return { verdict: allowed ? 'ALLOW' : 'DENY', rule: text(line.shadow_allowed_by) };
}

/** `none`: no rule allowed it. `UAEX`: the external authorizer refused it, or could not be asked. */
function deniedBy({ details, flags, asked_by: asked }: LogLine): string | undefined {
  if (flags?.split(',').includes('UAEX') === true) return text(asked);
  const rule = /rbac_access_denied_matched_policy\[(.*)\]/u.exec(details ?? '')?.[1];
  return rule === 'none' ? undefined : rule;
}

function text(value: string | null | undefined): string | undefined {
  return value === null || value === undefined || value === '-' || value === '' ? undefined : value;
}
