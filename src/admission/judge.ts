import { isDeepStrictEqual } from 'node:util';
import type { Issue } from '../policy/index.ts';
import { fields } from './fields.ts';
import type { AdmissionRequest, DocumentJudge, Judgement } from './types.ts';

/** The API server cuts a warning at 256 characters, and all of them together at 4,096. */
const MAX_WARNING = 250;
const MAX_WARNINGS = 15;
/** Errors in one refusal: more than anybody mends at once only hides the first. */
const MAX_ERRORS = 20;

/** What counts of a document's metadata: the policy language reads nothing else of it. */
const DRY_RUN = 'istio.io/dry-run';

/**
 * Judges one request with the judges of the kinds that are known, by kind.
 *
 * Deletions pass. So does an update that leaves what is judged as it was: an object that came in before the rules
 * grew stricter must still lose its finalizers and gain its labels.
 */
export function judge(request: AdmissionRequest, judges: ReadonlyMap<string, DocumentJudge>): Judgement {
  const { operation, subResource, kind } = request;
  if (operation === 'DELETE' || operation === 'CONNECT' || subResource !== '') {
    return { allowed: true, warnings: [] };
  }
  const judgeOf = judges.get(kind.kind);
  if (judgeOf === undefined) {
    return {
      allowed: false,
      message: `${kind.kind} is no kind that this webhook judges: ${[...judges.keys()].join(', ')} are; mend the rules of its ValidatingWebhookConfiguration`,
      warnings: [],
    };
  }
  const issues = judgeOf(request.object);
  const errors = issues.filter(({ severity }) => severity === 'error');
  const warnings = issues.filter(({ severity }) => severity === 'warning').map(line);
  if (errors.length === 0) return { allowed: true, warnings: bounded(warnings) };
  if (operation === 'UPDATE' && isSame(request.object, request.oldObject)) {
    const kept = errors.map((issue) => `not in force: ${line(issue)}`);
    return { allowed: true, warnings: bounded([...kept, ...warnings]) };
  }
  return { allowed: false, message: refusal(errors), warnings: bounded(warnings) };
}

function refusal(errors: readonly Issue[]): string {
  const lines = errors.slice(0, MAX_ERRORS).map(line);
  const more = errors.length - lines.length;
  return [...lines, ...(more > 0 ? [`and ${more} more`] : [])].join('\n');
}

function line({ path, message }: Issue): string {
  return path === '' ? message : `${path}: ${message}`;
}

function bounded(warnings: readonly string[]): string[] {
  const shown = warnings.length > MAX_WARNINGS ? warnings.slice(0, MAX_WARNINGS - 1) : warnings;
  const cut = shown.map((text) => (text.length <= MAX_WARNING ? text : `${text.slice(0, MAX_WARNING - 1)}…`));
  const left = warnings.length - shown.length;
  return left === 0 ? cut : [...cut, `and ${left} more; see countersign authz lint`];
}

/** Whether two versions mean the same to the policy language. */
function isSame(now: unknown, before: unknown): boolean {
  return isDeepStrictEqual(judgedPart(now), judgedPart(before));
}

function judgedPart(document: unknown): unknown {
  const { spec, metadata } = fields(document);
  return { spec, dryRun: fields(fields(metadata)['annotations'])[DRY_RUN] };
}
