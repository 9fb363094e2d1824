import { describe, expect, it } from 'vitest';
import {
  compile,
  evaluate,
  parseAuthorizationPolicy,
  renderIssues,
  type Decision,
  type MeshSettings,
  type Parsed,
  type Request,
} from './index.ts';

const settings: MeshSettings = { trustDomain: 'td', rootNamespace: 'root', defaultAction: 'deny' };
const parse = (spec: object, apiVersion = 'security.countersign.dev/v1', now?: string): Parsed =>
  parseAuthorizationPolicy(
    { apiVersion, kind: 'AuthorizationPolicy', metadata: { name: 'p', namespace: 'shop' }, spec },
    now === undefined ? {} : { nowMs: () => Date.parse(now) },
  );
const policyOf = (spec: object): Extract<Parsed, { ok: true }>['policy'] => {
  const parsed = parse(spec);
  if (!parsed.ok) throw new Error(renderIssues(parsed.issues));
  return parsed.policy;
};
const request: Request = {
  protocol: 'http',
  principal: 'spiffe://td/ns/shop/sa/web',
  sourceIp: undefined,
  remoteIp: undefined,
  destinationIp: undefined,
  destinationPort: 80,
  sni: undefined,
  method: 'GET',
  path: '/',
  host: 'cart',
  headers: {},
};
const at = (spec: object, time?: string): Decision =>
  evaluate([policyOf({ rules: [{}], ...spec })], request, {
    settings: { ...settings, defaultAction: 'action' in spec ? 'allow' : 'deny' },
    ...(time !== undefined && { nowMs: () => Date.parse(time) }),
  });
const validity = { notBefore: '2027-01-01T00:00:00Z', notAfter: '2027-02-01T00:00:00+02:00' };

describe('spec.validity', () => {
  it.each([
    [{ notAfter: 'tomorrow' }, 'spec.validity.notAfter: expected a time such as'],
    [{ notAfter: '2027-02-30T00:00:00Z' }, 'spec.validity.notAfter: expected a time'],
    // The next midnight to ECMAScript, no hour at all to RFC 3339 section 5.6.
    [{ notAfter: '2027-01-31T24:00:00Z' }, 'spec.validity.notAfter: expected a time'],
    [{ notAfter: '2027-01-31' }, 'spec.validity.notAfter: expected a time'],
    [{ notAfter: '2027-01-31T00:00:00' }, 'spec.validity.notAfter: expected a time'],
    [{ notBefore: 1_800_000_000 }, 'spec.validity.notBefore: expected a time'],
    [{ notBefore: '2027-01-02T00:00:00Z', notAfter: '2027-01-02T00:00:00Z' }, 'ends before it begins'],
    [{}, 'spec.validity: names neither notBefore nor notAfter'],
    [{ notafter: '2027-01-31T00:00:00Z' }, 'did you mean notAfter?'],
    ['2027', 'spec.validity: expected a mapping'],
  ])('refuses %j', (value, message) => {
    const parsed = parse({ rules: [{}], validity: value });
    expect(parsed.ok).toBe(false);
    expect(renderIssues(parsed.issues)).toContain(message);
  });

  it('belongs to the own group only', () => {
    const { issues } = parse({ rules: [{}], validity }, 'security.istio.io/v1');
    expect(renderIssues(issues)).toContain('spec.validity: unknown field');
  });

  it('becomes a condition on the time of the request, in UTC, on each rule', () => {
    const both = compile([policyOf({ rules: [{}, {}], validity })], { protocol: 'tcp', settings });
    const policies = both.allow.typed_config.rules?.policies ?? {};
    const time = { select_expr: { operand: { ident_expr: { name: 'request' } }, field: 'time' } };
    const limit = (operator: string, text: string): object => ({
      call_expr: {
        function: operator,
        args: [
          time,
          { call_expr: { function: 'timestamp', args: [{ const_expr: { string_value: text } }] } },
        ],
      },
    });
    const condition = {
      call_expr: {
        function: '_&&_',
        args: [limit('_>=_', '2027-01-01T00:00:00.000Z'), limit('_<_', '2027-01-31T22:00:00.000Z')],
      },
    };
    expect(Object.values(policies).map((rule) => rule.condition)).toEqual([condition, condition]);
    const half = policyOf({ rules: [{}], validity: { notAfter: validity.notAfter } });
    expect(compile([half], { protocol: 'http', settings }).allow.typed_config.rules?.policies).toMatchObject({
      'ns[shop]-policy[p]-rule[0]': { condition: limit('_<_', '2027-01-31T22:00:00.000Z') },
    });
  });

  it.each([
    ['2026-12-31T23:59:59.999Z', 'DENY', 'the policy begins at 2027-01-01T00:00:00.000Z'],
    ['2027-01-01T00:00:00Z', 'ALLOW', 'allowed by rule 0'],
    ['2027-01-31T21:59:59.999Z', 'ALLOW', 'allowed by rule 0'],
    ['2027-01-31T22:00:00Z', 'DENY', 'the policy ended at 2027-01-31T22:00:00.000Z'],
  ])('at %s: %s', (time, verdict, reason) => {
    const decision = at({ validity }, time);
    expect(decision.verdict).toBe(verdict);
    expect(decision.reason).toContain(reason);
  });

  it('ends a DENY as well', () => {
    expect(at({ action: 'DENY', validity }, '2027-01-15T00:00:00Z').verdict).toBe('DENY');
    expect(at({ action: 'DENY', validity }, '2027-02-15T00:00:00Z').verdict).toBe('ALLOW');
  });

  it('fails closed where the time is not known; the time of the request goes before the clock', () => {
    expect(at({ validity })).toMatchObject({ verdict: 'DENY' });
    expect(at({ validity }).reason).toContain('the time of the request is unknown');
    expect(at({ action: 'DENY', validity }).verdict).toBe('DENY');
    const options = { settings, nowMs: () => 0 };
    const then = { ...request, nowMs: Date.parse('2027-01-15T00:00:00Z') };
    expect(evaluate([policyOf({ rules: [{}], validity })], then, options).verdict).toBe('ALLOW');
  });

  it('takes part in the digest, and is warned about when it is over', () => {
    expect(policyOf({ rules: [{}] }).digest).not.toBe(policyOf({ rules: [{}], validity }).digest);
    const warned = (now: string): string =>
      renderIssues(parse({ rules: [{}], validity }, undefined, now).issues);
    expect(warned('2027-01-15T00:00:00Z')).toBe('');
    expect(warned('2027-03-01T00:00:00Z')).toMatch(/^warning spec.validity.notAfter: is past/);
  });
});
