import { digestOf } from './digest.ts';
import { readHeader, readMode, readSelector } from './document.ts';
import { Findings } from './findings.ts';
import { isIdentity } from './attributes.ts';
import { lint } from './lint.ts';
import { readProviderName } from './providers.ts';
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

const SPEC = ['selector', 'action', 'provider', 'rules'];
const OWN_SPEC = ['mode', 'reason', 'validity'];
const UNSUPPORTED_SPEC = ['targetRef', 'targetRefs'];

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
  const provider = readProvider(spec['provider'], action, findings);
  const validity = readValidity(spec['validity'], findings);
  const meaning: Omit<AuthorizationPolicy, 'digest'> = {
    apiGroup,
    namespace,
    name,
    selector: readSelector(spec['selector'], findings),
    action,
    ...(provider !== undefined && { provider }),
    mode: readMode(spec['mode'], dryRun, findings),
    reason: readReason(spec, findings),
    ...(validity && { validity }),
    rules: readRules(spec['rules'], { namespace, findings }),
  };
  if (!findings.failed && meaning.rules.length === 0 && (action === 'DENY' || action === 'CUSTOM')) {
    const word =
      action === 'DENY'
        ? 'denies nothing; write rules: [{}] to deny'
        : 'asks for nothing; write rules: [{}] to ask about';
    findings.error('spec.rules', `a ${action} policy without rules ${word} everything`);
  }
  if (action === 'CUSTOM') checkCustom(meaning, findings);
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
  if (action === 'ALLOW' || action === 'DENY' || action === 'AUDIT' || action === 'CUSTOM') return action;
  findings.error('spec.action', `expected ALLOW, DENY, AUDIT or CUSTOM, found ${describe(action)}`);
  return 'DENY';
}

function readProvider(value: unknown, action: Action, findings: Findings): string | undefined {
  const path = 'spec.provider';
  if (value === undefined) {
    if (action === 'CUSTOM') findings.error(path, 'a CUSTOM policy needs provider: {name: ...}, whom to ask');
    return undefined;
  }
  if (action !== 'CUSTOM') findings.error(path, `belongs to action CUSTOM; the action is ${action}`);
  const fields = readFields(value, path, { known: ['name'] }, findings);
  return fields && readProviderName(fields['name'], `${path}.name`, findings);
}

/** It runs before tokens are verified, and it is no rehearsal: whoever it asks, answers. */
function checkCustom({ mode, rules }: Pick<AuthorizationPolicy, 'mode' | 'rules'>, findings: Findings): void {
  if (mode === 'Shadow')
    findings.error('spec.mode', 'a CUSTOM policy cannot be a Shadow: asking an authorizer is no rehearsal');
  for (const { from, when } of rules) {
    for (const { attribute, field, notField, values } of [...from.flat(), ...when]) {
      if (!isIdentity(attribute) && !attribute.kind.startsWith('request.auth.')) continue;
      findings.error(
        values.length > 0 ? field : notField,
        'a CUSTOM rule cannot look at identities or claims: it runs before they are judged; use a DENY or ALLOW policy beside it',
      );
    }
  }
}

function readReason(spec: Fields, findings: Findings): string | undefined {
  const reason = spec['reason'];
  if (reason === undefined) return undefined;
  if (typeof reason === 'string' && reason.length <= 1024) return reason;
  findings.error('spec.reason', `expected a text of at most 1024 characters, found ${describe(reason)}`);
  return undefined;
}
