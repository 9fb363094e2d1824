import type { Findings } from './findings.ts';
import { parseCidr } from './ip.ts';
import { normalizePath } from './path.ts';
import { describe, quote } from './shape.ts';
import { templateFault } from './template.ts';
import type { Attribute, Matcher, TextMatcher } from './types.ts';

/** Where a value stands. */
export interface ValueContext {
  /** Completes a bare service account name. */
  readonly namespace: string;
  readonly path: string;
  readonly findings: Findings;
}

const MAX_VALUE_LENGTH = 2048;

/** One value of an attribute; undefined (and said so) where it is none. */
export function parseValue(value: unknown, attribute: Attribute, context: ValueContext): Matcher | undefined {
  const { findings, path } = context;
  if (typeof value !== 'string') {
    findings.error(path, `expected a string, found ${describe(value)}; put it in quotes`);
    return undefined;
  }
  const fault = textFault(value);
  if (fault !== undefined) {
    findings.error(path, fault);
    return undefined;
  }
  const matcher = READERS[attribute.kind](value, context);
  if (typeof matcher !== 'string') return matcher;
  findings.error(path, matcher);
  return undefined;
}

function textFault(value: string): string | undefined {
  if (value === '') return 'an empty string matches nothing; write a value, or "*" for any';
  if (value.length > MAX_VALUE_LENGTH)
    return `a value has at most ${MAX_VALUE_LENGTH} characters; this one has ${value.length}`;
  if (!value.isWellFormed()) return `${quote(value)} holds half of a character; no request can have that`;
  if (value !== value.trim())
    return `${quote(value)} has blanks around it and could never match; remove them`;
  return undefined;
}

/** The matcher, or what is wrong. */
type Reader = (value: string, context: ValueContext) => Matcher | string;

const READERS: Readonly<Record<Attribute['kind'], Reader>> = {
  'source.principal': principalMatcher,
  'source.namespace': (value) =>
    nameMatcher(value, {
      what: 'namespace',
      allowed: /^[a-z0-9-]*$/,
      characters: 'a-z, 0-9 and -',
      longest: 63,
    }),
  'source.serviceAccount': serviceAccountMatcher,
  'source.trustDomain': (value) =>
    nameMatcher(value, {
      what: 'trust domain',
      allowed: /^[a-z0-9._-]*$/,
      characters: 'a-z, 0-9, ., - and _',
      longest: 255,
    }),
  'source.ip': cidrMatcher,
  'remote.ip': cidrMatcher,
  'destination.ip': cidrMatcher,
  'destination.port': portMatcher,
  'connection.sni': textMatcher,
  'request.host': textMatcher,
  'request.method': methodMatcher,
  'request.path': pathMatcher,
  'request.header': textMatcher,
  'request.auth.principal': requestPrincipalMatcher,
  'request.auth.claim': textMatcher,
  'filter.metadata': metadataMatcher,
};

/** `x`, `x*`, `*x`, `*`. An inner `*` is an error: taken literally, it would be a rule that nobody meant. */
function textMatcher(value: string): TextMatcher | string {
  if (value === '*') return { kind: 'present' };
  const stars = value.split('*').length - 1;
  if (stars === 0) return { kind: 'exact', value };
  if (stars === 1 && value.endsWith('*')) return { kind: 'prefix', value: value.slice(0, -1) };
  if (stars === 1 && value.startsWith('*')) return { kind: 'suffix', value: value.slice(1) };
  return `${quote(value)}: at most one *, as the first or the last character; list the values one by one`;
}

function methodMatcher(value: string, { findings, path }: ValueContext): Matcher | string {
  if (/[a-z]/.test(value)) {
    findings.warn(path, `methods are case-sensitive: ${quote(value)} is not ${value.toUpperCase()}`);
  }
  return textMatcher(value);
}

function principalMatcher(value: string, { findings, path }: ValueContext): Matcher | string {
  const matcher = textMatcher(value.startsWith('spiffe://') ? value.slice('spiffe://'.length) : value);
  if (typeof matcher === 'string' || matcher.kind !== 'exact') return matcher;
  if (matcher.value === '')
    return 'spiffe:// names nobody; write <trust domain>/ns/<namespace>/sa/<service account>';
  if (!/^[a-z0-9._-]+(\/[A-Za-z0-9._-]+)+$/.test(matcher.value)) {
    findings.warn(
      path,
      `${quote(value)} is no SPIFFE ID of a workload and can never match; write <trust domain>/ns/<namespace>/sa/<service account>`,
    );
  }
  return matcher;
}

