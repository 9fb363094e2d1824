import { matchedValues } from './headers.ts';
import { parseIp, type Ip } from './ip.ts';
import { normalizePath, withoutQuery, type EscapedSlashes } from './path.ts';
import type { Attribute, Request } from './types.ts';

/** A request's attributes, read once for all rules. Missing text is empty, as Envoy's matchers see it. */
export interface Facts {
  /** undefined: not known. */
  readonly nowMs: number | undefined;
  /** The whole SPIFFE ID; empty: the peer proved none. */
  readonly principal: string;
  readonly trustDomain: string;
  readonly namespace: string;
  /** `<namespace>/<name>` */
  readonly serviceAccount: string;
  readonly sourceIp: Ip | undefined;
  readonly remoteIp: Ip | undefined;
  readonly destinationIp: Ip | undefined;
  readonly port: number | undefined;
  readonly sni: string;
  readonly method: string;
  /** Normalized, without query. */
  readonly path: string;
  /** ASCII lower case. */
  readonly host: string;
  /** Each value that a matcher may look at. */
  readonly header: (name: string) => readonly string[];
}

/** undefined: Envoy answers 400 before any policy is asked, for the path is malformed. */
export function factsOf(
  request: Request,
  escapedSlashes: EscapedSlashes,
  nowMs?: () => number,
): Facts | undefined {
  const http = request.protocol === 'http';
  const fullPath = http ? normalizePath(request.path ?? '/', escapedSlashes) : '';
  if (fullPath === undefined) return undefined;
  const principal = request.principal?.startsWith('spiffe://') === true ? request.principal : '';
  const sourceIp = ipOf(request.sourceIp);
  const host = http ? (request.host ?? '') : '';
  const method = http ? (request.method ?? '') : '';
  return {
    nowMs: request.nowMs ?? nowMs?.(),
    principal,
    trustDomain: /^spiffe:\/\/([^/]+)/.exec(principal)?.[1] ?? '',
    namespace: /^spiffe:\/\/[^/]+\/ns\/([^/]+)\//.exec(principal)?.[1] ?? '',
    serviceAccount: serviceAccountOf(principal),
    sourceIp,
    // Envoy takes the peer's address where nothing in front of it named another.
    remoteIp: request.remoteIp === undefined ? sourceIp : ipOf(request.remoteIp),
    destinationIp: ipOf(request.destinationIp),
    port: request.destinationPort,
    sni: request.sni ?? '',
    method,
    path: withoutQuery(fullPath),
    host: asciiLower(host),
    header: (name) => headerOf(name, request, { host, method, fullPath }),
  };
}

/** An attribute as one text. Of a header with several values, for people only: matchers look at each. */
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
    case 'request.header':
      return facts.header(attribute.name).join(', ');
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

function ipOf(text: string | undefined): Ip | undefined {
  return text === undefined ? undefined : parseIp(text);
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
