import { withAliases } from './aliases.ts';
import { customPlan } from './custom.ts';
import { failures } from './explain.ts';
import { factsOf, type Facts } from './facts.ts';
import { ruleTest, type Test } from './match.ts';
import type { EscapedSlashes } from './path.ts';
import { ruleName } from './rule-name.ts';
import { scopeRule } from './scope.ts';
import { inForce, validityFailure } from './validity.ts';
import type {
  Action,
  AuthorizationPolicy,
  Decision,
  MeshSettings,
  Protocol,
  Request,
  Rule,
  RuleRef,
} from './types.ts';

export interface EvaluateOptions {
  readonly settings: MeshSettings;
  /** As the Envoys in question are configured. Default: `reject`, as in the bootstrap that Countersign writes. */
  readonly escapedSlashes?: EscapedSlashes;
  /** For requests that do not say when they arrive. Without either, an ALLOW with a validity lets nobody in. */
  readonly nowMs?: () => number;
}

/** One rule, ready to be asked. */
interface Judge {
  readonly ref: RuleRef;
  readonly policy: AuthorizationPolicy;
  readonly rule: Rule;
  /** Why a CUSTOM rule denies without asking anybody. */
  readonly fault: string | undefined;
  /** undefined: it cannot match on this protocol. */
  readonly matches: Test | undefined;
}

interface Bench {
  /** Those that send a request to the external authorizer. */
  readonly custom: readonly Judge[];
  readonly audit: readonly Judge[];
  readonly deny: readonly Judge[];
  readonly allow: readonly Judge[];
  /** An ALLOW policy may be there without a rule: it allows nothing, and ends the default action's reign. */
  readonly anyAllow: boolean;
}

interface Courts {
  readonly enforced: Bench;
  /** With the shadow policies enforced as well; undefined: there are none. */
  readonly shadow: Bench | undefined;
}

type Outcome = Pick<Decision, 'verdict' | 'decidedBy'> & { readonly judge: Judge | undefined };

/**
 * Answers as the compiled filters would, for the policies of one workload (see `policiesFor`). Of several rules
 * that match, it names the one that Envoy names: the first by rule name.
 */
export class Evaluator {
  readonly #policies: readonly AuthorizationPolicy[];
  readonly #settings: MeshSettings;
  readonly #escapedSlashes: EscapedSlashes;
  readonly #nowMs: (() => number) | undefined;
  readonly #courts = new Map<Protocol, Courts>();

  constructor(
    policies: readonly AuthorizationPolicy[],
    { settings, escapedSlashes = 'reject', nowMs }: EvaluateOptions,
  ) {
    this.#policies = policies;
    this.#settings = settings;
    this.#escapedSlashes = escapedSlashes;
    this.#nowMs = nowMs;
  }

  decide(request: Request): Decision {
    const facts = factsOf(request, this.#escapedSlashes, this.#nowMs);
    if (facts === undefined) return malformed();
    const { enforced, shadow } = this.#courtsFor(request.protocol);
    const asking = enforced.custom.find(({ matches }) => matches?.(facts) === true);
    const refused: Outcome | undefined =
      asking && request.authorizerSays === 'DENY'
        ? { verdict: 'DENY', decidedBy: asking.ref, judge: asking }
        : undefined;
    const outcome = refused ?? this.#judge(enforced, facts);
    const would = shadow && (refused ?? this.#judge(shadow, facts));
    const denied = outcome.verdict === 'DENY' && outcome.judge === undefined;
    const nearest = denied ? nearestOf(enforced.allow, facts) : undefined;
    return {
      verdict: outcome.verdict,
      decidedBy: outcome.decidedBy,
      reason: this.#reason(outcome, enforced, nearest),
      // Whom the authorizer refuses, the other filters never see.
      audited: refused
        ? []
        : enforced.audit.filter(({ matches }) => matches?.(facts) === true).map(({ ref }) => ref),
      shadow: would && { verdict: would.verdict, decidedBy: would.decidedBy },
      nearest,
      ...(asking && { asks: { provider: asking.policy.provider ?? '', rule: asking.ref } }),
    };
  }

  #judge({ deny, allow, anyAllow }: Bench, facts: Facts): Outcome {
    const denied = deny.find(({ matches }) => matches?.(facts) === true);
    if (denied !== undefined) return { verdict: 'DENY', decidedBy: denied.ref, judge: denied };
    const allowed = allow.find(({ matches }) => matches?.(facts) === true);
    if (allowed !== undefined) return { verdict: 'ALLOW', decidedBy: allowed.ref, judge: allowed };
    const open = !anyAllow && this.#settings.defaultAction === 'allow';
    return { verdict: open ? 'ALLOW' : 'DENY', decidedBy: undefined, judge: undefined };
  }

  #reason({ verdict, judge }: Outcome, { anyAllow }: Bench, nearest: Decision['nearest']): string {
    if (judge !== undefined) {
      const { policy, ref, fault } = judge;
      const word = verdict === 'DENY' ? 'denied' : 'allowed';
      const by = fault ?? (policy.action === 'CUSTOM' ? `${policy.provider} refused it` : policy.reason);
      const why = by === undefined ? '' : `: ${by}`;
      return `${word} by rule ${ref.rule} of ${policy.action} policy ${ref.namespace}/${ref.policy}${why}`;
    }
    if (!anyAllow) {
      return `no ALLOW policy selects the workload; the mesh's default action is ${this.#settings.defaultAction}`;
    }
    if (nearest === undefined) return 'the ALLOW policies of the workload have no rule: they allow nothing';
    const { namespace, policy, rule } = nearest.rule;
    return `no ALLOW rule matches; nearest is rule ${rule} of ${namespace}/${policy}: ${nearest.failed.join('; ')}`;
  }

