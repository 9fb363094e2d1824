import { Evaluator, unheard } from '../evaluate.ts';
import { policiesFor } from '../select.ts';
import type {
  AuthorizationPolicy,
  Decision,
  MeshSettings,
  QuarantineRule,
  Request,
  Target,
} from '../types.ts';
import { peerRefusal, resolvePeerModes } from './peer-modes.ts';
import { tokenSeen } from './token-seen.ts';
import { verifiedRequest } from './verified-request.ts';
import type { PeerAuthentication, RequestAuthentication } from './types.ts';

/** All documents of a mesh. */
export interface Documents {
  readonly policies: readonly AuthorizationPolicy[];
  readonly requestAuthentications: readonly RequestAuthentication[];
  readonly peerAuthentications: readonly PeerAuthentication[];
}

export interface Circumstances {
  readonly settings: MeshSettings;
  readonly nowMs: () => number;
  /** Whom the workload denies before any policy. */
  readonly quarantine?: readonly QuarantineRule[];
}

/**
 * What becomes of a request to one workload: whether its peer gets in, whether its token is verified, what the rules
 * say. `claims` of the request are those of a token that is good by its signature and times.
 */
export function judge(
  documents: Documents,
  target: Target,
  request: Request,
  { settings, nowMs, quarantine = [] }: Circumstances,
): Decision {
  const { rootNamespace } = settings;
  const reaching = documents.peerAuthentications.filter(
    ({ namespace }) => namespace === target.namespace || namespace === rootNamespace,
  );
  const peer = resolvePeerModes(reaching, target, settings);
  const policies = policiesFor(documents.policies, target, settings);
  const evaluator = new Evaluator(policies, { settings, nowMs, peer, quarantine });
  if (request.protocol === 'tcp') return evaluator.decide(request);
  const verifying = policiesFor(documents.requestAuthentications, target, settings);
  const { claims } = request;
  const token = claims === undefined ? undefined : tokenSeen(claims, verifying);
  const taken = token?.seen === true ? token : undefined;
  const decision = evaluator.decide(request, verifiedRequest(request, verifying, taken));
  if (token === undefined || token.seen) return decision;
  if (peerRefusal(peer, request) !== undefined) return decision;
  const { asks, shadow, nearest } = decision;
  const question = asks && { asks };
  if (token.refused) {
    const reason = `the token is refused before any rule sees it (401): ${token.why}`;
    return { ...unheard(reason), ...question };
  }
  const { verdict, decidedBy, quarantine: cutOffBy, reason, audited, undecided } = decision;
  const said = `${reason}; rules see no token: ${token.why}`;
  const entry = cutOffBy !== undefined && { quarantine: cutOffBy };
  return {
    ...{ verdict, decidedBy, reason: said, audited, shadow, nearest, undecided },
    ...entry,
    ...question,
  };
}
