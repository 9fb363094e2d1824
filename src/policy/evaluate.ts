import { peerRefusal } from './authn/peer-modes.ts';
import type { PeerModes } from './authn/types.ts';
import { customPlan } from './custom.ts';
import { endedFor } from './ended.ts';
import { failures } from './explain.ts';
import { factsOf, verifiedFactsOf, type Facts } from './facts.ts';
import { judgeOf, type Judge } from './judges.ts';
import { describeCallers, quarantineName, quarantineTest } from './quarantine.ts';
import type { EscapedSlashes } from './path.ts';
import { RuleIndex } from './rule-index.ts';
import { shownBy } from './rule-keys.ts';
import { ruleName } from './rule-name.ts';
import type { Test } from './match.ts';
import { undecided, type Rules } from './undecided.ts';
import { validityFailure } from './validity.ts';
import type {
  Action,
  AuthorizationPolicy,
  Decision,
  MeshSettings,
  Protocol,
  QuarantineRule,
  Request,
  RuleRef,
} from './types.ts';

export interface EvaluateOptions {
  readonly settings: MeshSettings;
  /** As the Envoys in question are configured. Default: `reject`, as in the bootstrap that Countersign writes. */
  readonly escapedSlashes?: EscapedSlashes;
  /** For requests that do not say when they arrive. Without either, an ALLOW with a validity lets nobody in. */
  readonly nowMs?: () => number;
  /** How peers have to come to the workload. Absent: not judged. */
  readonly peer?: PeerModes;
  /** Whom the workload denies before any policy. */
  readonly quarantine?: readonly QuarantineRule[];
}

interface Bench {
  /** Those that send a request to the external authorizer. */
  readonly custom: RuleIndex<Judge>;
  readonly audit: RuleIndex<Judge>;
  readonly deny: RuleIndex<Judge>;
  readonly allow: RuleIndex<Judge>;
  /** For those who explain. */
  readonly rules: Rules;
  /** An ALLOW policy may be there without a rule: it allows nothing, and ends the default action's reign. */
  readonly anyAllow: boolean;
}

interface Courts {
  readonly enforced: Bench;
  /** With the shadow policies enforced as well; undefined: there are none. */
  readonly shadow: Bench | undefined;
  /** Of both: see `RuleIndex`. */
  readonly kinds: ReadonlySet<string>;
}

/** A request as judges see it. */
interface Hearing {
  readonly facts: Facts;
  /** See `RuleIndex`. */
  readonly shown: readonly string[];
}

type Outcome = Pick<Decision, 'verdict' | 'decidedBy' | 'ended'> & {
  readonly judge: Judge | undefined;
  readonly cutOffBy?: QuarantineRule;
};

/**
 * Answers as the compiled filters would, for the policies of one workload (see `policiesFor`). Of several rules
 * that match, it names the one that Envoy names: the first by rule name.
 */
export class Evaluator {
  readonly #policies: readonly AuthorizationPolicy[];
  readonly #settings: MeshSettings;
  readonly #escapedSlashes: EscapedSlashes;
  readonly #nowMs: (() => number) | undefined;
  readonly #peer: PeerModes | undefined;
  /** In the order of their names, as Envoy asks them. */
  readonly #quarantine: readonly { readonly rule: QuarantineRule; readonly matches: Test }[];
  readonly #courts = new Map<Protocol, Courts>();

  constructor(
    policies: readonly AuthorizationPolicy[],
    { settings, escapedSlashes = 'reject', nowMs, peer, quarantine = [] }: EvaluateOptions,
  ) {
    this.#policies = policies;
    this.#settings = settings;
    this.#escapedSlashes = escapedSlashes;
    this.#nowMs = nowMs;
    this.#peer = peer;
    this.#quarantine = quarantine
      .toSorted((a, b) => (quarantineName(a) < quarantineName(b) ? -1 : 1))
      .map((rule) => ({ rule, matches: quarantineTest(rule, settings) }));
  }

