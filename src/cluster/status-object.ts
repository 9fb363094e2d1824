import { isDeepStrictEqual } from 'node:util';
import { fieldsAt, isFields, textAt, type Fields } from '../kubernetes/index.ts';
import { conditionsOf, type Condition, type Standing } from '../status/index.ts';

/** What stands in a policy object now: as much as its status depends on. */
export interface SeenObject {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly generation: number;
  readonly resourceVersion: string;
  readonly observedGeneration: unknown;
  /** All that have a type, ours or not. */
  readonly conditions: readonly Fields[];
}

const OURS: ReadonlySet<unknown> = new Set<Condition['type']>(['Accepted', 'Programmed', 'Warning']);

export function readSeen(object: Fields): SeenObject {
  const metadata = fieldsAt(object, 'metadata');
  const status = fieldsAt(object, 'status');
  const conditions: readonly unknown[] = Array.isArray(status['conditions']) ? status['conditions'] : [];
  const { generation } = metadata;
  return {
    namespace: textAt(metadata, 'namespace') ?? '',
    name: textAt(metadata, 'name') ?? '',
    uid: textAt(metadata, 'uid') ?? '',
    generation: typeof generation === 'number' ? generation : 0,
    resourceVersion: textAt(metadata, 'resourceVersion') ?? '',
    observedGeneration: status['observedGeneration'],
    conditions: conditions.filter(isFields).filter((each) => textAt(each, 'type') !== undefined),
  };
}

/** What has to be written into a status, and whether anybody waits for it: a text alone may come later. */
export interface StatusChange {
  readonly urgent: boolean;
  /** A merge patch that holds for this version of the object alone. */
  readonly patch: object;
}

/** Undefined: it says what it should. */
export function changeOf(seen: SeenObject, standing: Standing, nowMs: number): StatusChange | undefined {
  const others = seen.conditions.filter(({ type }) => !OURS.has(type));
  const ours = seen.conditions.filter(({ type }) => OURS.has(type));
  const wanted = conditionsOf(standing, ours.filter(isCondition), nowMs);
  const { generation } = standing;
  if (seen.observedGeneration === generation && isDeepStrictEqual(said(ours), said(wanted))) return undefined;
  return {
    urgent: seen.observedGeneration !== generation || !isDeepStrictEqual(words(ours), words(wanted)),
    patch: {
      metadata: { resourceVersion: seen.resourceVersion },
      status: { observedGeneration: generation, conditions: [...others, ...wanted] },
    },
  };
}

type Loose = Partial<Record<keyof Condition, unknown>>;

/** Without the time, which is not what a condition says. */
function said(conditions: readonly Loose[]): readonly object[] {
  return conditions
    .toSorted((a, b) => (String(a.type) < String(b.type) ? -1 : 1))
    .map((condition) => ({ ...condition, lastTransitionTime: '' }));
}

/** What programs go by. */
function words(conditions: readonly Loose[]): readonly string[] {
  return conditions.map((each) => [each.type, each.status, each.reason].map(String).join(' ')).toSorted();
}

function isCondition(fields: Fields): fields is Fields & Condition {
  return typeof fields['status'] === 'string' && typeof fields['lastTransitionTime'] === 'string';
}
