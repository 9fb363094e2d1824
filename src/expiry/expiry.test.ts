import { describe, expect, it } from 'vitest';
import { judgeLink, Links, noticeMs, span, type LinkFacts, type LinkKind } from './index.ts';

const hour = 3_600_000;
const day = 24 * hour;

function facts(kind: LinkKind, term: LinkFacts['term']): LinkFacts {
  return { kind, name: 'one', serves: 'all', term, run: 'mend it', runExpired: 'begin anew' };
}

function until(kind: LinkKind, lifeMs: number): LinkFacts {
  return facts(kind, { kind: 'until', fromMs: 0, untilMs: lifeMs });
}

describe('a certificate', () => {
  it.each([
    ['svid', hour, hour / 4],
    ['intermediate', day, 6 * hour],
    ['root', 3_650 * day, 30 * day],
    ['root', 100 * day, 10 * day],
    ['root', 20 * hour, 4 * hour],
    ['ca', 90 * day, 7 * day],
    ['ca', 4 * day, day],
  ] as const)('%s of %d ms is due when less than %d ms are left', (kind, lifeMs, leftMs) => {
    expect(noticeMs(kind, lifeMs, hour)).toBe(leftMs);
    const link = until(kind, lifeMs);
    expect(judgeLink(link, lifeMs - leftMs, hour)).toMatchObject({ state: 'ok', run: '' });
    expect(judgeLink(link, lifeMs - leftMs + 1, hour)).toMatchObject({ state: 'soon', run: 'mend it' });
    expect(judgeLink(link, lifeMs - 1, hour).state).toBe('soon');
    expect(judgeLink(link, lifeMs, hour)).toMatchObject({
      state: 'expired',
      run: 'begin anew',
      endsMs: lifeMs,
    });
  });

  it('that has not begun yet is not well', () => {
    expect(judgeLink(until('svid', hour), -2 * hour, hour)).toMatchObject({
      state: 'soon',
      detail: 'begins in 2h: check the clock',
    });
  });
});

describe('what is fetched', () => {
  it.each([
    [undefined, 'unknown', 'never fetched'],
    [day - 3 * hour, 'ok', 'fetched 3h ago'],
    [day - 4 * hour, 'soon', 'fetched 4h ago'],
  ] as const)('last at %s: %s', (atMs, state, detail) => {
    const link = judgeLink(facts('jwks', { kind: 'fetched', atMs, everyMs: hour }), day, hour);
    expect(link).toMatchObject({ state, detail, endsMs: undefined });
  });

  it('or has no end is well', () => {
    expect(judgeLink(facts('token-keys', { kind: 'endless' }), day, hour).state).toBe('ok');
  });
});

it('lists the worst first, and asks each owner anew', () => {
  let nowMs = 0;
  const links = new Links({ nowMs: () => nowMs, settleMs: hour });
  links.add(() => [
    until('serving', 4 * hour),
    facts('jwks', { kind: 'fetched', atMs: undefined, everyMs: 1 }),
  ]);
  links.add(() => [until('svid', hour), until('webhook', 2 * hour)]);
  const states = (): readonly string[] => links.judged().map(({ kind, state }) => `${kind} ${state}`);
  expect(states()).toEqual(['jwks unknown', 'svid ok', 'webhook ok', 'serving ok']);
  nowMs = 1.75 * hour;
  expect(states()).toEqual(['svid expired', 'webhook soon', 'jwks unknown', 'serving ok']);
});

it('sends nobody to restart what has no root', () => {
  const links = new Links({ nowMs: () => day, settleMs: hour });
  links.add(() => [until('root', day), until('svid', day), until('federated-root', day)]);
  expect(links.judged().map(({ kind, run }) => [kind, run])).toEqual([
    ['root', 'begin anew'],
    ['svid', 'first what the root asks for'],
    ['federated-root', 'begin anew'],
  ]);
});

it.each([
  [47 * hour, '47h'],
  [48 * hour, '2d'],
  [119_999, '119s'],
  [120_000, '2m'],
  [0, '0s'],
])('says %d ms as %s', (ms, text) => {
  expect(span(ms)).toBe(text);
});
