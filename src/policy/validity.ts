import type { Expr } from './envoy-types.ts';
import type { Findings } from './findings.ts';
import { describe, quote, readFields } from './shape.ts';
import type { Action, Validity } from './types.ts';

const PATH = 'spec.validity';
const RFC_3339 =
  /^(\d{4}-\d{2}-\d{2})[Tt](?:[01]\d|2[0-3]):\d{2}:\d{2}(?:\.\d{1,3})?(?:[Zz]|[+-]\d{2}:\d{2})$/;

/** `spec.validity`; undefined: without limits. */
export function readValidity(value: unknown, findings: Findings): Validity | undefined {
  if (value === undefined) return undefined;
  const fields = readFields(value, PATH, { known: ['notBefore', 'notAfter'] }, findings);
  if (fields === undefined) return undefined;
  const [notBefore, notAfter] = [fields['notBefore'], fields['notAfter']];
  if (notBefore === undefined && notAfter === undefined) {
    findings.error(PATH, 'names neither notBefore nor notAfter; leave validity out to set no limit');
    return undefined;
  }
  const validity = {
    notBeforeMs: readTime(notBefore, `${PATH}.notBefore`, findings),
    notAfterMs: readTime(notAfter, `${PATH}.notAfter`, findings),
  };
  if ((validity.notBeforeMs ?? -Infinity) >= (validity.notAfterMs ?? Infinity))
    findings.error(PATH, 'ends before it begins: notAfter must be later than notBefore');
  return validity;
}

/** A point in time of RFC 3339; undefined: the text is none. @returns milliseconds since the epoch */
export function parseTime(text: string): number | undefined {
  const day = RFC_3339.exec(text)?.[1];
  if (day === undefined) return undefined;
  const midnight = Date.parse(`${day}T00:00:00Z`);
  // Some readers take February 30 for March 2.
  if (Number.isNaN(midnight) || !new Date(midnight).toISOString().startsWith(day)) return undefined;
  const time = Date.parse(text.toUpperCase());
  return Number.isNaN(time) ? undefined : time;
}

/**
 * Whether a policy holds at a time: from `notBefore` on, and no more at `notAfter`. Where the time is not known,
 * an ALLOW does not and everything else does.
 */
export function inForce(validity: Validity | undefined, nowMs: number | undefined, action: Action): boolean {
  if (validity === undefined) return true;
  if (nowMs === undefined) return action !== 'ALLOW';
  return outside(validity, nowMs) === undefined;
}

/** Why a policy does not hold, in words; undefined: it does. */
export function validityFailure(
  validity: Validity | undefined,
  nowMs: number | undefined,
): string | undefined {
  if (validity === undefined) return undefined;
  if (nowMs === undefined) return 'the policy holds for a time only, and the time of the request is unknown';
  const word = outside(validity, nowMs);
  if (word === undefined) return undefined;
  const limit = word === 'begins' ? validity.notBeforeMs : validity.notAfterMs;
  return `the policy ${word} at ${new Date(limit ?? 0).toISOString()}`;
}

/** Judged by Envoy's own clock, so that a grant ends even with the control plane away. */
export function validityCondition(validity: Validity | undefined): Expr | undefined {
  if (validity === undefined) return undefined;
  const { notBeforeMs, notAfterMs } = validity;
  const limits = [
    ...(notBeforeMs === undefined ? [] : [call('_>=_', REQUEST_TIME, timestamp(notBeforeMs))]),
    ...(notAfterMs === undefined ? [] : [call('_<_', REQUEST_TIME, timestamp(notAfterMs))]),
  ];
  return limits.length === 1 ? limits[0] : call('_&&_', ...limits);
}

const REQUEST_TIME: Expr = { select_expr: { operand: { ident_expr: { name: 'request' } }, field: 'time' } };

function timestamp(ms: number): Expr {
  return call('timestamp', { const_expr: { string_value: new Date(ms).toISOString() } });
}

function call(name: string, ...args: readonly Expr[]): Expr {
  return { call_expr: { function: name, args } };
}

function outside({ notBeforeMs, notAfterMs }: Validity, nowMs: number): 'begins' | 'ended' | undefined {
  if (notBeforeMs !== undefined && nowMs < notBeforeMs) return 'begins';
  return notAfterMs !== undefined && nowMs >= notAfterMs ? 'ended' : undefined;
}

function readTime(value: unknown, path: string, findings: Findings): number | undefined {
  if (value === undefined) return undefined;
  const time = typeof value === 'string' ? parseTime(value) : undefined;
  // CEL's timestamps end with the year 9999.
  if (time !== undefined && time >= Date.UTC(1970, 0) && time < Date.UTC(10_000, 0)) return time;
  const found = typeof value === 'string' ? quote(value) : describe(value);
  findings.error(path, `expected a time such as "2027-01-31T18:00:00Z" (RFC 3339), found ${found}`);
  return undefined;
}
