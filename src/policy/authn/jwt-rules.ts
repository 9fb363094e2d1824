import type { Findings } from '../findings.ts';
import { readKeySet } from '../../keyset/index.ts';
import { readTimeout } from '../providers.ts';
import { describe, describeSecret, quote, readFields, readList, type Fields } from '../shape.ts';
import { describeLocation, locationsOf, MAX_PLACES, outputsOf, tokenHeaders } from './locations.ts';
import type { JwksSource, JwtRule } from './types.ts';

const MAX_JWKS_LENGTH = 256 * 1024;

const KNOWN = [
  ...['issuer', 'audiences', 'jwks', 'jwksUri', 'jwks_uri', 'fromHeaders', 'fromParams', 'fromCookies'],
  ...['outputPayloadToHeader', 'outputClaimToHeaders', 'forwardOriginalToken', 'spaceDelimitedClaims'],
  'timeout',
];
const MAX_RULES = 64;
/** Bytes of all rules, keys among them. */
const MAX_RULES_TEXT = 512 * 1024;
/** Entries of any one list of a rule. */
const MAX_ENTRIES = 32;
const MAX_TEXT = 2048;
const DEFAULT_TIMEOUT_MS = 5_000;
const HEADER = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$/;
/** Of parameters and cookies. Envoy takes no regular expression of more than a hundred steps, and one names them twice. */
const NAME = /^[\w.-]{1,32}$/;
/** Those by which the request itself is led or framed. */
const RESERVED: ReadonlySet<string> = new Set([
  ...['host', 'connection', 'content-length', 'transfer-encoding', 'te', 'upgrade', 'keep-alive', 'trailer'],
  'x-forwarded-client-cert',
]);

/** `spec.jwtRules`. */
export function readJwtRules(value: unknown, findings: Findings): JwtRule[] {
  const path = 'spec.jwtRules';
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) {
    findings.error(path, `expected a list, found ${describe(value)}`);
    return [];
  }
  if (value.length > MAX_RULES) {
    findings.error(path, `at most ${MAX_RULES} rules, found ${value.length}; split the document`);
    return [];
  }
  const rules = value.flatMap((entry: unknown, index) => {
    const rule = readRule(entry, { path: `${path}[${index}]`, findings });
    return rule === undefined ? [] : [{ rule, index }];
  });
  const bytes = rules.reduce((sum, { rule }) => sum + bytesOf(rule), 0);
  if (bytes > MAX_RULES_TEXT) {
    const message = `at most ${MAX_RULES_TEXT} bytes of rules and their keys, found ${bytes}; split the document, or name keys by jwksUri`;
    findings.error(path, message);
    return [];
  }
  for (const [at, { rule, index }] of rules.entries()) {
    for (const { rule: before, index: first } of rules.slice(0, at)) {
      if (before.issuer !== rule.issuer) continue;
      const shared = new Set(locationsOf(rule).map(describeLocation));
      const place = locationsOf(before)
        .map(describeLocation)
        .find((each) => shared.has(each));
      if (place === undefined) continue;
      findings.warn(
        `${path}[${index}].issuer`,
        `the same issuer in the same place (${place}) as spec.jwtRules[${first}]: a token passes if either rule takes it; write one rule`,
        'shadowed-rule',
      );
    }
  }
  const read = new Set(rules.flatMap(({ rule }) => tokenHeaders(rule)));
  for (const { rule, index } of rules) {
    for (const header of outputsOf(rule).filter((name) => read.has(name)))
      findings.error(
        `${path}[${index}]`,
        `writes to ${header}, where tokens are looked for: what is written there is removed from requests first; choose another header`,
      );
  }
  const places = new Set(rules.flatMap(({ rule }) => locationsOf(rule).map(describeLocation)));
  if (places.size > MAX_PLACES)
    findings.error(path, `looks for tokens in ${places.size} places, at most ${MAX_PLACES}; leave some out`);
  return rules.map(({ rule }) => rule);
}

function bytesOf(rule: JwtRule): number {
  return new TextEncoder().encode(JSON.stringify(rule)).length;
}

interface Reading {
  readonly path: string;
  readonly findings: Findings;
}

