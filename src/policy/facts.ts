import { matchedValues } from './headers.ts';
import { parseIp, unmapped, type Ip } from './ip.ts';
import { normalizePath, withoutQuery, type EscapedSlashes } from './path.ts';
import { quote } from './shape.ts';
import type { Attribute, PeerCertificate, Request } from './types.ts';

/** A request's attributes, read once for all rules. Missing text is empty, as Envoy's matchers see it. */
export interface Facts {
  /** undefined: not known. */
  readonly nowMs: number | undefined;
  /** The whole SPIFFE ID; empty: the peer proved none. */
  readonly principal: string;
  /** undefined: not known, or none. */
  readonly certificate: PeerCertificate | undefined;
  readonly trustDomain: string;
  readonly namespace: string;
  /** `<namespace>/<name>` */
  readonly serviceAccount: string;
  readonly sourceIp: Ip | undefined;
  readonly remoteIp: Ip | undefined;
  readonly destinationIp: Ip | undefined;
  readonly port: number | undefined;
  /** Lower case, as Envoy reads it. */
  readonly sni: string;
  readonly method: string;
  /** Normalized, without query. */
  readonly path: string;
  /** ASCII lower case. */
  readonly host: string;
  /** Each value that a matcher may look at. */
  readonly header: (name: string) => readonly string[];
  readonly verifiedToken: boolean;
  readonly issuer: string;
  readonly subject: string;
  /** The claim, or the texts of the list that it is. */
  readonly claim: (path: readonly string[]) => readonly string[];
  readonly metadata: (filter: string, key: string) => unknown;
}

const MALFORMED =
  'the path is malformed or holds an escaped slash: Envoy answers 400 before any policy is asked';

/** Text: why Envoy answers 400 before any policy is asked. */
export function factsOf(
  request: Request,
  escapedSlashes: EscapedSlashes,
  nowMs?: () => number,
): Facts | string {
  const underscored = request.protocol === 'http' ? underscoredHeader(request) : undefined;
  return underscored === undefined
    ? verifiedFactsOf(request, escapedSlashes, nowMs)
    : `the name of header ${quote(underscored)} holds a _: Envoy answers 400 before any policy is asked`;
}

/** As `factsOf`, behind the verification of tokens: headers that it wrote may have any name. */
export function verifiedFactsOf(
  request: Request,
  escapedSlashes: EscapedSlashes,
  nowMs?: () => number,
): Facts | string {
  const http = request.protocol === 'http';
  const fullPath = http ? normalizePath(request.path ?? '/', escapedSlashes) : '';
  if (fullPath === undefined) return MALFORMED;
  const principal = request.principal?.startsWith('spiffe://') === true ? request.principal : '';
  const sourceIp = socketIp(request.sourceIp);
  const host = http ? (request.host ?? '') : '';
  const method = http ? (request.method ?? '') : '';
  return {
    nowMs: request.nowMs ?? nowMs?.(),
    principal,
    certificate: request.certificate,
    trustDomain: /^spiffe:\/\/([^/]+)/.exec(principal)?.[1] ?? '',
    namespace: /^spiffe:\/\/[^/]+\/ns\/([^/]+)\//.exec(principal)?.[1] ?? '',
    serviceAccount: serviceAccountOf(principal),
    sourceIp,
    // Envoy takes the peer's address where nothing in front of it named another.
    remoteIp: request.remoteIp === undefined ? sourceIp : ipOf(request.remoteIp),
    destinationIp: socketIp(request.destinationIp),
    port: request.destinationPort,
    sni: asciiLower(request.sni ?? ''),
    method,
    path: withoutQuery(fullPath),
    host: asciiLower(host),
    verifiedToken: http && isStruct(request.claims),
    issuer: textClaim(request, 'iss'),
    subject: textClaim(request, 'sub'),
    claim: (path) => textsIn(claimOf(request, path)),
    metadata: (filter, key) => fieldOf(fieldOf(request.filterMetadata, filter), key),
    header: (name) => headerOf(name, request, { host, method, fullPath }),
  };
}

/** An app may read its `_` as `-`, past a rule on the other name: the bootstrap has Envoy refuse the request. */
function underscoredHeader({ headers }: Request): string | undefined {
  return Object.keys(headers).find((name) => name.includes('_') && (headers[name] ?? []).length > 0);
}

