import { describe, expect, it } from 'vitest';
import type { PluggedCa, RotationState } from '../../src/authority/index.ts';
import { towardsCa, type CaStanding } from './ca-transition.ts';

const nowMs = 10_000_000;
const settleMs = 3_600_000;

function root(fingerprint: string): RotationState['signing'] {
  return { fingerprint, notBeforeMs: 0, notAfterMs: 2 * nowMs };
}

function ca(fingerprint: string, ...trusted: readonly string[]): PluggedCa {
  return {
    root: { fingerprint } as PluggedCa['root'],
    roots: [],
    fingerprints: [fingerprint, ...trusted],
    fingerprint: `below ${fingerprint}`,
  };
}

const preparedNew: RotationState = {
  step: 'prepared',
  signing: root('old'),
  other: root('new'),
  sinceMs: nowMs - settleMs,
};
const activatedNew: RotationState = {
  ...preparedNew,
  step: 'activated',
  signing: root('new'),
  other: root('old'),
};
const steadyOld: RotationState = { step: 'steady', signing: root('old') };

function at(state: RotationState, given: Partial<CaStanding>): ReturnType<typeof towardsCa> {
  return towardsCa({
    state,
    ca: ca('new'),
    waits: state.signing.fingerprint === 'old',
    givenUp: false,
    nowMs,
    settleMs,
    lagging: () => [],
    ...given,
  });
}

describe('the way to the CA that the operator gave', () => {
  it.each<[string, RotationState, Partial<CaStanding>, ReturnType<typeof towardsCa>['step']]>([
    ['begins where another root signs', steadyOld, {}, 'prepare'],
    ['has no step where its root signs', { step: 'steady', signing: root('new') }, {}, undefined],
    ['is not begun again where it was taken back', steadyOld, { givenUp: true }, undefined],
    ['does not go on where it was taken back', preparedNew, { givenUp: true }, undefined],
    ['goes on when all trust its root', preparedNew, {}, 'activate'],
    ['waits for who lags', preparedNew, { lagging: () => ['shop/web', 'shop/cart'] }, undefined],
    ['waits for the life of an SVID', { ...preparedNew, sinceMs: nowMs - settleMs + 1 }, {}, undefined],
    ['leaves a rotation to another root alone', { ...preparedNew, other: root('third') }, {}, undefined],
    ['goes back where the CA that signs was put back', preparedNew, { ca: ca('old'), waits: false }, 'abort'],
    ['ends when nothing of the old root lives', activatedNew, {}, 'retire'],
    ['does not end before', activatedNew, { lagging: () => ['SVIDs live'] }, undefined],
    ['does not end while the old root is to be trusted', activatedNew, { ca: ca('new', 'old') }, undefined],
    ['goes back from there too', activatedNew, { ca: ca('old'), waits: true }, 'abort'],
    ['finishes what was begun before a third one', activatedNew, { ca: ca('third'), waits: true }, 'retire'],
  ])('%s', (_title, state, given, step) => {
    expect(at(state, given).step).toBe(step);
  });

  it('says what it waits for', () => {
    const lagging = (): readonly string[] => ['shop/web has not', 'shop/cart has not'];
    expect(at(preparedNew, { lagging }).waitsFor).toBe(
      'not all trust its root yet: shop/web has not, and 1 more',
    );
    expect(at({ ...preparedNew, sinceMs: nowMs }, {}).waitsFor).toContain(
      `it signs from ${new Date(nowMs + settleMs).toISOString()} on`,
    );
  });
});
