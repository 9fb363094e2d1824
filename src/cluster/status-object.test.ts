import { describe, expect, it } from 'vitest';
import type { Fields } from '../kubernetes/index.ts';
import type { Standing } from '../status/index.ts';
import { changeOf, readSeen } from './status-object.ts';

const standing: Standing = {
  generation: 2,
  issues: [],
  lastGood: false,
  progress: { proxies: 2, current: 2 },
  unseenBy: [],
  silent: [],
  awaited: [],
};
const theirs = { type: 'example.com/Audited', status: 'True' };

function object(status: unknown): Fields {
  const metadata = { namespace: 'shop', name: 'p', uid: 'u', generation: 2, resourceVersion: '7' };
  return { metadata, ...(status !== undefined && { status }) };
}

/** What a status is when it has been written. */
function written(status: unknown, nowMs: number = 0, to: Standing = standing): Fields | undefined {
  const change = changeOf(readSeen(object(status)), to, nowMs);
  return (change?.patch as { status: Fields } | undefined)?.status;
}

function conditionsIn(status: Fields | undefined): readonly Readonly<Record<string, unknown>>[] {
  const conditions = status?.['conditions'];
  return Array.isArray(conditions) ? conditions : [];
}

describe('the change of a status', () => {
  it('is none where it says what it should, whenever that was', () => {
    const first = written(undefined);
    expect(first).toMatchObject({
      observedGeneration: 2,
      conditions: [{ type: 'Accepted' }, { type: 'Programmed' }],
    });
    expect(written(first, 99_000)).toBeUndefined();
  });

  it('holds for the version that was seen, and no other', () => {
    expect(changeOf(readSeen(object(undefined)), standing, 0)?.patch).toMatchObject({
      metadata: { resourceVersion: '7' },
    });
  });

  it('leaves conditions of other types as they are, wherever they stand', () => {
    const first = written({ conditions: [theirs] });
    expect(conditionsIn(first)).toHaveLength(3);
    expect(conditionsIn(first)[0]).toEqual(theirs);
    expect(written({ ...first, conditions: conditionsIn(first).toReversed() })).toBeUndefined();
  });

  it('is urgent where a condition turned or a generation is new, and not for a text alone', () => {
    const first = written(undefined);
    const urgent = (progress: Standing['progress'], generation = 2): boolean | undefined =>
      changeOf(readSeen(object(first)), { ...standing, progress, generation }, 0)?.urgent;
    expect(urgent({ proxies: 2, current: 1 })).toBe(true);
    expect(urgent({ proxies: 3, current: 3 })).toBe(false);
    expect(urgent({ proxies: 2, current: 2 }, 3)).toBe(true);
    expect(urgent({ proxies: 2, current: 2 })).toBeUndefined();
  });

  it('takes back a warning that is over', () => {
    const warning = { severity: 'warning', path: 'spec', message: 'hardly meant' } as const;
    const warned = written(undefined, 0, { ...standing, issues: [warning] });
    expect(warned?.['conditions']).toHaveLength(3);
    expect(written(warned)?.['conditions']).toHaveLength(2);
  });

  it.each([
    ['no mapping', 'text'],
    ['conditions that are none', { conditions: 'many' }],
    ['conditions of no type, no status and no time', { conditions: [1, null, {}, { type: 'Accepted' }] }],
    [
      'two of one type',
      { conditions: [theirs, { type: 'Accepted', status: 'True' }, { type: 'Accepted', status: 'False' }] },
    ],
  ])('puts right what no schema would take: %s', (_what, status) => {
    const types = conditionsIn(written(status)).filter(({ type }) => type !== theirs.type);
    expect(types.map(({ type }) => type)).toEqual(['Accepted', 'Programmed']);
    expect(types.every(({ lastTransitionTime }) => lastTransitionTime === '1970-01-01T00:00:00Z')).toBe(true);
  });
});
