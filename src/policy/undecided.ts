import { testOf, type Judge } from './judges.ts';
import type { Facts } from './facts.ts';
import type { Decision, Request, Rule } from './types.ts';
import { atLeast, atMost, unsaidIn, unsaidOf } from './unsaid.ts';

/** The rules of one workload, enforced. */
export interface Rules {
  readonly custom: readonly Judge[];
  readonly deny: readonly Judge[];
  readonly allow: readonly Judge[];
  /** No ALLOW policy is there, and the default action is `allow`. */
  readonly open: boolean;
}

/** A request as CUSTOM rules see it, and as all others do. */
interface Heard {
  readonly sent: Facts;
  readonly facts: Facts;
}

/**
 * The rule by which a request could as well get the other verdict, once it said what it leaves out. An ALLOW rule that
 * asks for something that is left out does not match: nobody gets in for having said too little.
 */
export function undecided(
  request: Request,
  { sent, facts }: Heard,
  { custom, deny, allow, open }: Rules,
): Decision['undecided'] {
  const unsaid = unsaidIn(request);
  if (unsaid.size === 0) return undefined;
  const judged = (list: readonly Judge[], bound: (rule: Rule) => Rule | undefined): Judge | undefined =>
    list.find(
      ({ policy, scoped }) =>
        scoped !== undefined && testOf(policy, bound(scoped))(list === custom ? sent : facts),
    );
  const surely = (list: readonly Judge[]): boolean =>
    judged(list, (rule) => atLeast(rule, unsaid)) !== undefined;
  const maybe = (list: readonly Judge[]): Judge | undefined =>
    surely(list) ? undefined : judged(list, (rule) => atMost(rule, unsaid));
  const { authorizerSays } = request;
  const allowed = allow.find(({ matches }) => matches(facts));
  const letIn = open || allowed !== undefined;
  if (!letIn || surely(deny) || (authorizerSays === 'DENY' && surely(custom))) return undefined;
  const found =
    maybe(deny) ??
    (open || surely(allow) ? undefined : allowed) ??
    (authorizerSays === 'ALLOW' ? undefined : maybe(custom));
  const attribute = found?.scoped && unsaidOf(found.scoped, unsaid);
  return found && attribute && { rule: found.ref, attribute };
}