/** The texts of an attribute; a matcher is satisfied when any of them is. */
export function textsOf(attribute: Attribute, facts: Facts): readonly string[] {
  switch (attribute.kind) {
    case 'request.header':
      return facts.header(attribute.name);
    case 'request.auth.claim':
      return facts.claim(attribute.path);
    case 'filter.metadata': {
      const value = facts.metadata(attribute.filter, attribute.key);
      return typeof value === 'string' ? [value] : [];
    }
    default:
      return [textOf(attribute, facts)];
  }
}

/** The texts of a list that another filter wrote down. */
export function itemsOf(attribute: Attribute, facts: Facts): readonly string[] {
  if (attribute.kind !== 'filter.metadata') return [];
  const value = facts.metadata(attribute.filter, attribute.key);
  return Array.isArray(value) ? textsIn(value) : [];
}

/** An attribute as one text; where it may have several, for people only. */
export function textOf(attribute: Attribute, facts: Facts): string {
  switch (attribute.kind) {
    case 'source.principal':
      return facts.principal;
    case 'source.namespace':
      return facts.namespace;
    case 'source.serviceAccount':
      return facts.serviceAccount;
    case 'source.trustDomain':
      return facts.trustDomain;
    case 'connection.sni':
      return facts.sni;
    case 'request.host':
      return facts.host;
    case 'request.method':
      return facts.method;
    case 'request.path':
      return facts.path;
    case 'request.auth.principal':
      return facts.issuer === '' || facts.subject === '' ? '' : `${facts.issuer}/${facts.subject}`;
    case 'request.header':
    case 'request.auth.claim':
      return textsOf(attribute, facts).join(', ');
    case 'filter.metadata':
      return [...textsOf(attribute, facts), ...itemsOf(attribute, facts)].join(', ');
    case 'destination.port':
      return facts.port === undefined ? '' : String(facts.port);
    default:
      return ipFact(attribute, facts)?.toString() ?? '';
  }
}

export function ipFact({ kind }: Attribute, facts: Facts): Ip | undefined {
  if (kind === 'source.ip') return facts.sourceIp;
  if (kind === 'remote.ip') return facts.remoteIp;
  return kind === 'destination.ip' ? facts.destinationIp : undefined;
}

/** As Envoy compares hosts: beyond ASCII every letter is itself. */
export function asciiLower(text: string): string {
  return text.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase());
}

function serviceAccountOf(principal: string): string {
  const [, namespace, name] = /^spiffe:\/\/[^/]+\/ns\/([^/]+)\/sa\/([^/]+)$/.exec(principal) ?? [];
  return namespace === undefined || name === undefined ? '' : `${namespace}/${name}`;
}

/** Claims live in a protobuf Struct: a path leads through mappings only. */
function claimOf({ protocol, claims }: Request, path: readonly string[]): unknown {
  return protocol === 'http' ? path.reduce<unknown>(fieldOf, claims) : undefined;
}

function textClaim(request: Request, name: string): string {
  const claim = claimOf(request, [name]);
  return typeof claim === 'string' ? claim : '';
}

function textsIn(value: unknown): readonly string[] {
  const values: readonly unknown[] = Array.isArray(value) ? value : [value];
  return values.filter((entry) => typeof entry === 'string');
}

function fieldOf(value: unknown, name: string): unknown {
  return isStruct(value) && Object.hasOwn(value, name) ? value[name] : undefined;
}

function isStruct(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function ipOf(text: string | undefined): Ip | undefined {
  return text === undefined ? undefined : parseIp(text);
}

/** Envoy reads mapped addresses of its sockets as IPv4; those that a header names it takes as they are. */
function socketIp(text: string | undefined): Ip | undefined {
  const ip = ipOf(text);
  return ip && unmapped(ip);
}

interface PseudoHeaders {
  readonly host: string;
  readonly method: string;
  readonly fullPath: string;
}

/** Envoy keeps `Host` as `:authority`. */
function headerOf(name: string, request: Request, pseudo: PseudoHeaders): readonly string[] {
  if (request.protocol === 'tcp') return [];
  if (name === 'host' || name === ':authority') return [pseudo.host];
  if (name === ':method') return [pseudo.method];
  if (name === ':path') return [pseudo.fullPath];
  return Object.hasOwn(request.headers, name) ? matchedValues(name, request.headers[name] ?? []) : [];
}
