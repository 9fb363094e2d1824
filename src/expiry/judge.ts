import type { Link, LinkFacts, LinkKind, LinkState } from './types.ts';

const DAY_MS = 24 * 3_600_000;
/** A fetch may fail now and then. */
const MISSED_FETCHES = 3;

/**
 * How much of a life is left at least while everything works: what renews it by itself does so at half, so below a
 * quarter it did not. Roots are replaced by an operator, who needs time for it.
 * @param settleMs the life of an SVID: each of a rotation's steps may have to wait for as long
 */
export function noticeMs(kind: LinkKind, lifeMs: number, settleMs: number): number {
  switch (kind) {
    case 'root':
    case 'trusted-root':
      return Math.max(4 * settleMs, Math.min(30 * DAY_MS, lifeMs / 10));
    case 'ca':
    case 'federated-root':
      return Math.min(7 * DAY_MS, lifeMs / 4);
    default:
      return lifeMs / 4;
  }
}

interface Verdict {
  readonly state: LinkState;
  readonly detail: string;
}

/** How a link stands at this moment, and what there is to do. */
export function judgeLink(facts: LinkFacts, nowMs: number, settleMs: number): Link {
  const { kind, name, serves, term, run, runExpired = run } = facts;
  const { state, detail } = verdictOf(facts, nowMs, settleMs);
  return {
    kind,
    name,
    serves,
    state,
    endsMs: term.kind === 'until' ? term.untilMs : undefined,
    detail,
    run: state === 'ok' ? '' : state === 'expired' ? runExpired : run,
  };
}

function verdictOf({ kind, term }: LinkFacts, nowMs: number, settleMs: number): Verdict {
  if (term.kind === 'endless') return { state: 'ok', detail: 'has no end' };
  if (term.kind === 'fetched') {
    const { atMs, everyMs } = term;
    if (atMs === undefined) return { state: 'unknown', detail: 'never fetched' };
    const ageMs = nowMs - atMs;
    return { state: ageMs > MISSED_FETCHES * everyMs ? 'soon' : 'ok', detail: `fetched ${span(ageMs)} ago` };
  }
  const { fromMs, untilMs } = term;
  const leftMs = untilMs - nowMs;
  if (leftMs <= 0) return { state: 'expired', detail: `ended ${span(-leftMs)} ago` };
  if (nowMs < fromMs) return { state: 'soon', detail: `begins in ${span(fromMs - nowMs)}: check the clock` };
  const late = leftMs < noticeMs(kind, untilMs - fromMs, settleMs);
  return { state: late ? 'soon' : 'ok', detail: `${span(leftMs)} left` };
}

const STATES: readonly LinkState[] = ['expired', 'soon', 'unknown', 'ok'];

/** The worst first; of those that are alike, the one that ends first. */
export function worstFirst(a: Link, b: Link): number {
  const [ends, others] = [a.endsMs ?? Number.MAX_SAFE_INTEGER, b.endsMs ?? Number.MAX_SAFE_INTEGER];
  return STATES.indexOf(a.state) - STATES.indexOf(b.state) || ends - others;
}

/** Rounded to what a person would say: `3d`, `5h`, `12m`, `40s`. */
export function span(ms: number): string {
  const units: readonly (readonly [string, number])[] = [
    ['d', DAY_MS],
    ['h', 3_600_000],
    ['m', 60_000],
  ];
  const [name, size] = units.find(([, unit]) => ms >= 2 * unit) ?? ['s', 1_000];
  return `${Math.floor(ms / size)}${name}`;
}
