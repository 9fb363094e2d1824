import type { Request } from '../types.ts';
import { locationsOf, type Location } from './locations.ts';
import type { JwtRule, RequestAuthentication } from './types.ts';

/** A token that a rule takes, good by its signature and times. */
export interface TakenToken {
  readonly rule: JwtRule;
  /** As signed. */
  readonly payload: Readonly<Record<string, unknown>>;
  /** As the rules see them: see `tokenSeen`. */
  readonly claims: unknown;
}

/**
 * An HTTP request as it is behind the verification of its token, by the documents of its workload (see
 * `policiesFor`): nobody but the mesh writes the headers that a rule puts out, and the token itself goes no further.
 *
 * @param taken undefined: it has no token
 */
export function verifiedRequest(
  { claims: _unverified, ...request }: Request,
  documents: readonly RequestAuthentication[],
  taken: TakenToken | undefined,
): Request {
  const outputs = new Set(documents.flatMap(({ jwtRules }) => jwtRules).flatMap(outputsOf));
  const headers = Object.fromEntries(Object.entries(request.headers).filter(([name]) => !outputs.has(name)));
  if (taken === undefined) return { ...request, headers };
  for (const [name, value] of written(taken)) headers[name] = [...(headers[name] ?? []), value];
  const places = taken.rule.forwardOriginalToken ? [] : locationsOf(taken.rule);
  return {
    ...request,
    headers: Object.fromEntries(
      Object.entries(headers).filter((header) => !places.some((at) => holds(at, header))),
    ),
    path: places.reduce(withoutParam, request.path),
    claims: taken.claims,
  };
}

function outputsOf({ outputClaimToHeaders, outputPayloadToHeader }: JwtRule): string[] {
  const payload = outputPayloadToHeader === undefined ? [] : [outputPayloadToHeader];
  return [...payload, ...outputClaimToHeaders.map(({ header }) => header)].map((name) => name.toLowerCase());
}

function written({ rule, payload }: TakenToken): (readonly [name: string, value: string])[] {
  const whole = rule.outputPayloadToHeader;
  const claims = rule.outputClaimToHeaders.map(
    ({ header, claim }) => [header.toLowerCase(), headerText(claimAt(payload, claim))] as const,
  );
  const encoded = Buffer.from(JSON.stringify(payload)).toString('base64url');
  // Envoy writes no empty header.
  const values = claims.filter(([, text]) => text !== '');
  return whole === undefined ? values : [[whole.toLowerCase(), encoded], ...values];
}

/** Envoy finds a claim within others by its names with dots between them. */
function claimAt(payload: TakenToken['payload'], claim: string): unknown {
  return claim
    .split('.')
    .reduce<unknown>(
      (value, name) => (isStruct(value) && Object.hasOwn(value, name) ? value[name] : undefined),
      payload,
    );
}

function headerText(value: unknown): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  return typeof value === 'object' && value !== null
    ? Buffer.from(JSON.stringify(value)).toString('base64')
    : '';
}

function holds(place: Location, [name, values]: readonly [string, readonly string[]]): boolean {
  if (place.kind !== 'header' || place.name !== name) return false;
  return values.some((value) => value.includes(place.prefix));
}

function withoutParam(path: string | undefined, place: Location): string | undefined {
  const at = path?.indexOf('?') ?? -1;
  if (path === undefined || at < 0 || place.kind !== 'param') return path;
  const rest = path
    .slice(at + 1)
    .split('&')
    .filter((param) => param !== place.name && !param.startsWith(`${place.name}=`));
  return rest.length === 0 ? path.slice(0, at) : `${path.slice(0, at)}?${rest.join('&')}`;
}

function isStruct(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
