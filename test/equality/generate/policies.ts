import * as fc from 'fast-check';
import type { Condition, Fields, PolicyDocument, PolicySet, RuleDocument } from '../case.ts';
import { AUTHORIZERS, NOW } from '../world.ts';
import { authentications } from './authentications.ts';
import { quarantine } from './quarantine.ts';
import { CONDITION_VALUES, FIELD_VALUES } from './values.ts';

const SOURCE = [
  'principals',
  'namespaces',
  'serviceAccounts',
  'trustDomains',
  'ipBlocks',
  'remoteIpBlocks',
  'requestPrincipals',
];
const OPERATION = ['hosts', 'methods', 'paths', 'paths', 'ports'];
/** What a TCP port has of the language. HTTP fields come there too, but seldom: they end a rule, or widen it. */
const TCP_OPERATION = ['ports', 'ports', 'ports', 'ports', 'methods'];
const isHttp = (key: string): boolean => key.startsWith('request.');
/** What runs before anybody is known cannot ask who it is. */
const CUSTOM_SOURCE = ['ipBlocks', 'remoteIpBlocks'];
const isIdentity = (key: string): boolean =>
  key.startsWith('request.auth.') || (key.startsWith('source.') && key !== 'source.ip');

/** Over, not begun, and in force; those near the time of the run stay well away from it. */
const VALIDITIES = [
  { notBefore: `${NOW}-30m`, notAfter: `${NOW}+30m` },
  { notBefore: `${NOW}-90m`, notAfter: `${NOW}-20m` },
  { notBefore: `${NOW}+20m`, notAfter: `${NOW}+90m` },
  { notAfter: `${NOW}+20m` },
  { notAfter: '2020-01-01T00:00:00Z' },
  { notBefore: '2120-01-01T00:00:00Z' },
  { notBefore: '2020-01-01T00:00:00.5+01:00', notAfter: '2120-01-01T00:00:00Z' },
];

function some<T>(arbitrary: fc.Arbitrary<T>, maxLength: number): fc.Arbitrary<T[]> {
  return fc.array(arbitrary, { minLength: 1, maxLength, size: 'max' });
}

/** A source or an operation: one or two fields, positive or negative. */
function clause(names: readonly string[]): fc.Arbitrary<Fields> {
  const field = fc
    .tuple(fc.constantFrom(...names), fc.integer({ min: 1, max: 10 }))
    .chain(([name, dice]) =>
      some(FIELD_VALUES[name] ?? fc.constant('*'), 2).map((values): [string, string[]] => [
        dice > 7 ? `not${name.charAt(0).toUpperCase()}${name.slice(1)}` : name,
        values,
      ]),
    );
  return some(field, 2).map((fields) => lawful(Object.fromEntries(fields)));
}

/** Service accounts do not stand beside principals or namespaces. */
function lawful(fields: Record<string, string[]>): Fields {
  const accounts = Object.keys(fields).some((name) => /serviceAccounts/iu.test(name));
  if (!accounts) return fields;
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !/principals|namespaces/iu.test(name)));
}

function condition(keys: readonly string[]): fc.Arbitrary<Condition> {
  return fc.constantFrom(...keys).chain((key) => {
    const values = some(CONDITION_VALUES[key] ?? fc.constant('*'), 2);
    return fc.oneof(
      { weight: 3, arbitrary: fc.record({ key: fc.constant(key), values }) },
      { weight: 2, arbitrary: fc.record({ key: fc.constant(key), notValues: values }) },
      { weight: 1, arbitrary: fc.record({ key: fc.constant(key), values, notValues: values }) },
    );
  });
}

function rule(protocol: PolicySet['protocol'], custom: boolean): fc.Arbitrary<RuleDocument> {
  const operation = clause(protocol === 'http' ? OPERATION : TCP_OPERATION);
  const keys = Object.keys(CONDITION_VALUES).filter(
    (key) => (protocol === 'http' || !isHttp(key)) && !(custom && isIdentity(key)),
  );
  return fc.record(
    {
      from: some(fc.record({ source: clause(custom ? CUSTOM_SOURCE : SOURCE) }), 2),
      to: some(fc.record({ operation }), 2),
      when: some(condition(keys), 2),
    },
    { requiredKeys: [] },
  );
}

