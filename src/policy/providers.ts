import type { Findings } from './findings.ts';
import { describe, isFields, join, kindOf, quote, readFields, readList, type Fields } from './shape.ts';
import type { ExternalAuthorizer } from './types.ts';

const COMMON = ['service', 'port', 'timeout', 'failOpen', 'statusOnError', 'includeRequestBodyInCheck'];
const HTTP = [
  'pathPrefix',
  'includeRequestHeadersInCheck',
  'includeAdditionalHeadersInCheck',
  'headersToUpstreamOnAllow',
  'headersToDownstreamOnDeny',
  'headersToDownstreamOnAllow',
];
/** Those that Envoy knows; it refuses a configuration with any other. */
const ERROR_STATUSES: ReadonlySet<number> = new Set([
  ...Array.from({ length: 18 }, (_, index) => 400 + index),
  ...[421, 422, 423, 424, 426, 428, 429, 431],
  ...Array.from({ length: 9 }, (_, index) => 500 + index),
  ...[510, 511],
]);
const DEFAULT_TIMEOUT_MS = 600;
const MAX_BODY = 10 * 1024 * 1024;

/**
 * `extensionProviders` of a mesh's configuration, in the form that Istio's operators know: a `name` with either
 * `envoyExtAuthzGrpc` or `envoyExtAuthzHttp`.
 */
export function readProviders(value: unknown, path: string, findings: Findings): ExternalAuthorizer[] {
  if (value === undefined || (Array.isArray(value) && value.length === 0)) return [];
  const list = readList(value, path, findings, '') ?? [];
  const providers = new Map<string, ExternalAuthorizer>();
  for (const [index, entry] of list.entries()) {
    const at = `${path}[${index}]`;
    const provider = readProvider(entry, at, findings);
    if (provider === undefined) continue;
    if (providers.has(provider.name))
      findings.error(
        `${at}.name`,
        `${quote(provider.name)} is declared twice; every provider has a name of its own`,
      );
    providers.set(provider.name, provider);
  }
  return [...providers.values()];
}

/** A provider's name, wherever it is written; undefined (and said so) where it is none. */
export function readProviderName(value: unknown, path: string, findings: Findings): string | undefined {
  if (typeof value === 'string' && /^[A-Za-z0-9]([\w.-]{0,251}[A-Za-z0-9])?$/.test(value)) return value;
  findings.error(
    path,
    `expected the name of a provider of the mesh's configuration, found ${describe(value)}`,
  );
  return undefined;
}

function readProvider(value: unknown, path: string, findings: Findings): ExternalAuthorizer | undefined {
  const shape = { known: ['name', 'envoyExtAuthzGrpc', 'envoyExtAuthzHttp'] };
  const fields = readFields(value, path, shape, findings);
  if (fields === undefined) return undefined;
  const name = readProviderName(fields['name'], `${path}.name`, findings);
  const [grpc, http] = [fields['envoyExtAuthzGrpc'], fields['envoyExtAuthzHttp']];
  if ((grpc === undefined) === (http === undefined)) {
    findings.error(path, 'expected either envoyExtAuthzGrpc or envoyExtAuthzHttp');
    return undefined;
  }
  const protocol = grpc === undefined ? 'http' : 'grpc';
  const at = `${path}.${grpc === undefined ? 'envoyExtAuthzHttp' : 'envoyExtAuthzGrpc'}`;
  const inner = readFields(
    grpc ?? http,
    at,
    { known: protocol === 'http' ? [...COMMON, ...HTTP] : COMMON },
    findings,
  );
  if (inner === undefined || name === undefined) return undefined;
  const body = readBody(inner['includeRequestBodyInCheck'], `${at}.includeRequestBodyInCheck`, findings);
  return {
    name,
    protocol,
    host: readHost(inner['service'], `${at}.service`, findings),
    port: readNumber(inner['port'], `${at}.port`, [1, 65_535], findings) ?? 0,
    timeoutMs: readTimeout(inner['timeout'], `${at}.timeout`, DEFAULT_TIMEOUT_MS, findings),
    failOpen: readFailOpen(inner['failOpen'], `${at}.failOpen`, findings),
    statusOnError: readStatus(inner['statusOnError'], `${at}.statusOnError`, findings),
    ...(body && { body }),
    ...(protocol === 'http' && { http: readHttp(inner, at, findings) }),
  };
}

function readHttp(fields: Fields, path: string, findings: Findings): NonNullable<ExternalAuthorizer['http']> {
  const names = (field: string): readonly string[] => readNames(fields[field], `${path}.${field}`, findings);
  const prefix = fields['pathPrefix'] ?? '';
  if (typeof prefix !== 'string' || (prefix !== '' && !/^\/[!-~]*$/.test(prefix)))
    findings.error(`${path}.pathPrefix`, `expected a path such as /check, found ${describe(prefix)}`);
  const added = 'includeAdditionalHeadersInCheck';
  return {
    pathPrefix: typeof prefix === 'string' ? prefix : '',
    sentHeaders: names('includeRequestHeadersInCheck'),
    addedHeaders: readAdded(fields[added], `${path}.${added}`, findings),
    upstreamOnAllow: names('headersToUpstreamOnAllow'),
    downstreamOnDeny: names('headersToDownstreamOnDeny'),
    downstreamOnAllow: names('headersToDownstreamOnAllow'),
  };
}

