import { isFields } from '../shape.ts';
import type { TakenToken } from './verified-request.ts';
import type { JwtRule, RequestAuthentication } from './types.ts';

export type TokenSeen =
  /** `claims`: as the rules see them, texts that are lists cut at spaces. */
  | ({ readonly seen: true } & TakenToken)
  /** `refused`: Envoy answers 401, where it looks at the token. */
  | { readonly seen: false; readonly refused: boolean; readonly why: string };

/**
 * Whether a mesh verifies a token with these claims, its signature and times being good: some rule of the workload's
 * documents (see `policiesFor`) has its issuer and one of its audiences. Of several, the first.
 */
export function tokenSeen(claims: unknown, policies: readonly RequestAuthentication[]): TokenSeen {
  const rules = policies.flatMap(({ jwtRules }) => jwtRules);
  if (rules.length === 0) {
    const why = 'no RequestAuthentication of the workload verifies tokens; write one for its issuer';
    return { seen: false, refused: false, why };
  }
  if (!isFields(claims)) return refused('the claims are no mapping');
  const issuer = claims['iss'];
  if (typeof issuer !== 'string' || issuer === '') return refused('the token has no issuer (iss)');
  const ofIssuer = rules.filter((rule) => rule.issuer === issuer);
  if (ofIssuer.length === 0) {
    const known = [...new Set(rules.map((rule) => rule.issuer))].join(', ');
    return refused(`no rule of the workload verifies tokens of ${issuer} (known: ${known})`);
  }
  const audiences = textsOf(claims['aud']);
  const rule = ofIssuer.find((each) => fits(each, audiences));
  if (rule !== undefined)
    return { seen: true, rule, payload: claims, claims: cut(claims, splitClaims(rule)) };
  const asked = [...new Set(ofIssuer.flatMap((each) => each.audiences))].join(', ');
  return refused(
    `the token is for ${audiences.length === 0 ? 'no audience' : audiences.join(', ')}, and the workload's rules for ${issuer} ask for ${asked}`,
  );
}

/** Claims whose text is a list. */
export function splitClaims({ spaceDelimitedClaims }: JwtRule): string[] {
  return [...new Set(['scope', 'permission', ...spaceDelimitedClaims])];
}

function refused(why: string): TokenSeen {
  return { seen: false, refused: true, why };
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
