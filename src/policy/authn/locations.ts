import type { JwtRule } from './types.ts';

/** One place of a request where a token may stand. */
export type Location =
  | { readonly kind: 'header'; readonly name: string; readonly prefix: string }
  | { readonly kind: 'param'; readonly name: string }
  | { readonly kind: 'cookie'; readonly name: string };

/** Of one workload. What Envoy is told grows with the square of them. */
export const MAX_PLACES = 16;

/** RFC 6750 sections 2.1 and 2.3; Envoy's own, too. */
const DEFAULT: readonly Location[] = [
  { kind: 'header', name: 'authorization', prefix: 'Bearer ' },
  { kind: 'param', name: 'access_token' },
];

/** Where a rule looks, the default places included. */
export function locationsOf({ fromHeaders, fromParams, fromCookies }: JwtRule): readonly Location[] {
  const own: Location[] = [
    ...fromHeaders.map(({ name, prefix }): Location => ({ kind: 'header', name, prefix })),
    ...fromParams.map((name): Location => ({ kind: 'param', name })),
    ...fromCookies.map((name): Location => ({ kind: 'cookie', name })),
  ];
  return own.length === 0 ? DEFAULT : own;
}

/** In an operator's words. Different places have different words. */
export function describeLocation(location: Location): string {
  const { kind, name } = location;
  if (kind === 'header' && location.prefix !== '')
    return `header ${name} behind ${JSON.stringify(location.prefix)}`;
  return kind === 'param' ? `query parameter ${name}` : `${kind} ${name}`;
}

/** The headers in which the app reads what a token says. */
export function outputsOf({
  outputPayloadToHeader: payload,
  outputClaimToHeaders: claims,
}: JwtRule): string[] {
  return [...(payload === undefined ? [] : [payload]), ...claims.map(({ header }) => header)];
}

/** The headers in which a rule looks for tokens, that of cookies among them. */
export function tokenHeaders(rule: JwtRule): string[] {
  return locationsOf(rule).flatMap(({ kind, name }) =>
    kind === 'param' ? [] : [kind === 'header' ? name : kind],
  );
}
