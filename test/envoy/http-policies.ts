import { trustDomain } from './mesh.ts';
import { documents, policyYaml } from './policies.ts';

/** Each rule has a path of its own, so that just one thing decides about a request there. */
function at(path: string, operation: object = {}): { to: object[] } {
  return { to: [{ operation: { paths: [path], ...operation } }] };
}

function from(path: string, source: object): object {
  return { from: [{ source }], ...at(path) };
}

function when(path: string, condition: object): object {
  return { ...at(path), when: [condition] };
}

const selector = { matchLabels: { app: 'cart' } };

/** ALLOW by who calls. @param ip address of `web`; @param block of `web` and nobody else */
export function bySource(ip: string, block: string): string {
  return policyYaml('shop/by-source', {
    selector,
    rules: [
      from('/principal/exact', { principals: [`${trustDomain}/ns/shop/sa/web`] }),
      from('/principal/uri', { principals: [`spiffe://${trustDomain}/ns/shop/sa/web`] }),
      from('/principal/prefix', { principals: [`${trustDomain}/ns/shop/*`] }),
      from('/principal/suffix', { principals: ['*/sa/jobs'] }),
      from('/principal/any', { principals: ['*'] }),
      from('/principal/not', { notPrincipals: [`${trustDomain}/ns/shop/sa/web`] }),
      from('/namespace/exact', { namespaces: ['batch'] }),
      from('/namespace/prefix', { namespaces: ['sh*'] }),
      from('/namespace/suffix', { namespaces: ['*tch'] }),
      from('/namespace/not', { notNamespaces: ['shop'] }),
      from('/account/bare', { serviceAccounts: ['web'] }),
      from('/account/full', { serviceAccounts: ['batch/jobs'] }),
      from('/account/not', { notServiceAccounts: ['web', 'batch/jobs'] }),
      from('/domain/own', { trustDomains: [trustDomain] }),
      from('/domain/other', { trustDomains: ['other.example'] }),
      from('/domain/prefix', { trustDomains: ['mesh.*'] }),
      from('/domain/not', { notTrustDomains: [trustDomain] }),
      from('/ip/one', { ipBlocks: [ip] }),
      from('/ip/block', { ipBlocks: [block] }),
      from('/ip/not', { notIpBlocks: [ip] }),
      from('/ip/remote', { remoteIpBlocks: [ip] }),
      from('/both', { namespaces: ['shop'], ipBlocks: [ip] }),
      { from: [{ source: { namespaces: ['batch'] } }, { source: { ipBlocks: [ip] } }], ...at('/either') },
      when('/when/principal', { key: 'source.principal', values: [`${trustDomain}/ns/shop/sa/web`] }),
      when('/when/namespace', { key: 'source.namespace', notValues: ['batch'] }),
      when('/when/account', { key: 'source.serviceAccount', values: ['batch/jobs'] }),
      when('/when/domain', { key: 'source.trustDomain', values: [trustDomain] }),
      when('/when/ip', { key: 'source.ip', values: [block] }),
      when('/when/remote', { key: 'remote.ip', notValues: [ip] }),
    ],
  });
}

/** ALLOW by what is asked. @param ip address of `cart` */
export function byOperation(ip: string): string {
  return policyYaml('shop/by-operation', {
    selector,
    rules: [
      at('/host/exact', { hosts: ['cart.shop'] }),
      at('/host/prefix', { hosts: ['cart.*'] }),
      at('/host/suffix', { hosts: ['*.example'] }),
      at('/host/not', { notHosts: ['cart.shop'] }),
      at('/method/exact', { methods: ['GET', 'PUT'] }),
      at('/method/prefix', { methods: ['P*'] }),
      at('/method/not', { notMethods: ['DELETE'] }),
      { to: [{ operation: { paths: ['/path/exact', '/path/prefix/*', '*/tail'] } }] },
      { to: [{ operation: { paths: ['/tree/{*}/leaf', '/forest/{**}'] } }] },
      { to: [{ operation: { paths: ['/hole/*'], notPaths: ['/hole/secret', '/hole/{*}/key'] } }] },
      { to: [{ operation: { paths: ['*'], methods: ['OPTIONS'] } }] },
      at('/port/own', { ports: ['8080'] }),
      at('/port/other', { ports: ['9999'] }),
      at('/port/not', { notPorts: ['8080'] }),
      when('/header/exact', { key: 'request.headers[X-Tier]', values: ['gold', 'silver'] }),
      when('/header/prefix', { key: 'request.headers[x-tier]', values: ['go*'] }),
      when('/header/suffix', { key: 'request.headers[x-tier]', values: ['*ld'] }),
      when('/header/any', { key: 'request.headers[x-tier]', values: ['*'] }),
      when('/header/not', { key: 'request.headers[x-tier]', notValues: ['gold'] }),
      when('/header/none', { key: 'request.headers[x-tier]', notValues: ['*'] }),
      when('/destination/ip', { key: 'destination.ip', values: [ip] }),
      when('/destination/port', { key: 'destination.port', notValues: ['8080'] }),
      { ...at('/two'), when: [header('x-a', '1'), header('x-b', '2')] },
    ],
  });
}

function header(name: string, value: string): object {
  return { key: `request.headers[${name}]`, values: [value] };
}

/** DENY inside of what is allowed. */
export const denials: string = documents(
  policyYaml('shop/open', { selector, rules: [at('/denied/*'), at('/tried/*')] }),
  policyYaml('shop/never', {
    selector,
    action: 'DENY',
    rules: [
      at('/denied/always'),
      from('/denied/batch', { namespaces: ['batch'] }),
      from('/denied/all-but-web', { notPrincipals: [`${trustDomain}/ns/shop/sa/web`] }),
      at('/denied/writes', { notMethods: ['GET'] }),
      when('/denied/header', { key: 'request.headers[x-debug]', values: ['*'] }),
      { to: [{ operation: { paths: ['/denied/{*}/key'] } }] },
    ],
  }),
  policyYaml('shop/never-twice', { selector, action: 'DENY', rules: [at('/denied/always')] }),
  // In the root namespace: it reaches every pod.
  policyYaml('countersign-system/everywhere', { action: 'DENY', rules: [at('/denied/everywhere')] }),
  // Of another pod, and of another namespace: they must not count here.
  policyYaml('shop/not-mine', { selector: { matchLabels: { app: 'web' } }, action: 'DENY', rules: [{}] }),
  policyYaml('batch/not-mine', { action: 'DENY', rules: [{}] }),
);

export const audits: string = documents(
  policyYaml('countersign-system/audit-writes', {
    action: 'AUDIT',
    rules: [{ to: [{ operation: { notMethods: ['GET'] } }] }],
  }),
  policyYaml('shop/audit-denied', { selector, action: 'AUDIT', rules: [at('/denied/*')] }),
);

export const shadows: string = documents(
  policyYaml('shop/try-to-deny', { selector, mode: 'Shadow', action: 'DENY', rules: [at('/tried/*')] }),
  policyYaml('shop/try-to-allow', { selector, mode: 'Shadow', rules: [at('/not-yet')] }),
);
