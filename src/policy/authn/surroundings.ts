import { satisfies } from '../labels.ts';
import { termsOf } from '../lint.ts';
import type { Selecting } from '../select.ts';
import type { AuthorizationPolicy, Issue, MeshSettings } from '../types.ts';
import type { Documents } from './judgement.ts';
import { byAge, reachOf } from './peer-modes.ts';
import type { PeerAuthentication, RequestAuthentication } from './types.ts';

/** What is known of the mesh around the documents. */
export interface AuthnSurroundings extends Pick<MeshSettings, 'rootNamespace'> {
  /** Whether a document selects any pod; absent: not judged. */
  readonly selectsAny?: (policy: Selecting) => boolean;
  /** Which documents are looked at; absent: all of them. */
  readonly judged?: (document: AuthnIssue['policy']) => boolean;
  /** Whether two documents select a pod together; absent: judged by their labels. */
  readonly shareAny?: (one: Selecting, other: Selecting) => boolean;
}

export interface AuthnIssue extends Issue {
  readonly policy: AuthorizationPolicy | RequestAuthentication | PeerAuthentication;
}

/** Warnings that need more than one document: rules on tokens that nobody verifies, documents that lose to others. */
export function lintAuthn(documents: Documents, surroundings: AuthnSurroundings): AuthnIssue[] {
  const { policies, requestAuthentications, peerAuthentications } = documents;
  const { judged = (): boolean => true } = surroundings;
  return [
    ...policies.filter(judged).flatMap((policy) => unverified(policy, requestAuthentications, surroundings)),
    ...[...requestAuthentications, ...peerAuthentications]
      .filter(judged)
      .flatMap((policy) => unselected(policy, surroundings)),
    ...peerAuthentications
      .filter(judged)
      .flatMap((policy) => beaten(policy, peerAuthentications, surroundings)),
  ];
}

function unverified(
  policy: AuthorizationPolicy,
  verifying: readonly RequestAuthentication[],
  surroundings: AuthnSurroundings,
): AuthnIssue[] {
  const term = termsOf(policy).find(({ attribute }) => attribute.kind.startsWith('request.auth.'));
  if (term === undefined || surroundings.selectsAny?.(policy) === false) return [];
  const met = verifying.some((each) => each.jwtRules.length > 0 && meet(each, policy, surroundings));
  if (met) return [];
  const path = term.values.length > 0 ? term.field : term.notField;
  const message =
    'no RequestAuthentication selects the pods of this policy: no token is verified there, and the rule never sees one';
  return [{ policy, severity: 'warning', code: 'unverified-token', path, message }];
}

function unselected(
  policy: RequestAuthentication | PeerAuthentication,
  { selectsAny }: AuthnSurroundings,
): AuthnIssue[] {
  if (selectsAny === undefined || selectsAny(policy)) return [];
  const message = 'selects no pod: it is enforced nowhere';
  return [{ policy, severity: 'warning', code: 'selects-nothing', path: 'spec.selector', message }];
}

/** Of documents for the same pods one counts, and nothing of the others does. */
function beaten(
  policy: PeerAuthentication,
  all: readonly PeerAuthentication[],
  settings: AuthnSurroundings,
): AuthnIssue[] {
  const reach = reachOf(policy, settings);
  if (reach === undefined) return [];
  const winner = all.find(
    (other) =>
      other !== policy &&
      other.namespace === policy.namespace &&
      reachOf(other, settings) === reach &&
      (satisfies(other.selector, policy.selector) || satisfies(policy.selector, other.selector)) &&
      byAge(other, policy) < 0,
  );
  if (winner === undefined) return [];
  const why = winner.createdAtMs === policy.createdAtMs ? 'comes first by name' : 'is older';
  const message = `PeerAuthentication ${winner.namespace}/${winner.name} is meant for the same pods and ${why}: there nothing of this one counts`;
  return [{ policy, severity: 'warning', code: 'shadowed-rule', path: 'metadata.name', message }];
}

/** Whether some pod could be of both. */
function meet(a: Selecting, b: Selecting, { rootNamespace, shareAny }: AuthnSurroundings): boolean {
  if (shareAny !== undefined) return shareAny(a, b);
  if (a.namespace !== b.namespace && a.namespace !== rootNamespace && b.namespace !== rootNamespace)
    return false;
  return Object.entries(a.selector).every(
    ([name, value]) => !Object.hasOwn(b.selector, name) || b.selector[name] === value,
  );
}
