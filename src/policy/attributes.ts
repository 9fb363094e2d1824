import type { Attribute } from './types.ts';

/** `rules[].from[].source`; each has its `not...` twin. */
export const SOURCE_FIELDS: ReadonlyMap<string, Attribute> = new Map<string, Attribute>([
  ['principals', { kind: 'source.principal' }],
  ['namespaces', { kind: 'source.namespace' }],
  ['serviceAccounts', { kind: 'source.serviceAccount' }],
  ['trustDomains', { kind: 'source.trustDomain' }],
  ['ipBlocks', { kind: 'source.ip' }],
  ['remoteIpBlocks', { kind: 'remote.ip' }],
]);

export const UNSUPPORTED_SOURCE_FIELDS: readonly string[] = ['requestPrincipals', 'notRequestPrincipals'];

/** `rules[].to[].operation`; each has its `not...` twin. */
export const OPERATION_FIELDS: ReadonlyMap<string, Attribute> = new Map<string, Attribute>([
  ['hosts', { kind: 'request.host' }],
  ['methods', { kind: 'request.method' }],
  ['paths', { kind: 'request.path' }],
  ['ports', { kind: 'destination.port' }],
]);

/** `rules[].when[].key`, beside `request.headers[NAME]`. */
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
]);

export const UNSUPPORTED_CONDITION: RegExp =
  /^(request\.auth\.(principal|audiences|presenter|claims\[.*)|experimental\.envoy\.filters\..*)$/;

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

/** Not there on a TCP connection. */
export function needsHttp({ kind }: Attribute): boolean {
  return kind.startsWith('request.');
}

const WORDS: Readonly<Record<Exclude<Attribute['kind'], 'request.header'>, string>> = {
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
};

/** The attribute in an operator's words. */
export function attributeName(attribute: Attribute): string {
  return attribute.kind === 'request.header' ? `header ${attribute.name}` : WORDS[attribute.kind];
}