function readRule(value: unknown, reading: Reading): JwtRule | undefined {
  const { path, findings } = reading;
  const fields = readFields(value, path, { known: KNOWN }, findings);
  if (fields === undefined) return undefined;
  const issuer = readText(fields['issuer'], `${path}.issuer`, 'the iss of its tokens', findings);
  const keys = readKeys(fields, issuer, reading);
  const texts = (field: string, allowed?: RegExp): readonly string[] =>
    readTexts(fields[field], `${path}.${field}`, allowed, findings);
  const rule = {
    issuer,
    audiences: texts('audiences'),
    fromHeaders: readFromHeaders(fields['fromHeaders'], `${path}.fromHeaders`, findings),
    fromParams: texts('fromParams', NAME),
    fromCookies: texts('fromCookies', NAME),
    ...readOutputs(fields, reading),
    forwardOriginalToken: readForward(fields['forwardOriginalToken'], reading),
    spaceDelimitedClaims: texts('spaceDelimitedClaims'),
    timeoutMs: readTimeout(fields['timeout'], `${path}.timeout`, DEFAULT_TIMEOUT_MS, findings),
  };
  if (/^\s|\s$/.test(issuer))
    findings.warn(`${path}.issuer`, `${quote(issuer)} begins or ends with white space: tokens rarely do`);
  if (rule.fromCookies.length > 0 && !rule.forwardOriginalToken)
    findings.warn(
      `${path}.fromCookies`,
      'the app gets the token all the same: Envoy removes it from headers and parameters alone; say so by forwardOriginalToken: true',
    );
  return keys && { ...rule, keys };
}

/** Exactly one of `jwks` and `jwksUri` (Istio also spells it `jwks_uri`). */
function readKeys(fields: Fields, issuer: string, { path, findings }: Reading): JwksSource | undefined {
  const given = ['jwks', 'jwksUri', 'jwks_uri'].filter((name) => fields[name] !== undefined);
  const [field, second] = given;
  if (field === undefined) {
    const hint = issuer.startsWith('https://')
      ? `, which the issuer names under ${quote(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`)} as jwks_uri`
      : '';
    findings.error(path, `needs jwksUri${hint}, or jwks: keys are not looked for at the issuer`);
    return undefined;
  }
  if (second !== undefined) {
    findings.error(`${path}.${second}`, `cannot stand beside ${field}; keep one of the two`);
    return undefined;
  }
  return field === 'jwks'
    ? readInline(fields[field], `${path}.jwks`, findings)
    : readUri(fields[field], `${path}.${field}`, findings);
}

/** Nothing of the value is ever repeated: it may be a secret that stands in the wrong place. */
function readInline(value: unknown, path: string, findings: Findings): JwksSource | undefined {
  if (typeof value !== 'string') {
    const kind = Array.isArray(value) ? 'list' : typeof value === 'object' ? 'mapping' : typeof value;
    findings.error(path, `expected a JWKS as text, found a ${kind}; write it as JSON in quotes`);
    return undefined;
  }
  if (value.length > MAX_JWKS_LENGTH) {
    findings.error(path, `has ${value.length} characters; a JWKS may have at most ${MAX_JWKS_LENGTH}`);
    return undefined;
  }
  const read = readKeySet(value);
  if (!read.ok) {
    findings.error(path, read.fault);
    return undefined;
  }
  // Keys that are fetched are the issuer's to guard; these stand where everybody reads them.
  if (read.secrets.length > 0) {
    findings.error(
      path,
      `holds a private or symmetric key (${read.secrets.join(', ')}): whoever reads it can sign tokens; replace that key at its issuer and write public keys alone`,
    );
    return undefined;
  }
  if (read.unused.length > 0)
    findings.warn(path, `leaves out what cannot verify tokens: ${read.unused.join('; ')}`);
  return { kind: 'inline', jwks: read.text };
}

/** Nothing of the value is ever repeated: it may hold a password. */
function readUri(value: unknown, path: string, findings: Findings): JwksSource | undefined {
  const uri = typeof value === 'string' && value.length <= MAX_TEXT ? URL.parse(value) : null;
  if (uri === null || !['http:', 'https:'].includes(uri.protocol)) {
    findings.error(
      path,
      `expected an address such as https://login.example/jwks.json, found ${describeSecret(value)}`,
    );
    return undefined;
  }
  if (uri.username !== '' || uri.password !== '') {
    findings.error(path, 'holds a user name or password: anybody who reads the document has it; remove it');
    return undefined;
  }
  if (uri.protocol === 'http:')
    findings.warn(
      path,
      'is fetched in the clear: whoever is on the way can put keys of its own there; use https',
    );
  uri.hash = '';
  return { kind: 'uri', uri: uri.href };
}

