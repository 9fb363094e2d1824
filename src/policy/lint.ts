import { proofFor } from './attributes.ts';
import { contradictions } from './contradictions.ts';
import type { Findings } from './findings.ts';
import type { ParseOptions } from './parse.ts';
import type { AuthorizationPolicy, Issue, Matcher, Term } from './types.ts';

/** Warnings about a policy that is valid and yet hardly what its author meant. */
export function lint(
  policy: AuthorizationPolicy,
  { rootNamespace, nowMs }: ParseOptions,
  findings: Findings,
): void {
  const { notAfterMs } = policy.validity ?? {};
  if (nowMs !== undefined && notAfterMs !== undefined && notAfterMs <= nowMs())
    findings.warn('spec.validity.notAfter', 'is past: the policy has no effect any more; remove it');
  for (const path of contradictions(policy)) {
    findings.warn(
      path,
      'can never match: its conditions contradict each other; it is kept and does nothing',
      'unreachable-rule',
    );
  }
  if (policy.action === 'ALLOW') warnOfPlainIp(policy, findings);
  for (const term of termsOf(policy)) {
    warnOfHostPort(term, policy, findings);
    warnOfRewrittenHeader(term, findings);
    if (policy.action === 'ALLOW') warnOfNegative(term, findings);
    if (rootNamespace === policy.namespace) warnOfRootAccount(term, rootNamespace, findings);
  }
}

/** Service accounts that a policy names and that do not exist: rules on them can never match. */
export function missingServiceAccounts(
  policy: AuthorizationPolicy,
  exists: (namespace: string, name: string) => boolean,
): Issue[] {
  return termsOf(policy).flatMap((term) =>
    [...named(term.values, term.field), ...named(term.notValues, term.notField)].flatMap(
      ([matcher, path]): Issue[] => {
        if (matcher.kind !== 'serviceAccount' || exists(matcher.namespace, matcher.name)) return [];
        const message = `service account ${matcher.namespace}/${matcher.name} does not exist: nobody can match`;
        return [{ severity: 'warning', code: 'unknown-source', path, message }];
      },
    ),
  );
}

/** Envoy compares the host as sent, and a client may append its port. */
function warnOfHostPort(term: Term, { action }: AuthorizationPolicy, findings: Findings): void {
  if (term.attribute.kind !== 'request.host' || action === 'AUDIT') return;
  const [matchers, field] = action === 'DENY' ? [term.values, term.field] : [term.notValues, term.notField];
  for (const [matcher, path] of named(matchers, field)) {
    if (matcher.kind !== 'exact' || matcher.value.includes(':')) continue;
    const withPort = `${matcher.value}:`;
    if (matchers.some((other) => other.kind === 'prefix' && withPort.startsWith(other.value))) continue;
    findings.warn(path, `a caller evades this by sending its port along; add "${withPort}*"`);
  }
}

/** What Envoy makes of headers that it writes itself, before any rule looks at them; and what to judge by instead. */
const REWRITTEN: ReadonlyMap<string, string> = new Map([
  ['x-forwarded-for', 'Envoy appends the address of its peer; judge by remoteIpBlocks'],
  ['x-forwarded-proto', 'Envoy writes the scheme of the connection that it sees itself'],
  ['x-forwarded-client-cert', "Envoy writes its peer's own certificate there; judge by principals"],
  ['x-request-id', 'Envoy writes a new one to requests that come from outside or bring none'],
]);
const ENVOYS_OWN = 'x-envoy-';

/** The rule would judge by Envoy's words, not by the caller's. */
function warnOfRewrittenHeader({ attribute, field }: Term, findings: Findings): void {
  if (attribute.kind !== 'request.header') return;
  const { name } = attribute;
  const what =
    REWRITTEN.get(name) ??
    (name.startsWith(ENVOYS_OWN) ? 'Envoy keeps such names for itself: it writes and drops them' : undefined);
  if (what === undefined) return;
  const path = field.replace(/values$/, 'key');
  findings.warn(path, `${name} does not reach the rules as the caller sent it: ${what}`, 'rewritten-header');
}

/** Whoever gets hold of an address is let in. */
function warnOfPlainIp({ rules }: AuthorizationPolicy, findings: Findings): void {
  for (const { index, from, when } of rules) {
    if (when.some(isFactor)) continue;
    const path = `spec.rules[${index}]`;
    const message =
      'an IP address is the only factor, and addresses can be borrowed; add principals, namespaces or serviceAccounts';
    if (from.length === 0 && when.some(isAddress)) findings.warn(`${path}.when`, message, 'ip-only');
    for (const [at, clause] of from.entries()) {
      if ([...clause, ...when].some(isAddress) && !clause.some(isFactor))
        findings.warn(`${path}.from[${at}]`, message, 'ip-only');
    }
  }
}

function isAddress({ attribute, values }: Term): boolean {
  return values.length > 0 && (attribute.kind === 'source.ip' || attribute.kind === 'remote.ip');
}

/** Something that the caller has to prove; a "not x" in an ALLOW asks for some proof as well. */
function isFactor({ attribute, values }: Term): boolean {
  if (proofFor(attribute) !== undefined) return true;
  return attribute.kind === 'request.auth.claim' && values.length > 0;
}

function warnOfNegative({ attribute, values, notValues, notField }: Term, findings: Findings): void {
  const proof = proofFor(attribute);
  if (proof !== undefined) {
    const at = notValues.findIndex(matchesAny);
    const asked = proof === 'peer' ? 'an authenticated caller' : 'a verified token';
    if (at >= 0)
      findings.warn(
        `${notField}[${at}]`,
        `can never match: in ALLOW this field asks for ${asked}, and * excludes every one`,
      );
  }
  if (attribute.kind === 'request.auth.claim' && values.length === 0) {
    findings.warn(
      notField,
      'also matches a request without a token; add a condition on request.auth.principal to ask for one',
    );
  }
}

function matchesAny(matcher: Matcher): boolean {
  if (matcher.kind !== 'requestPrincipal') return matcher.kind === 'present';
  return matcher.issuer.kind === 'present' && matcher.subject.kind === 'present';
}

function warnOfRootAccount(term: Term, root: string, findings: Findings): void {
  for (const [matcher, path] of [
    ...named(term.values, term.field),
    ...named(term.notValues, term.notField),
  ]) {
    if (matcher.kind !== 'serviceAccount' || matcher.namespace !== root) continue;
    findings.warn(path, `means ${root}/${matcher.name}, although the policy reaches every namespace`);
  }
}

export function termsOf({ rules }: AuthorizationPolicy): Term[] {
  return rules.flatMap(({ from, to, when }) => [...from.flat(), ...to.flat(), ...when]);
}

/** Each value with its path. */
export function named(matchers: readonly Matcher[], field: string): [Matcher, string][] {
  return matchers.map((matcher, index) => [matcher, `${field}[${index}]`]);
}