/** Istio also takes `namespace/host`, for services that its registry knows under several names. */
function readHost(value: unknown, path: string, findings: Findings): string {
  const host = typeof value === 'string' ? value.slice(value.indexOf('/') + 1) : '';
  if (/^[A-Za-z0-9:]([A-Za-z0-9.:_-]{0,252})$/.test(host)) return host;
  findings.error(path, `expected a host name or an address, found ${describe(value)}`);
  return '';
}

function readNumber(
  value: unknown,
  path: string,
  [least, most]: readonly [number, number],
  findings: Findings,
): number | undefined {
  if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return value;
  findings.error(path, `expected a whole number from ${least} to ${most}, found ${describe(value)}`);
  return undefined;
}

/** `500ms` or `1.5s`. @returns milliseconds */
export function readTimeout(value: unknown, path: string, otherwise: number, findings: Findings): number {
  if (value === undefined) return otherwise;
  const [, count, unit] = (typeof value === 'string' && /^(\d{1,6}(?:\.\d{1,3})?)(ms|s)$/.exec(value)) || [];
  const ms = Math.round(Number(count) * (unit === 's' ? 1_000 : 1));
  if (ms >= 1 && ms <= 60_000) return ms;
  findings.error(path, `expected a time from 1ms to 60s such as 500ms or 1.5s, found ${describe(value)}`);
  return otherwise;
}

function readFailOpen(value: unknown, path: string, findings: Findings): boolean {
  if (value === true)
    findings.warn(
      path,
      'lets requests pass unasked while the authorizer is away; leave it out to refuse them',
    );
  else if (value !== undefined && value !== false)
    findings.error(path, `expected true or false, found ${describe(value)}`);
  return value === true;
}

/** Istio writes it as text. */
function readStatus(value: unknown, path: string, findings: Findings): number {
  if (value === undefined) return 403;
  const code = typeof value === 'string' && /^\d{3}$/.test(value) ? Number(value) : value;
  if (typeof code === 'number' && ERROR_STATUSES.has(code)) return code;
  findings.error(path, `expected a known HTTP status from 400 to 511, found ${describe(value)}`);
  return 403;
}

function readBody(value: unknown, path: string, findings: Findings): ExternalAuthorizer['body'] {
  if (value === undefined) return undefined;
  const shape = { known: ['maxRequestBytes', 'allowPartialMessage', 'packAsBytes'] };
  const fields = readFields(value, path, shape, findings);
  if (fields === undefined) return undefined;
  for (const name of ['allowPartialMessage', 'packAsBytes']) {
    if (fields[name] !== undefined && typeof fields[name] !== 'boolean')
      findings.error(`${path}.${name}`, `expected true or false, found ${describe(fields[name])}`);
  }
  return {
    maxBytes: readNumber(fields['maxRequestBytes'], `${path}.maxRequestBytes`, [1, MAX_BODY], findings) ?? 1,
    allowPartial: fields['allowPartialMessage'] === true,
    asBytes: fields['packAsBytes'] === true,
  };
}

function readAdded(value: unknown, path: string, findings: Findings): Record<string, string> {
  if (value === undefined) return {};
  if (!isFields(value)) {
    findings.error(path, `expected a mapping of header names and values, found ${kindOf(value)}`);
    return {};
  }
  const headers = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : Number(a > b)));
  return Object.fromEntries(
    headers.map(([name, text]) => {
      const at = join(path, name);
      if (!/^[!#$%&'+.^_`|~0-9A-Za-z-]{1,256}$/.test(name))
        findings.error(path, `${quote(name)} is no header name`);
      // Not repeated: it is what the authorizer knows the mesh by.
      if (typeof text !== 'string')
        findings.error(at, `expected a string, found ${kindOf(text)}; put it in quotes`);
      else if (!/^[\t -~]{0,4096}$/.test(text))
        findings.error(at, 'is no header value: printable ASCII, at most 4096 characters');
      return [name, String(text)];
    }),
  );
}

/** Header names, `x-*` and `*-x` among them. */
function readNames(value: unknown, path: string, findings: Findings): readonly string[] {
  if (value === undefined) return [];
  const list = readList(value, path, findings, 'leave the field out to name none') ?? [];
  return list.flatMap((name, index) => {
    if (
      typeof name === 'string' &&
      /^(?:\*|\*?[!#$%&'+.^_`|~0-9A-Za-z-]+|[!#$%&'+.^_`|~0-9A-Za-z-]+\*)$/.test(name)
    )
      return [name.toLowerCase()];
    findings.error(`${path}[${index}]`, `expected a header name, x-* or *-x, found ${describe(name)}`);
    return [];
  });
}
