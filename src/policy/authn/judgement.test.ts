import { describe, expect, it } from 'vitest';
import {
  judge,
  parseAuthorizationPolicy,
  parseRequestAuthentication,
  type Decision,
  type Request,
} from '../index.ts';
import { someJwks } from './testing.ts';

const settings = {
  trustDomain: 'cluster.local',
  rootNamespace: 'countersign-system',
  defaultAction: 'deny',
} as const;
const plain: Request = {
  protocol: 'http',
  principal: 'spiffe://cluster.local/ns/shop/sa/web',
  ...{ sourceIp: '10.0.0.1', remoteIp: undefined, destinationIp: '10.0.0.2', destinationPort: 80 },
  ...{ sni: undefined, method: 'GET', path: '/', host: 'shop', headers: {} },
};
const claims = { iss: 'i', sub: 's', user: 'admin', n: { deep: 7 }, ok: true, none: '', list: ['a'] };

/** What becomes of a request that is allowed when all conditions hold, behind one rule for tokens. */
function judged(jwtRule: object, when: readonly object[], asked: Partial<Request>): Decision['verdict'] {
  const document = (kind: string, spec: object): object => ({
    ...{ apiVersion: 'security.istio.io/v1', kind, metadata: { name: 'p', namespace: 'shop' }, spec },
  });
  const policy = parseAuthorizationPolicy(document('AuthorizationPolicy', { rules: [{ when }] }));
  const tokens = parseRequestAuthentication(
    document('RequestAuthentication', { jwtRules: [{ issuer: 'i', jwks: someJwks(), ...jwtRule }] }),
  );
  if (!policy.ok || !tokens.ok) throw new Error(JSON.stringify([policy.issues, tokens.issues]));
  const documents = {
    policies: [policy.policy],
    requestAuthentications: [tokens.policy],
    peerAuthentications: [],
  };
  const target = { namespace: 'shop', labels: {} };
  return judge(documents, target, { ...plain, ...asked }, { settings, nowMs: () => 0 }).verdict;
}
const header = (name: string, value: string): object => ({
  key: `request.headers[${name}]`,
  values: [value],
});

describe('headers behind the verification of a token', () => {
  const user = { outputClaimToHeaders: [{ header: 'X-User', claim: 'user' }] };
  const admin = [header('x-user', 'admin')];
  const forged = { 'x-user': ['admin'] };

  it('hold what the token says, never what the caller says', () => {
    expect(judged(user, admin, { headers: forged })).toBe('DENY');
    expect(judged(user, admin, { headers: forged, claims: { iss: 'i' } })).toBe('DENY');
    expect(judged(user, admin, { headers: forged, claims: { iss: 'i', user: 'guest' } })).toBe('DENY');
    expect(judged(user, admin, { claims })).toBe('ALLOW');
    // No rule puts it out: the caller's own is there still.
    expect(judged({}, admin, { headers: forged })).toBe('ALLOW');
  });

  it.each([
    ['user', 'admin', 'ALLOW'],
    ['n.deep', '7', 'ALLOW'],
    ['ok', 'true', 'ALLOW'],
    ['none', '*', 'DENY'],
    ['absent', '*', 'DENY'],
  ])('have the claim %s as %s: %s', (claim, value, verdict) => {
    const rule = { outputClaimToHeaders: [{ header: 'x-out', claim }] };
    expect(judged(rule, [header('x-out', value)], { claims })).toBe(verdict);
  });

  it('have the payload, where a rule puts it out', () => {
    const rule = { outputPayloadToHeader: 'x-payload' };
    const encoded = Buffer.from(JSON.stringify(claims)).toString('base64url');
    expect(judged(rule, [header('x-payload', encoded)], { claims })).toBe('ALLOW');
    expect(judged(rule, [header('x-payload', '*')], { headers: { 'x-payload': ['mine'] } })).toBe('DENY');
  });

  it('have the token no more, unless it is forwarded', () => {
    const proven = { key: 'request.auth.principal', values: ['*'] };
    const bearer = [proven, header('authorization', 'Bearer *')];
    const asked = { claims, headers: { authorization: ['Bearer x.y.z'] } };
    expect(judged({}, [proven], asked)).toBe('ALLOW');
    expect(judged({}, bearer, asked)).toBe('DENY');
    expect(judged({ forwardOriginalToken: true }, bearer, asked)).toBe('ALLOW');
    const elsewhere = { fromHeaders: [{ name: 'x-token', prefix: 'T ' }] };
    expect(judged(elsewhere, bearer, asked)).toBe('ALLOW');
    const query = [proven, header(':path', '/a?b=1')];
    expect(judged({}, query, { claims, path: '/a?access_token=x.y.z&b=1' })).toBe('ALLOW');
    expect(judged({}, [proven, header(':path', '/a')], { claims, path: '/a?access_token=x' })).toBe('ALLOW');
  });
});