/** `<iss>/<sub>`. Each half is a text of its own: `*` in front belongs to the issuer, behind to the subject. */
function requestPrincipalMatcher(value: string, { findings, path }: ValueContext): Matcher | string {
  const whole = textMatcher(value);
  if (typeof whole === 'string') return whole;
  const any: TextMatcher = { kind: 'present' };
  if (whole.kind === 'present') return { kind: 'requestPrincipal', issuer: any, subject: any };
  const cut = value.lastIndexOf('/');
  if (cut < 0) {
    if (whole.kind === 'exact')
      return `${quote(value)} names an issuer or a subject, not both; write <iss>/<sub>, ${quote(`${value}/*`)} or ${quote(`*/${value}`)}`;
    return whole.kind === 'prefix'
      ? { kind: 'requestPrincipal', issuer: whole, subject: any }
      : { kind: 'requestPrincipal', issuer: any, subject: whole };
  }
  const [iss, sub] = [value.slice(0, cut), value.slice(cut + 1)];
  if (iss === '' || sub === '')
    return `${quote(value)} has no ${iss === '' ? 'issuer' : 'subject'}; write <iss>/<sub>, cut at the last /`;
  const [issuer, subject] = [textMatcher(iss), textMatcher(sub)];
  if (typeof issuer === 'string') return issuer;
  if (typeof subject === 'string') return subject;
  if (/^\*?[a-z][a-z0-9+.-]*:\/?$/i.test(iss)) {
    findings.warn(
      path,
      `${quote(value)} is cut at the last / into issuer ${quote(iss)} and subject ${quote(sub)} and can never match; for a whole issuer write ${quote(`${value.replace(/\*$/, '')}/*`)}`,
    );
  }
  return { kind: 'requestPrincipal', issuer, subject };
}

/** `[x]` looks into a list, `x` at a text. */
function metadataMatcher(value: string): Matcher | string {
  const inner = /^\[(.*)\]$/.exec(value)?.[1];
  if (inner === undefined) return textMatcher(value);
  if (inner === '') return `${quote(value)} names no entry; write [x], or [*] for any`;
  const item = textMatcher(inner);
  return typeof item === 'string' ? item : { kind: 'listItem', item };
}

interface NameForm {
  readonly what: string;
  readonly allowed: RegExp;
  /** The same in words. */
  readonly characters: string;
  readonly longest: number;
}

/** Envoy refuses the filter that holds a longer one: it becomes a regular expression of more than 100 steps. */
const LONGEST_NAME_SUFFIX = 70;

/** A part of a SPIFFE ID: a slash in it would reach into the next part. */
function nameMatcher(value: string, { what, allowed, characters, longest }: NameForm): Matcher | string {
  if (value.includes('/'))
    return `${quote(value)} is no ${what}: it holds a /; for a whole identity use principals`;
  const matcher = textMatcher(value);
  if (typeof matcher === 'string' || matcher.kind === 'present') return matcher;
  // RE2 counts bytes: beyond ASCII a value could be short here, and too long for Envoy.
  if (!allowed.test(matcher.value))
    return `${quote(value)} holds characters that no ${what} has and could never match; write ${characters}`;
  const most = matcher.kind === 'suffix' ? Math.min(longest, LONGEST_NAME_SUFFIX) : longest;
  if (matcher.value.length > most)
    return `${quote(value)} is too long: a ${what}${matcher.kind === 'suffix' ? ' after *' : ''} has at most ${most} characters`;
  return matcher;
}

function serviceAccountMatcher(value: string, context: ValueContext): Matcher | string {
  const parts = value.split('/');
  const [namespace, name] = parts.length === 1 ? [context.namespace, value] : [parts[0], parts[1]];
  const valid = parts.length <= 2 && isDns(namespace) && isDns(name);
  if (!valid || namespace === undefined || name === undefined) {
    return `${quote(value)} is no service account; write <name> or <namespace>/<name>, without *`;
  }
  return { kind: 'serviceAccount', namespace, name };
}

function isDns(name: string | undefined): boolean {
  return name !== undefined && name.length <= 253 && /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(name);
}

function cidrMatcher(value: string, { findings, path }: ValueContext): Matcher | string {
  const cidr = parseCidr(value);
  if (cidr === undefined)
    return `${quote(value)} is no IP address or block; write 10.0.0.1, 10.0.0.0/8 or 2001:db8::/32`;
  if (cidr.hostBitsSet) {
    findings.warn(
      path,
      `${quote(value)} means ${cidr.address}/${cidr.prefixLength}: it has bits behind its prefix`,
    );
  }
  return { kind: 'cidr', address: cidr.address, prefixLength: cidr.prefixLength };
}

function portMatcher(value: string): Matcher | string {
  const port = /^[1-9][0-9]{0,4}$/.test(value) ? Number(value) : 0;
  if (port < 1 || port > 65_535)
    return `${quote(value)} is no port; write a number from 1 to 65535 in quotes`;
  return { kind: 'port', value: port };
}

function pathMatcher(value: string, { findings, path }: ValueContext): Matcher | string {
  if (/[{}]/.test(value)) {
    const fault = templateFault(value);
    if (fault !== undefined) return `${quote(value)}: ${fault}`;
    const sample = value.replaceAll(/\{\*{1,2}\}/g, 'x');
    if (normalizePath(sample) !== sample) {
      findings.warn(path, `${quote(value)} can never match: requests are judged on normalized paths`);
    }
    return { kind: 'template', value };
  }
  const matcher = textMatcher(value);
  if (typeof matcher !== 'string') warnUnlessNormal(matcher, value, findings, path);
  return matcher;
}

/** Requests are judged on normalized paths: a value that is none would be a rule that never fires. */
function warnUnlessNormal(matcher: Matcher, value: string, findings: Findings, path: string): void {
  if (matcher.kind === 'suffix') {
    if (/[?#]/.test(matcher.value))
      findings.warn(path, `${quote(value)} can never match: paths are judged without their query`);
    return;
  }
  if (matcher.kind !== 'exact' && matcher.kind !== 'prefix') return;
  const text = matcher.value;
  const normal = normalizePath(text);
  if (!text.startsWith('/')) findings.warn(path, `${quote(value)} can never match: a path begins with /`);
  else if (/[?#]/.test(text))
    findings.warn(path, `${quote(value)} can never match: paths are judged without their query`);
  else if (normal === undefined)
    findings.warn(path, `${quote(value)} can never match: Envoy refuses such a path`);
  // A prefix may stop in the middle of a segment: /a/.. is the beginning of /a/..b.
  else if (normal !== text && !(matcher.kind === 'prefix' && /\/\.{1,2}$/.test(text))) {
    findings.warn(
      path,
      `${quote(value)} can never match: requests are judged on the normalized path, write ${quote(normal)}`,
    );
  }
}
