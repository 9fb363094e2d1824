import { parseAuthorizationPolicy, type AuthorizationPolicy, type Request } from '../../src/policy/index.ts';

/** A mesh as full as the issue's: ten policies and fifty workloads to a namespace. */
export interface PolicySet {
  readonly policies: readonly AuthorizationPolicy[];
  readonly workloads: readonly Subject[];
}

interface Subject {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
}

const APPS = 8;
const WORKLOADS = 50;

/** In each namespace eight apps' ALLOW policies, one DENY and one ALLOW for all of its workloads. */
export function policySet(namespaces: number): PolicySet {
  const names = Array.from({ length: namespaces }, (_, at) => `team-${at}`);
  return {
    policies: names.flatMap((namespace) => [
      ...Array.from({ length: APPS }, (_, app) => appPolicy(namespace, `app-${app}`)),
      closedPolicy(namespace),
      openPolicy(namespace, '/metrics'),
    ]),
    workloads: names.flatMap((namespace) =>
      Array.from({ length: WORKLOADS }, (_, at) => ({ namespace, labels: { app: `app-${at % APPS}` } })),
    ),
  };
}

/** The policy that selects every workload of its namespace, and allows one path. */
export function openPolicy(namespace: string, path: string): AuthorizationPolicy {
  return parse(namespace, 'open', {
    rules: [{ from: [{ source: { namespaces: ['observability'] } }], to: [operation(['GET'], [path])] }],
  });
}

/** ALLOW policies of one workload: ten with a hundred rules, each rule for a caller of its own. */
export function callerPolicies(rules: number): readonly AuthorizationPolicy[] {
  const all = Array.from({ length: rules }, (_, at) => ({
    from: [{ source: { principals: [callerOf(at).slice('spiffe://'.length)] } }],
    to: [operation(['GET', 'POST'], [`/orders/${at}`, `/orders/${at}/*`])],
  }));
  const share = Math.ceil(rules / 10);
  return Array.from({ length: 10 }, (_, at) =>
    parse('shop', `orders-${at}`, { rules: all.slice(at * share, (at + 1) * share) }),
  );
}

/** The same number of rules for anybody, each for one path, one host, one port or one block of addresses. */
export function anybodyPolicies(
  rules: number,
  by: 'path' | 'host' | 'port' | 'block',
): readonly AuthorizationPolicy[] {
  const one = {
    path: (at: number) => ({ to: [operation(['GET'], [`/orders/${at}`, `/orders/${at}/*`])] }),
    host: (at: number) => ({ to: [{ operation: { hosts: [`orders-${at}.shop`] } }] }),
    port: (at: number) => ({ to: [{ operation: { ports: [String(10_000 + at)] } }] }),
    block: (at: number) => ({ from: [{ source: { ipBlocks: [`10.${1 + (at >> 8)}.${at & 255}.0/24`] } }] }),
  }[by];
  const all = Array.from({ length: rules }, (_, at) => one(at));
  const share = Math.ceil(rules / 10);
  return Array.from({ length: 10 }, (_, at) =>
    parse('shop', `orders-${at}`, { rules: all.slice(at * share, (at + 1) * share) }),
  );
}

export function callerOf(at: number): string {
  return `spiffe://cluster.local/ns/team-${at % 10}/sa/caller-${at}`;
}

/** What the caller of the n-th rule asks. */
export function requestOf(principal: string, at: number): Request {
  return {
    protocol: 'http',
    principal,
    sourceIp: '10.0.0.7',
    remoteIp: undefined,
    destinationIp: '10.0.0.8',
    destinationPort: 8080,
    sni: undefined,
    method: 'GET',
    path: `/orders/${at}/items?page=2`,
    host: 'orders.shop',
    headers: {},
  };
}

function appPolicy(namespace: string, app: string): AuthorizationPolicy {
  return parse(namespace, app, {
    selector: { matchLabels: { app } },
    rules: [
      {
        from: [{ source: { principals: [`cluster.local/ns/${namespace}/sa/web`] } }],
        to: [operation(['GET', 'POST'], [`/${app}`, `/${app}/*`])],
      },
      {
        from: [{ source: { namespaces: ['checkout'], notPrincipals: ['*/sa/batch'] } }],
        to: [operation(['GET'], [`/${app}/items/{*}`])],
        when: [{ key: 'request.headers[x-tier]', values: ['gold', 'silver'] }],
      },
    ],
  });
}

function closedPolicy(namespace: string): AuthorizationPolicy {
  return parse(namespace, 'closed', {
    action: 'DENY',
    rules: [
      { from: [{ source: { notTrustDomains: ['cluster.local'] } }], to: [operation(['PUT'], ['/admin/*'])] },
    ],
  });
}

function operation(methods: readonly string[], paths: readonly string[]): object {
  return { operation: { methods, paths } };
}

function parse(namespace: string, name: string, spec: object): AuthorizationPolicy {
  const parsed = parseAuthorizationPolicy({
    apiVersion: 'security.countersign.dev/v1',
    kind: 'AuthorizationPolicy',
    metadata: { namespace, name },
    spec,
  });
  if (!parsed.ok) throw new Error(`the bench's own policy: ${JSON.stringify(parsed.issues)}`);
  return parsed.policy;
}