function readFromHeaders(value: unknown, path: string, findings: Findings): JwtRule['fromHeaders'] {
  return readEntries(value, path, findings).flatMap(([entry, at]) => {
    const fields = readFields(entry, at, { known: ['name', 'prefix'] }, findings);
    if (fields === undefined) return [];
    const name = readHeaderName(fields['name'], `${at}.name`, findings);
    const prefix = fields['prefix'] ?? '';
    if (typeof prefix !== 'string' || !/^[ -~]{0,256}$/.test(prefix)) {
      findings.error(`${at}.prefix`, `expected a text such as "Bearer ", found ${describe(prefix)}`);
      return [];
    }
    if (name === 'authorization' && prefix === '')
      findings.warn(
        at,
        'takes the whole header for the token; write prefix: "Bearer " to take what is behind it',
      );
    return name === undefined ? [] : [{ name, prefix }];
  });
}

function readOutputs(
  fields: Fields,
  { path, findings }: Reading,
): Pick<JwtRule, 'outputPayloadToHeader' | 'outputClaimToHeaders'> {
  const payload = fields['outputPayloadToHeader'];
  const output =
    payload === undefined ? undefined : readOutputName(payload, `${path}.outputPayloadToHeader`, findings);
  const claims = readEntries(fields['outputClaimToHeaders'], `${path}.outputClaimToHeaders`, findings);
  const seen = new Set<string | undefined>([output]);
  const outputClaimToHeaders = claims.flatMap(([entry, at]) => {
    const inner = readFields(entry, at, { known: ['header', 'claim'] }, findings);
    if (inner === undefined) return [];
    const header = readOutputName(inner['header'], `${at}.header`, findings);
    const claim = readText(inner['claim'], `${at}.claim`, 'the name of a claim', findings);
    if (header !== undefined && seen.has(header))
      findings.error(
        `${at}.header`,
        `${quote(header)} is written twice; every output has a header of its own`,
      );
    seen.add(header);
    return header === undefined ? [] : [{ header, claim }];
  });
  return { outputPayloadToHeader: output, outputClaimToHeaders };
}

function readOutputName(value: unknown, path: string, findings: Findings): string | undefined {
  const name = readHeaderName(value, path, findings);
  if (name === undefined || !RESERVED.has(name)) return name;
  findings.error(path, `${name} leads the request itself; choose a header of your own such as x-jwt-payload`);
  return undefined;
}

function readHeaderName(value: unknown, path: string, findings: Findings): string | undefined {
  if (typeof value === 'string' && HEADER.test(value)) return value.toLowerCase();
  findings.error(path, `expected a header name such as x-jwt, found ${describe(value)}`);
  return undefined;
}

function readForward(value: unknown, { path, findings }: Reading): boolean {
  if (value !== undefined && typeof value !== 'boolean')
    findings.error(`${path}.forwardOriginalToken`, `expected true or false, found ${describe(value)}`);
  return value === true;
}

function readText(value: unknown, path: string, what: string, findings: Findings): string {
  if (typeof value === 'string' && value !== '' && value.length <= MAX_TEXT && value.isWellFormed())
    return value;
  findings.error(path, `expected ${what}, at most ${MAX_TEXT} characters, found ${describe(value)}`);
  return '';
}

function readTexts(
  value: unknown,
  path: string,
  allowed: RegExp | undefined,
  findings: Findings,
): readonly string[] {
  const texts = readEntries(value, path, findings).flatMap(([entry, at]) => {
    const text = readText(entry, at, 'a text', findings);
    if (text === '') return [];
    if (allowed === undefined || allowed.test(text)) return [text];
    findings.error(at, `${quote(text)} is no name: letters, digits, ., - and _, at most 32 characters`);
    return [];
  });
  return [...new Set(texts)];
}

function readEntries(value: unknown, path: string, findings: Findings): [unknown, string][] {
  if (value === undefined) return [];
  const list = readList(value, path, findings, 'leave the field out') ?? [];
  if (list.length > MAX_ENTRIES) {
    findings.error(path, `at most ${MAX_ENTRIES} entries, found ${list.length}`);
    return [];
  }
  return list.map((entry, index) => [entry, `${path}[${index}]`]);
}
