import * as fc from 'fast-check';
import type { Condition, Fields, PolicyDocument, PolicySet, RuleDocument } from '../case.ts';
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

/** Over, not begun, and in force. */
const VALIDITIES = [
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

function rule(protocol: PolicySet['protocol']): fc.Arbitrary<RuleDocument> {
  const operation = clause(protocol === 'http' ? OPERATION : TCP_OPERATION);
  const keys = Object.keys(CONDITION_VALUES).filter((key) => protocol === 'http' || !isHttp(key));
  return fc.record(
    {
      from: some(fc.record({ source: clause(SOURCE) }), 2),
      to: some(fc.record({ operation }), 2),
      when: some(condition(keys), 2),
    },
    { requiredKeys: [] },
  );
}

function document(protocol: PolicySet['protocol']): fc.Arbitrary<PolicyDocument> {
  return fc
    .record({
      // Neighbours in the order of names, which decides what rule Envoy names.
      name: fc.constantFrom('p', 'p-1', 'p.1', 'p1', '0', 'q'),
      namespace: fc.constantFrom('a', 'a', 'root'),
      action: fc.constantFrom('ALLOW', 'ALLOW', 'ALLOW', 'DENY', 'DENY', 'AUDIT'),
      shadow: fc.integer({ min: 0, max: 3 }),
      istio: fc.boolean(),
      validity: fc.oneof(
        { weight: 9, arbitrary: fc.constant(undefined) },
        { weight: 1, arbitrary: fc.constantFrom(...VALIDITIES) },
      ),
    })
    .chain(({ name, namespace, action, shadow, istio, validity }) => {
      const fewest = action === 'DENY' ? 1 : 0;
      const rules = fc.oneof(
        { weight: 12, arbitrary: fc.array(rule(protocol), { minLength: fewest, maxLength: 3, size: 'max' }) },
        // More than ten: `rule[10]` stands before `rule[2]`.
        { weight: 1, arbitrary: fc.array(rule(protocol), { minLength: 11, maxLength: 13, size: 'max' }) },
      );
      return rules.map((list): PolicyDocument => ({
        apiVersion: istio ? 'security.istio.io/v1' : 'security.countersign.dev/v1',
        kind: 'AuthorizationPolicy',
        metadata: {
          name,
          namespace,
          ...(istio && shadow === 0 && { annotations: { 'istio.io/dry-run': 'true' } }),
        },
        spec: {
          action,
          ...(!istio && shadow === 0 && { mode: 'Shadow' }),
          ...(!istio && validity && { validity }),
          ...(list.length > 0 && { rules: list }),
        },
      }));
    });
}

/** All policies of one workload. */
export function policySet(protocol: PolicySet['protocol']): fc.Arbitrary<PolicySet> {
  return fc.record({
    protocol: fc.constant(protocol),
    defaultAction: fc.constantFrom('deny', 'deny', 'allow'),
    portKnown: fc.boolean(),
    aliases: fc.constantFrom(false, false, true),
    documents: fc.uniqueArray(document(protocol), {
      minLength: 1,
      maxLength: 4,
      size: 'max',
      selector: ({ metadata }) => `${metadata.namespace}/${metadata.name}`,
    }),
  });
}
