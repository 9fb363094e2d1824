import { isFields } from '../shape.ts';
import type { JwtRule, RequestAuthentication } from './types.ts';

export type TokenSeen =
  /** `claims`: as the rules see them, texts that are lists cut at spaces. */
  | { readonly seen: true; readonly claims: unknown }
  /** In words. */
  | { readonly seen: false; readonly why: string };

/**
 * Whether a mesh verifies a token with these claims, its signature and times being good: some rule of the workload's
 * documents (see `policiesFor`) has its issuer and one of its audiences. Of several, the first.
 */
export function tokenSeen(claims: unknown, policies: readonly RequestAuthentication[]): TokenSeen {
  const rules = policies.flatMap(({ jwtRules }) => jwtRules);
  if (rules.length === 0) return unseen('no RequestAuthentication of the workload verifies tokens');
  if (!isFields(claims)) return unseen('the claims are no mapping');
  const issuer = claims['iss'];
  if (typeof issuer !== 'string' || issuer === '') return unseen('the token has no issuer (iss)');
  const ofIssuer = rules.filter((rule) => rule.issuer === issuer);
  if (ofIssuer.length === 0) {
    const known = [...new Set(rules.map((rule) => rule.issuer))].join(', ');
    return unseen(
      `no rule of the workload verifies tokens of ${issuer} (known: ${known}): Envoy answers 401`,
    );
  }
  const audiences = textsOf(claims['aud']);
  const rule = ofIssuer.find((each) => fits(each, audiences));
  if (rule !== undefined) return { seen: true, claims: cut(claims, splitClaims(rule)) };
  const asked = [...new Set(ofIssuer.flatMap((each) => each.audiences))].join(', ');
  return unseen(
    `the token is for ${audiences.length === 0 ? 'no audience' : audiences.join(', ')}, and the workload's rules for ${issuer} ask for ${asked}: Envoy refuses it`,
  );
}

/** Claims whose text is a list. */
export function splitClaims({ spaceDelimitedClaims }: JwtRule): string[] {
  return [...new Set(['scope', 'permission', ...spaceDelimitedClaims])];
}

function unseen(why: string): TokenSeen {
  return { seen: false, why };
}

function fits({ audiences }: JwtRule, found: readonly string[]): boolean {
  if (audiences.length === 0) return true;
  const asked = new Set(audiences.map(bareAudience));
  return found.some((audience) => asked.has(bareAudience(audience)));
}

/** Envoy compares audiences without their scheme and without a slash at the end. */
function bareAudience(audience: string): string {
  return audience.replace(/^https?:\/\//, '').replace(/\/$/, '');
}

function textsOf(value: unknown): readonly string[] {
  const values: readonly unknown[] = Array.isArray(value) ? value : [value];
  return values.filter((entry) => typeof entry === 'string');
}

function cut(claims: Readonly<Record<string, unknown>>, lists: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(claims).map(([name, value]) => [
      name,
      lists.includes(name) && typeof value === 'string'
        ? value.split(' ').filter((part) => part !== '')
        : value,
    ]),
  );
}
