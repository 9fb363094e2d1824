import type { Attribute } from './types.ts';

/** `rules[].from[].source`; each has its `not...` twin. */
export const SOURCE_FIELDS: ReadonlyMap<string, Attribute> = new Map<string, Attribute>([
  ['principals', { kind: 'source.principal' }],
  ['namespaces', { kind: 'source.namespace' }],
  ['serviceAccounts', { kind: 'source.serviceAccount' }],
  ['trustDomains', { kind: 'source.trustDomain' }],
  ['ipBlocks', { kind: 'source.ip' }],
  ['remoteIpBlocks', { kind: 'remote.ip' }],
  ['requestPrincipals', { kind: 'request.auth.principal' }],
]);

/** `rules[].to[].operation`; each has its `not...` twin. */
export const OPERATION_FIELDS: ReadonlyMap<string, Attribute> = new Map<string, Attribute>([
  ['hosts', { kind: 'request.host' }],
  ['methods', { kind: 'request.method' }],
  ['paths', { kind: 'request.path' }],
  ['ports', { kind: 'destination.port' }],
]);

/** `rules[].when[].key`, beside those of {@link KEY_FORMS}. */
export const CONDITION_KEYS: ReadonlyMap<string, Attribute> = new Map<string, Attribute>([
  ['source.ip', { kind: 'source.ip' }],
  ['remote.ip', { kind: 'remote.ip' }],
  ['source.namespace', { kind: 'source.namespace' }],
  ['source.serviceAccount', { kind: 'source.serviceAccount' }],
  ['source.trustDomain', { kind: 'source.trustDomain' }],
  ['source.principal', { kind: 'source.principal' }],
  ['destination.ip', { kind: 'destination.ip' }],
  ['destination.port', { kind: 'destination.port' }],
  ['connection.sni', { kind: 'connection.sni' }],
  ['request.auth.principal', { kind: 'request.auth.principal' }],
  ['request.auth.audiences', { kind: 'request.auth.claim', path: ['aud'] }],
  ['request.auth.presenter', { kind: 'request.auth.claim', path: ['azp'] }],
]);

/** Keys that name something in brackets. */
export const KEY_FORMS: readonly string[] = [
  'request.headers[NAME]',
  'request.auth.claims[NAME]',
  'experimental.envoy.filters.NAME[KEY]',
];

/** `notPaths` for `paths`. */
export function notField(name: string): string {
  return `not${name.charAt(0).toUpperCase()}${name.slice(1)}`;
}

const IDENTITY: ReadonlySet<Attribute['kind']> = new Set([
  'source.principal',
  'source.namespace',
  'source.serviceAccount',
  'source.trustDomain',
]);

/** Who the peer proved to be. */
export function isIdentity({ kind }: Attribute): boolean {
  return IDENTITY.has(kind);
}

/** The names of the own trust domain, where an attribute speaks of workloads there. */
export function withinOf(attribute: Attribute): readonly string[] | undefined {
  return attribute.kind === 'source.namespace' || attribute.kind === 'source.serviceAccount'
    ? attribute.within
    : undefined;
}

/** What an ALLOW asks for before it takes a "not x" for an answer: an authenticated peer, a verified token. */
export function proofFor(attribute: Attribute): 'peer' | 'token' | undefined {
  if (isIdentity(attribute)) return 'peer';
  return attribute.kind === 'request.auth.principal' ? 'token' : undefined;
}

/** Names of hosts have no case: a caller writes them as it likes, and Envoy reads an SNI in lower case. */
export function isHostName({ kind }: Attribute): boolean {
  return kind === 'request.host' || kind === 'connection.sni';
}

/** Not there on a TCP connection. */
export function needsHttp({ kind }: Attribute): boolean {
  return kind.startsWith('request.');
}

type Named = 'request.header' | 'request.auth.claim' | 'filter.metadata';

const WORDS: Readonly<Record<Exclude<Attribute['kind'], Named>, string>> = {
  'source.principal': 'source principal',
  'source.namespace': 'source namespace',
  'source.serviceAccount': 'source service account',
  'source.trustDomain': 'source trust domain',
  'source.ip': 'source IP',
  'remote.ip': 'remote IP',
  'destination.ip': 'destination IP',
  'destination.port': 'port',
  'connection.sni': 'SNI',
  'request.host': 'host',
  'request.method': 'method',
  'request.path': 'path',
  'request.auth.principal': 'request principal',
};

/** The attribute in an operator's words. */
export function attributeName(attribute: Attribute): string {
  switch (attribute.kind) {
    case 'request.header':
      return `header ${attribute.name}`;
    case 'request.auth.claim':
      return `claim ${attribute.path.join('.')}`;
    case 'filter.metadata':
      return `metadata ${attribute.key} of ${attribute.filter}`;
    default:
      return WORDS[attribute.kind];
  }
}