  #courtsFor(protocol: Protocol): Courts {
    const known = this.#courts.get(protocol);
    if (known !== undefined) return known;
    const enforced = this.#policies.filter(({ mode }) => mode === 'Enforce');
    const tried = this.#policies.some(({ mode, action }) => mode === 'Shadow' && action !== 'AUDIT');
    const courts: Courts = {
      enforced: benchOf(enforced, protocol, this.#settings),
      shadow: tried ? benchOf(this.#policies, protocol, this.#settings) : undefined,
    };
    this.#courts.set(protocol, courts);
    return courts;
  }
}

/** One decision. For many about one workload, keep an {@link Evaluator}. */
export function evaluate(
  policies: readonly AuthorizationPolicy[],
  request: Request,
  options: EvaluateOptions,
): Decision {
  return new Evaluator(policies, options).decide(request);
}

function benchOf(
  policies: readonly AuthorizationPolicy[],
  protocol: Protocol,
  settings: MeshSettings,
): Bench {
  const plan = customPlan(policies, settings, protocol);
  const judges = (action: Action): Judge[] =>
    policies
      .filter((policy) =>
        action === 'CUSTOM'
          ? plan.asked.includes(policy)
          : policy.action === action || (action === 'DENY' && plan.denied.has(policy)),
      )
      .flatMap((policy) =>
        policy.rules.map((rule) =>
          judgeOf(policy, rule, { protocol, settings, fault: plan.denied.get(policy) }),
        ),
      )
      .toSorted((a, b) => (ruleName(a.ref) < ruleName(b.ref) ? -1 : 1));
  return {
    custom: judges('CUSTOM'),
    audit: judges('AUDIT'),
    deny: judges('DENY'),
    allow: judges('ALLOW'),
    anyAllow: policies.some(({ action }) => action === 'ALLOW'),
  };
}

interface Circumstances {
  readonly protocol: Protocol;
  readonly settings: MeshSettings;
  readonly fault: string | undefined;
}

function judgeOf(
  policy: AuthorizationPolicy,
  written: Rule,
  { protocol, settings, fault }: Circumstances,
): Judge {
  const rule = withAliases(written, settings);
  const ref: RuleRef = { namespace: policy.namespace, policy: policy.name, rule: rule.index };
  const scoped = scopeRule(rule, policy.action, { protocol, port: undefined }).rule;
  const { action, validity } = policy;
  const test = scoped && ruleTest(scoped, action);
  const matches: Test | undefined =
    test && validity ? (facts): boolean => inForce(validity, facts.nowMs, action) && test(facts) : test;
  return { ref, policy, rule, fault, matches };
}

function nearestOf(allow: readonly Judge[], facts: Facts): Decision['nearest'] {
  let nearest: { rule: RuleRef; failed: readonly string[] } | undefined;
  for (const { ref, policy, rule, matches } of allow) {
    const over = validityFailure(policy.validity, facts.nowMs);
    const failed =
      matches === undefined
        ? ['the rule names HTTP attributes, which a TCP connection has none of']
        : [...failures(rule, 'ALLOW', facts), ...(over === undefined ? [] : [over])];
    if (nearest === undefined || failed.length < nearest.failed.length) nearest = { rule: ref, failed };
  }
  return nearest;
}

function malformed(): Decision {
  return {
    verdict: 'DENY',
    decidedBy: undefined,
    reason: 'the path is malformed or holds an escaped slash: Envoy answers 400 before any policy is asked',
    audited: [],
    shadow: undefined,
    nearest: undefined,
  };
}
