import { digestOf } from './digest.ts';
import { readHeader, readMode, readSelector } from './document.ts';
import { Findings } from './findings.ts';
import { lint } from './lint.ts';
import { readRules } from './rules.ts';
import { describe, readFields, type Fields, type Shape } from './shape.ts';
import { readValidity } from './validity.ts';
import type { Action, AuthorizationPolicy, Parsed } from './types.ts';

export interface ParseOptions {
  /** The mesh's root namespace; with it, what is easily misread in a policy there is warned about. */
  readonly rootNamespace?: string;
  /** With it, a policy whose time is over is warned about. */
  readonly nowMs?: () => number;
}

const SPEC = ['selector', 'action', 'rules'];
const OWN_SPEC = ['mode', 'reason', 'validity'];
const UNSUPPORTED_SPEC = ['provider', 'targetRef', 'targetRefs'];

/**
 * Checks one AuthorizationPolicy document (`security.countersign.dev/v1`, `security.istio.io/v1` or `v1beta1`),
 * given as the value that its YAML or JSON stands for. Any error refuses the whole document: half a policy
 * would be a policy that nobody wrote. Never throws.
 */
export function parseAuthorizationPolicy(document: unknown, options: ParseOptions = {}): Parsed {
  const findings = new Findings();
  const header = readHeader(document, 'AuthorizationPolicy', findings);
  if (header === undefined) return { ok: false, issues: findings.issues };
  const { apiGroup, namespace, name, dryRun } = header;
  const spec = readFields(header.spec ?? {}, 'spec', specShape(apiGroup), findings) ?? {};
  const action = readAction(spec['action'], findings);
  const validity = readValidity(spec['validity'], findings);
  const meaning: Omit<AuthorizationPolicy, 'digest'> = {
    apiGroup,
    namespace,
    name,
    selector: readSelector(spec['selector'], findings),
    action,
    mode: readMode(spec['mode'], dryRun, findings),
    reason: readReason(spec, findings),
    ...(validity && { validity }),
    rules: readRules(spec['rules'], { namespace, findings }),
  };
  if (!findings.failed && action === 'DENY' && meaning.rules.length === 0) {
    findings.error(
      'spec.rules',
      'a DENY policy without rules denies nothing; write rules: [{}] to deny everything',
    );
  }
  if (findings.failed) return { ok: false, issues: findings.issues };
  const policy: AuthorizationPolicy = { ...meaning, digest: digestOf(meaning) };
  lint(policy, options, findings);
  return { ok: true, policy, issues: findings.issues };
}

function specShape(apiGroup: AuthorizationPolicy['apiGroup']): Shape {
  const own = apiGroup === 'security.countersign.dev';
  return {
    known: own ? [...SPEC, ...OWN_SPEC] : SPEC,
    unsupported: UNSUPPORTED_SPEC,
  };
}

function readAction(action: unknown, findings: Findings): Action {
  if (action === undefined) return 'ALLOW';
  if (action === 'ALLOW' || action === 'DENY' || action === 'AUDIT') return action;
  const message =
    action === 'CUSTOM'
      ? 'CUSTOM is not supported yet; keep the policy out until it is'
      : `expected ALLOW, DENY or AUDIT, found ${describe(action)}`;
  findings.error('spec.action', message);
  return 'DENY';
}

function readReason(spec: Fields, findings: Findings): string | undefined {
  const reason = spec['reason'];
  if (reason === undefined) return undefined;
  if (typeof reason === 'string' && reason.length <= 1024) return reason;
  findings.error('spec.reason', `expected a text of at most 1024 characters, found ${describe(reason)}`);
  return undefined;
}