  /**
   * Looks at those rules only that may match the request, and explains a denial when `nearest` or `reason` is read.
   *
   * @param verified the request behind the verification of its token, as all rules but those of CUSTOM see it
   */
  decide(request: Request, verified: Request = request): Decision {
    const turnedAway = this.#peer && peerRefusal(this.#peer, request);
    if (turnedAway !== undefined) return unheard(turnedAway);
    const sent = factsOf(request, this.#escapedSlashes, this.#nowMs);
    if (typeof sent === 'string') return unheard(sent);
    const facts = verified === request ? sent : verifiedFactsOf(verified, this.#escapedSlashes, this.#nowMs);
    if (typeof facts === 'string') return unheard(facts);
    const { enforced, shadow, kinds } = this.#courtsFor(request.protocol);
    const hearing: Hearing = { facts, shown: shownBy(facts, kinds) };
    const before = sent === facts ? hearing : { facts: sent, shown: shownBy(sent, kinds) };
    const asking = first(enforced.custom, before);
    const refused: Outcome | undefined =
      asking && request.authorizerSays === 'DENY'
        ? { verdict: 'DENY', decidedBy: asking.ref, judge: asking }
        : undefined;
    const outcome = refused ?? this.#judge(enforced, hearing);
    const would = shadow && (refused ?? this.#judge(shadow, hearing));
    const certain = outcome.cutOffBy !== undefined || outcome.ended !== undefined;
    const denied = outcome.verdict === 'DENY' && outcome.judge === undefined && !certain;
    const nearest = once(() => (denied ? nearestOf(enforced.rules.allow, facts) : undefined));
    const doubt = once(() => (certain ? undefined : undecided(request, { sent, facts }, enforced.rules)));
    const reason = (): string => this.#reason(outcome, enforced, nearest());
    return {
      verdict: outcome.verdict,
      decidedBy: outcome.decidedBy,
      ...unaskedBy(outcome),
      get reason(): string {
        return reason();
      },
      // Whom the authorizer refuses, the other filters never see.
      audited: refused ? [] : all(enforced.audit, hearing).map(({ ref }) => ref),
      shadow: would && { verdict: would.verdict, decidedBy: would.decidedBy, ...unaskedBy(would) },
      get nearest(): Decision['nearest'] {
        return nearest();
      },
      get undecided(): Decision['undecided'] {
        return doubt();
      },
      ...(asking && { asks: { provider: asking.policy.provider ?? '', rule: asking.ref } }),
    };
  }

  #judge({ deny, allow, rules }: Bench, hearing: Hearing): Outcome {
    const ended = endedFor(hearing.facts.principal, this.#settings);
    if (ended !== undefined) return { verdict: 'DENY', decidedBy: undefined, judge: undefined, ended };
    const cutOff = this.#quarantine.find(({ matches }) => matches(hearing.facts));
    if (cutOff !== undefined)
      return { verdict: 'DENY', decidedBy: undefined, judge: undefined, cutOffBy: cutOff.rule };
    const denied = first(deny, hearing);
    if (denied !== undefined) return { verdict: 'DENY', decidedBy: denied.ref, judge: denied };
    const allowed = first(allow, hearing);
    if (allowed !== undefined) return { verdict: 'ALLOW', decidedBy: allowed.ref, judge: allowed };
    return { verdict: rules.open ? 'ALLOW' : 'DENY', decidedBy: undefined, judge: undefined };
  }

  #reason(
    { verdict, judge, ended, cutOffBy }: Outcome,
    { anyAllow }: Bench,
    nearest: Decision['nearest'],
  ): string {
    if (ended !== undefined)
      return `the trust domain ${ended} is not trusted any more: there is no bundle of it`;
    if (cutOffBy !== undefined) {
      return `denied by quarantine ${cutOffBy.entry} (${describeCallers(cutOffBy.callers)}): ${cutOffBy.reason}`;
    }
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
    const bench = benchOf(enforced, protocol, this.#settings);
    const shadow = tried ? benchOf(this.#policies, protocol, this.#settings) : undefined;
    const indexes = [bench, ...(shadow ? [shadow] : [])].flatMap(({ custom, audit, deny, allow }) => [
      custom,
      audit,
      deny,
      allow,
    ]);
    const kinds = new Set(indexes.flatMap((index) => [...index.kinds]));
    const courts: Courts = { enforced: bench, shadow, kinds };
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
  const indexed = (list: readonly Judge[]): RuleIndex<Judge> => new RuleIndex(list, ({ scoped }) => scoped);
  const anyAllow = policies.some(({ action }) => action === 'ALLOW');
  const open = !anyAllow && settings.defaultAction === 'allow';
  const [custom, deny, allow] = [judges('CUSTOM'), judges('DENY'), judges('ALLOW')];
  return {
    custom: indexed(custom),
    audit: indexed(judges('AUDIT')),
    deny: indexed(deny),
    allow: indexed(allow),
    ...{ rules: { custom, deny, allow, open }, anyAllow },
  };
}

/** What decided before any policy was asked. */
function unaskedBy({ ended, cutOffBy }: Outcome): Pick<Decision, 'ended' | 'quarantine'> {
  return { ...(ended !== undefined && { ended }), ...(cutOffBy && { quarantine: cutOffBy.entry }) };
}

/** The first rule that matches. */
function first(rules: RuleIndex<Judge>, { facts, shown }: Hearing): Judge | undefined {
  for (const judge of rules.candidates(shown)) if (judge.matches(facts)) return judge;
  return undefined;
}

function all(rules: RuleIndex<Judge>, { facts, shown }: Hearing): Judge[] {
  return [...rules.candidates(shown)].filter(({ matches }) => matches(facts));
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}

function nearestOf(allow: readonly Judge[], facts: Facts): Decision['nearest'] {
  let nearest: { rule: RuleRef; failed: readonly string[] } | undefined;
  for (const { ref, policy, rule, scoped } of allow) {
    const over = validityFailure(policy.validity, facts.nowMs);
    const failed =
      scoped === undefined
        ? ['the rule names HTTP attributes, which a TCP connection has none of']
        : [...failures(rule, 'ALLOW', facts), ...(over === undefined ? [] : [over])];
    if (nearest === undefined || failed.length < nearest.failed.length) nearest = { rule: ref, failed };
  }
  return nearest;
}

/** Denied before any rule is asked. */
export function unheard(reason: string): Decision {
  return {
    verdict: 'DENY',
    decidedBy: undefined,
    reason,
    audited: [],
    shadow: undefined,
    nearest: undefined,
  };
}