/** Authorizers, one name that has another's for a prefix, and one that is a prefix. */
const PROVIDERS = [...AUTHORIZERS.map(({ name }) => name), 'grp', 'http2'];

/** @param provider that most CUSTOM policies of the workload name: two are one too many */
function document(protocol: PolicySet['protocol'], provider: string): fc.Arbitrary<PolicyDocument> {
  return fc
    .record({
      // Neighbours in the order of names, which decides what rule Envoy names.
      name: fc.constantFrom('p', 'p-1', 'p.1', 'p1', '0', 'q'),
      namespace: fc.constantFrom('a', 'a', 'root'),
      action: fc.constantFrom('ALLOW', 'ALLOW', 'ALLOW', 'DENY', 'DENY', 'AUDIT', 'CUSTOM'),
      asked: fc.oneof(
        { weight: 7, arbitrary: fc.constant(provider) },
        { weight: 1, arbitrary: fc.constantFrom(...PROVIDERS) },
      ),
      shadow: fc.integer({ min: 0, max: 3 }),
      istio: fc.boolean(),
      validity: fc.oneof(
        { weight: 6, arbitrary: fc.constant(undefined) },
        { weight: 1, arbitrary: fc.constantFrom(...VALIDITIES) },
      ),
    })
    .chain(({ name, namespace, action, asked, shadow: dice, istio, validity }) => {
      const custom = action === 'CUSTOM';
      const shadow = dice === 0 && !custom;
      const fewest = action === 'DENY' || custom ? 1 : 0;
      const each = rule(protocol, custom);
      const rules = fc.oneof(
        { weight: 12, arbitrary: fc.array(each, { minLength: fewest, maxLength: 3, size: 'max' }) },
        // More than ten: `rule[10]` stands before `rule[2]`.
        { weight: 1, arbitrary: fc.array(each, { minLength: 11, maxLength: 13, size: 'max' }) },
      );
      return rules.map((list): PolicyDocument => ({
        apiVersion: istio ? 'security.istio.io/v1' : 'security.countersign.dev/v1',
        kind: 'AuthorizationPolicy',
        metadata: {
          name,
          namespace,
          ...(istio && shadow && { annotations: { 'istio.io/dry-run': 'true' } }),
        },
        spec: {
          action,
          ...(custom && { provider: { name: asked } }),
          ...(!istio && shadow && { mode: 'Shadow' }),
          ...(!istio && validity && { validity }),
          ...(list.length > 0 && { rules: list }),
        },
      }));
    });
}

/** All policies of one workload. */
export function policySet(protocol: PolicySet['protocol']): fc.Arbitrary<PolicySet> {
  const provider = fc.constantFrom('grpc', 'grpc', 'grpc', 'http', 'http', 'http', ...PROVIDERS);
  return provider.chain((asked) => setOf(protocol, asked));
}

function setOf(protocol: PolicySet['protocol'], provider: string): fc.Arbitrary<PolicySet> {
  return fc.record({
    protocol: fc.constant(protocol),
    defaultAction: fc.constantFrom('deny', 'deny', 'allow'),
    portKnown: fc.boolean(),
    aliases: fc.constantFrom(false, false, true),
    ended: fc.constantFrom(false, false, false, true),
    ...(protocol === 'http' && {
      authentications: fc.oneof(
        { weight: 3, arbitrary: fc.constant([]) },
        { weight: 1, arbitrary: authentications },
      ),
    }),
    quarantine: fc.oneof(
      // Of the few sets that speak TCP, more.
      { weight: protocol === 'http' ? 11 : 4, arbitrary: fc.constant([]) },
      { weight: 1, arbitrary: quarantine },
    ),
    documents: fc.uniqueArray(document(protocol, provider), {
      minLength: 1,
      maxLength: 4,
      size: 'max',
      selector: ({ metadata }) => `${metadata.namespace}/${metadata.name}`,
    }),
  });
}
