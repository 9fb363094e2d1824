import type { Issue } from '../policy/index.ts';
import type { Condition, ConditionType, Progress } from './types.ts';

/** The API server takes 32,768 characters; a reader takes fewer. */
const MAX_MESSAGE = 1_024;

/** All that the conditions of one policy are made from. */
export interface Standing {
  readonly generation: number;
  /** Of this generation: errors refuse it, warnings are passed on. */
  readonly issues: readonly Issue[];
  /** Whether an earlier generation stays in force while this one is refused. */
  readonly lastGood: boolean;
  readonly progress: Progress;
  /** Replicas that have not seen this generation yet. */
  readonly unseenBy: readonly string[];
  /** Whose proxies nobody speaks for, a line each. */
  readonly silent: readonly string[];
  /** Who has yet to speak for the first time, a line each. */
  readonly awaited: readonly string[];
}

/**
 * The conditions as they should stand, in a fixed order. Where a condition's status is what it was, so is its
 * transition time: equal standing gives equal conditions, and nothing has to be written.
 *
 * @param before those that stand there now, of us or of an earlier release
 */
export function conditionsOf(
  standing: Standing,
  before: readonly Condition[],
  nowMs: number,
): readonly Condition[] {
  const { generation } = standing;
  const said = before.find(({ type }) => type === 'Programmed');
  const isProgrammed = said?.status === 'True' && said.observedGeneration === generation;
  const found = [accepted(standing), programmed(standing, isProgrammed), warning(standing)];
  return found.flatMap((condition): Condition[] => {
    if (condition === undefined) return [];
    const [type, status, reason, message] = condition;
    const last = before.find((known) => known.type === type);
    const lastTransitionTime = last?.status === status ? last.lastTransitionTime : seconds(nowMs);
    return [
      { type, status, observedGeneration: generation, lastTransitionTime, reason, message: cut(message) },
    ];
  });
}

type Found = readonly [type: ConditionType, status: Condition['status'], reason: string, message: string];

function accepted({ issues, lastGood }: Standing): Found {
  const errors = issues.filter(({ severity }) => severity === 'error');
  if (errors.length === 0) return ['Accepted', 'True', 'Valid', 'in force'];
  const kept = lastGood ? 'the last good generation stays in force' : 'nothing of it is in force';
  return ['Accepted', 'False', 'Invalid', `${kept}; ${lines(errors)}`];
}

/** @param was whether this generation was programmed: a replica that comes later does not undo it */
function programmed({ issues, progress, unseenBy, silent, awaited }: Standing, was: boolean): Found {
  const { proxies, current, rejected } = progress;
  const count = `${current}/${proxies} proxies`;
  if (issues.some(({ severity }) => severity === 'error'))
    return ['Programmed', 'False', 'Invalid', 'this generation is not sent to any proxy'];
  if (rejected !== undefined)
    return ['Programmed', 'False', 'Rejected', `${count}; ${rejected.proxy} refused it: ${rejected.message}`];
  if (unseenBy.length > 0)
    return ['Programmed', 'False', 'Pending', `${count}; not yet seen by ${unseenBy.join(', ')}`];
  if (current < proxies) return ['Programmed', 'False', 'Pending', count];
  if (silent.length > 0)
    return ['Programmed', 'Unknown', 'ReplicaSilent', `${count} that are known of; ${silent.join('; ')}`];
  if (awaited.length > 0 && !was)
    return ['Programmed', 'False', 'Pending', `${count} that are known of; ${awaited.join('; ')}`];
  if (proxies === 0) return ['Programmed', 'True', 'NoProxies', '0/0 proxies: no connected Envoy needs it'];
  return ['Programmed', 'True', 'Acknowledged', count];
}

function warning({ issues }: Standing): Found | undefined {
  const warnings = issues.filter(({ severity }) => severity === 'warning');
  return warnings.length === 0 ? undefined : ['Warning', 'True', 'Suspicious', lines(warnings)];
}

function lines(issues: readonly Issue[]): string {
  return issues.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`)).join('; ');
}

function cut(text: string): string {
  return text.length <= MAX_MESSAGE ? text : `${text.slice(0, MAX_MESSAGE - 1)}…`;
}

/** `metav1.Time` has whole seconds. */
function seconds(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
