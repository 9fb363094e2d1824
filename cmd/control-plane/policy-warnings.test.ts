import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Mesh, type MeshObject } from '../../src/mesh/index.ts';
import {
  parseAuthorizationPolicy,
  parseRequestAuthentication,
  renderIssues,
} from '../../src/policy/index.ts';
import { LiveSettings } from './live-settings.ts';
import { PolicyWarnings } from './policy-warnings.ts';

const settings = { trustDomain: 'td', rootNamespace: 'root', defaultAction: 'deny' } as const;

function policy(name: string, spec: object): MeshObject {
  const parsed = parseAuthorizationPolicy({
    apiVersion: 'security.countersign.dev/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name, namespace: 'shop' },
    spec,
  });
  if (!parsed.ok) throw new Error(renderIssues(parsed.issues));
  return { kind: 'AuthorizationPolicy', namespace: 'shop', name, policy: parsed.policy };
}
const tokens = ((): MeshObject => {
  const parsed = parseRequestAuthentication({
    apiVersion: 'security.countersign.dev/v1',
    kind: 'RequestAuthentication',
    metadata: { name: 'jwt', namespace: 'shop' },
    spec: {
      selector: { matchLabels: { app: 'cart' } },
      jwtRules: [{ issuer: 'https://issuer.example', jwksUri: 'https://issuer.example/keys' }],
    },
  });
  if (!parsed.ok) throw new Error(renderIssues(parsed.issues));
  return { kind: 'RequestAuthentication', namespace: 'shop', name: 'jwt', policy: parsed.policy };
})();
const from = (...serviceAccounts: string[]): object => ({ from: [{ source: { serviceAccounts } }] });
const pod: MeshObject = {
  kind: 'Pod',
  namespace: 'shop',
  name: 'cart',
  uid: 'u',
  labels: { app: 'cart' },
  annotations: {},
  serviceAccount: 'cart',
  nodeName: '',
  ips: [],
  phase: 'Running',
  terminating: false,
};

let mesh: Mesh;
let live: LiveSettings;
let said: string[] = [];
let warnings: PolicyWarnings;
beforeEach(() => {
  vi.useFakeTimers();
  said = [];
  mesh = new Mesh({
    rootNamespace: 'root',
    onListenerError: (error) => {
      throw error;
    },
  });
  const warn = (about: object, message: string): void => {
    said.push(`${JSON.stringify(about)} ${message}`);
  };
  live = new LiveSettings(settings);
  warnings = new PolicyWarnings(mesh, live, { warn });
});
afterEach(() => {
  warnings.close();
  vi.useRealTimers();
});
/** What is said after objects were set. */
function after(...objects: MeshObject[]): string[] {
  said = [];
  mesh.update(objects.map((object) => ({ op: 'set', object })));
  vi.runAllTimers();
  return said;
}

describe('warnings of the control plane', () => {
  it('names unknown callers, rules that add nothing and HTTP fields on TCP ports, with policy and field', () => {
    const service: MeshObject = {
      kind: 'Service',
      namespace: 'shop',
      name: 'db',
      selector: { app: 'cart' },
      ports: [{ name: 'tcp-db', port: 5432, targetPort: 5432, protocol: 'TCP', appProtocol: '' }],
    };
    const a = policy('a', {
      rules: [from('gone', 'default'), { to: [{ operation: { methods: ['GET'] } }] }],
    });
    expect(after(pod, service, a, policy('b', { rules: [{}] }))).toEqual([
      '{"kind":"AuthorizationPolicy","policy":"shop/a","field":"spec.rules[0].from[0].source.serviceAccounts[0]","code":"unknown-source"} service account shop/gone does not exist: nobody can match',
      '{"kind":"AuthorizationPolicy","policy":"shop/a","field":"spec.rules[0]","code":"shadowed-rule"} adds nothing: rule 0 of ALLOW policy shop/b already allows all of it',
      '{"kind":"AuthorizationPolicy","policy":"shop/a","field":"spec.rules[1]","code":"shadowed-rule"} adds nothing: rule 0 of ALLOW policy shop/b already allows all of it',
      '{"kind":"AuthorizationPolicy","policy":"shop/a","field":"spec.rules[1]","code":"http-on-tcp"} names HTTP fields, which TCP port 5432 has none of: there the rule never matches',
    ]);
  });

  it('says a finding once, and again when it was gone', () => {
    const gone = policy('a', { rules: [from('gone')] });
    expect(after(pod, gone)).toHaveLength(1);
    expect(after(policy('a', { rules: [from('gone')], mode: 'Shadow' }))).toEqual([]);
    expect(after(policy('a', { rules: [from('gone', 'lost')] }))).toEqual([
      expect.stringContaining('shop/lost does not exist'),
    ]);
    expect(after(policy('a', { rules: [from('default')] }))).toEqual([]);
    expect(after(gone)).toHaveLength(1);
  });

  it('speaks of the policies that changed alone', () => {
    expect(after(pod, policy('a', { rules: [from('gone')] }))).toHaveLength(1);
    expect(
      after(policy('b', { selector: { matchLabels: { app: 'none' } }, rules: [from('default')] })),
    ).toEqual([expect.stringContaining('"policy":"shop/b","field":"spec.selector"')]);
    expect(after({ ...pod, labels: {} })).toEqual([]);
  });

  it('judges changes that come together once all of them are there', () => {
    mesh.update([{ op: 'set', object: policy('a', { rules: [from('web')] }) }]);
    const account = {
      kind: 'ServiceAccount',
      namespace: 'shop',
      name: 'web',
      uid: 'w',
      annotations: {},
    } as const;
    expect(after(pod, account)).toEqual([]);
  });

  it('warns of a rule on tokens when the RequestAuthentication goes, and of one that selects no pod', () => {
    const rules = [{ from: [{ source: { requestPrincipals: ['*'] } }] }];
    expect(after(pod, tokens, policy('a', { rules }))).toEqual([]);
    expect(after({ ...pod, labels: {} })).toEqual([
      expect.stringMatching(/"kind":"RequestAuthentication","policy":"shop\/jwt".*"selects-nothing"/u),
    ]);
    expect(after(pod)).toEqual([]);
    mesh.update([{ op: 'delete', kind: 'RequestAuthentication', key: 'shop/jwt' }]);
    vi.runAllTimers();
    expect(said).toEqual([expect.stringMatching(/"policy":"shop\/a".*"unverified-token"/u)]);
  });

  it('warns when what a policy depends on goes', () => {
    const account: MeshObject = {
      kind: 'ServiceAccount',
      namespace: 'shop',
      name: 'web',
      uid: 'w',
      annotations: {},
    };
    const selector = { matchLabels: { app: 'cart' } };
    expect(after(pod, account, policy('a', { selector, rules: [from('web')] }))).toEqual([]);
    mesh.update([
      { op: 'delete', kind: 'ServiceAccount', key: 'shop/web' },
      { op: 'delete', kind: 'Pod', key: 'shop/cart' },
    ]);
    vi.runAllTimers();
    expect(said).toEqual([
      expect.stringContaining('"selects-nothing"'),
      expect.stringContaining('service account shop/web does not exist'),
    ]);
  });

  it('forgets a policy that is deleted', () => {
    const gone = policy('a', { rules: [from('gone')] });
    expect(after(pod, gone)).toHaveLength(1);
    mesh.update([{ op: 'delete', kind: 'AuthorizationPolicy', key: 'shop/a' }]);
    vi.runAllTimers();
    expect(after(gone)).toHaveLength(1);
  });
});
