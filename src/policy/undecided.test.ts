import { describe, expect, it } from 'vitest';
import {
  evaluate,
  parseAuthorizationPolicy,
  type AuthorizationPolicy,
  type MeshSettings,
  type Request,
} from './index.ts';

const settings: MeshSettings = {
  trustDomain: 'cluster.local',
  rootNamespace: 'countersign-system',
  defaultAction: 'deny',
  authorizers: [
    {
      ...{ name: 'opa', protocol: 'grpc', host: 'h', port: 1, timeoutMs: 1 },
      ...{ failOpen: false, statusOnError: 403 },
    },
  ],
};

const bare: Request = {
  protocol: 'http',
  principal: 'spiffe://cluster.local/ns/shop/sa/web',
  sourceIp: undefined,
  remoteIp: undefined,
  destinationIp: undefined,
  destinationPort: undefined,
  sni: undefined,
  method: 'GET',
  path: '/',
  host: undefined,
  headers: {},
};
const whole: Request = {
  ...bare,
  ...{ sourceIp: '10.0.0.1', destinationIp: '10.0.0.2', destinationPort: 80, host: 'shop' },
};

let count = 0;
function policy(action: string, rule: object): AuthorizationPolicy {
  const parsed = parseAuthorizationPolicy({
    apiVersion: 'security.countersign.dev/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: `p${(count += 1)}`, namespace: 'shop' },
    spec: { action, rules: [rule], ...(action === 'CUSTOM' && { provider: { name: 'opa' } }) },
  });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
  return parsed.policy;
}
const operation = (fields: object): object => ({ to: [{ operation: fields }] });
const source = (fields: object): object => ({ from: [{ source: fields }] });
const all = policy('ALLOW', {});

function doubt(policies: readonly AuthorizationPolicy[], request: Request): string | undefined {
  return evaluate(policies, request, { settings }).undecided?.attribute;
}

describe('a request that leaves something out', () => {
  it.each([
    [operation({ ports: ['8080'] }), 'destination.port'],
    [operation({ notPorts: ['80'] }), 'destination.port'],
    [operation({ hosts: ['*'] }), 'request.host'],
    [{ when: [{ key: 'request.headers[host]', values: ['x'] }] }, 'request.host'],
    [source({ ipBlocks: ['10.0.0.0/8'] }), 'source.ip'],
    [source({ remoteIpBlocks: ['10.0.0.0/8'] }), 'remote.ip'],
    [{ when: [{ key: 'destination.ip', values: ['10.0.0.9'] }] }, 'destination.ip'],
    [{ ...source({ ipBlocks: ['10.0.0.0/8'] }), ...operation({ ports: ['80'] }) }, 'source.ip'],
    [{ ...source({ remoteIpBlocks: ['10.0.0.0/8'] }), ...operation({ ports: ['1'] }) }, 'remote.ip'],
    [{ to: [{ operation: { ports: ['1'] } }, { operation: { methods: ['PUT'] } }] }, 'destination.port'],
  ])('could be met by DENY %j', (rule, attribute) => {
    expect(doubt([policy('DENY', rule), all], bare)).toBe(attribute);
    expect(doubt([policy('CUSTOM', rule), all], bare)).toBe(attribute);
    expect(doubt([policy('DENY', rule), all], whole)).toBeUndefined();
  });

  it('is decided where the rule cannot match, or another has decided', () => {
    const ports = operation({ ports: ['8080'] });
    const elsewhere = policy('DENY', operation({ ports: ['8080'], methods: ['PUT'] }));
    expect(doubt([elsewhere, all], bare)).toBeUndefined();
    expect(doubt([policy('DENY', ports), policy('DENY', {}), all], bare)).toBeUndefined();
    // Nobody allows it anyhow.
    expect(doubt([policy('DENY', ports)], bare)).toBeUndefined();
    expect(doubt([policy('DENY', operation({ hosts: ['*'] })), all], { ...bare, protocol: 'tcp' })).toBe(
      undefined,
    );
  });

  it('gets in by no ALLOW rule that looks at it', () => {
    const besides = policy('ALLOW', operation({ notPorts: ['8080'] }));
    expect(doubt([besides], bare)).toBe('destination.port');
    expect(doubt([besides, all], bare)).toBeUndefined();
    expect(doubt([besides], whole)).toBeUndefined();
    const asked = evaluate([policy('ALLOW', operation({ ports: ['8080'] }))], bare, { settings });
    expect([asked.verdict, asked.undecided]).toEqual(['DENY', undefined]);
  });

  it('depends on an authorizer only as far as that one would deny', () => {
    const ask = policy('CUSTOM', operation({ ports: ['8080'] }));
    expect(doubt([ask, all], { ...bare, authorizerSays: 'ALLOW' })).toBeUndefined();
    expect(doubt([ask, all], { ...bare, authorizerSays: 'DENY' })).toBe('destination.port');
    const always = policy('CUSTOM', {});
    expect(doubt([ask, always, all], { ...bare, authorizerSays: 'DENY' })).toBeUndefined();
  });

  it('leaves the default action open, too', () => {
    const open = { settings: { ...settings, defaultAction: 'allow' as const } };
    const deny = policy('DENY', operation({ ports: ['8080'] }));
    expect(evaluate([deny], bare, open).undecided).toEqual({
      rule: { namespace: 'shop', policy: deny.name, rule: 0 },
      attribute: 'destination.port',
    });
  });
});
