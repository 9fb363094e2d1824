export type * from './types.ts';
export type * from './authn/types.ts';
export { renderIssues } from './findings.ts';
export { nearestName } from './nearest.ts';
export { missingServiceAccounts } from './lint.ts';
export { lintTogether, type PolicyIssue, type Surroundings } from './surroundings.ts';
export { parseAuthorizationPolicy, type ParseOptions } from './parse.ts';
export { normalizePath } from './path.ts';
export { authorizerCluster, idleCustomFilters } from './envoy-authorizer.ts';
export { parseMeshConfig } from './mesh-config.ts';
export { JWT_METADATA } from './envoy-token.ts';
export { satisfies } from './labels.ts';
export { parseRuleName, ruleName } from './rule-name.ts';
export { parseQuarantineName, quarantineName } from './quarantine.ts';
export { policiesFor, selects, type Selecting } from './select.ts';
export { compile, type CompiledFilters, type CompileNote, type CompileOptions } from './compile.ts';
export type { ExtAuthzFilter, HttpRbac, RbacFilter, RbacPolicy, RbacRules, TcpRbac } from './envoy-types.ts';
export {
  parseCases,
  runCase,
  selectiveOf,
  type CaseResult,
  type ParsedCases,
  type PolicyCase,
} from './cases.ts';
export { describeRule } from './describe-rule.ts';
export { parseTime } from './validity.ts';
export { couldNotTell } from './unsaid.ts';
export { endedName } from './ended.ts';
export { evaluate, Evaluator } from './evaluate.ts';
export type { JwtAuthnFilter } from './authn/envoy-jwt-types.ts';
export { compileRequestAuthentications, type CompiledRequestAuthentication } from './authn/envoy-jwt.ts';
export { judge, type Documents } from './authn/judgement.ts';
export { compilePeerRequests, type PeerRequestFilter } from './authn/envoy-peer-http.ts';
export { compilePeerModes, type PeerFilter } from './authn/envoy-peer.ts';
export { parsePeerAuthentication } from './authn/peer-authentication.ts';
export { resolvePeerModes } from './authn/peer-modes.ts';
export { parseRequestAuthentication } from './authn/request-authentication.ts';
export { lintAuthn, type AuthnIssue, type AuthnSurroundings } from './authn/surroundings.ts';
export { verifiedRequest, type TakenToken } from './authn/verified-request.ts';
export { tokenSeen } from './authn/token-seen.ts';
