import { stringify } from 'yaml';
import type { Asked, Pair, Verdict } from './case.ts';
import { parseQuarantineName } from '../../src/policy/index.ts';
import type { Court, Hearing } from './envoy/court.ts';
import { EvaluatedSet } from './evaluated.ts';
import { batch, type Docket } from './generate/batch.ts';
import { shrink } from './shrink.ts';

/** Pairs that Envoy carries at once. */
export const BATCH_PAIRS = 5_000;

/** A pair on which the two judges differ. */
export interface Mismatch {
  readonly pair: Pair;
  readonly evaluator: Verdict;
  readonly envoy: Verdict;
}

export interface Trial {
  readonly pairs: number;
  /** The first mismatch, in its smallest form. */
  readonly mismatch: Mismatch | undefined;
  /** Repeats the batch of the mismatch. */
  readonly replay: string | undefined;
  /** Mismatches in that batch. */
  readonly mismatches: number;
  /** How often each kind of outcome was seen: a trial that sees one kind only proves little. */
  readonly outcomes: ReadonlyMap<string, number>;
}

/** Puts generated pairs to both judges, batch by batch, up to the first mismatch. */
export async function tryPairs(
  court: Court,
  { seed, pairs, onBatch }: { seed: number; pairs: number; onBatch?: (done: number) => void },
): Promise<Trial> {
  const outcomes = new Map<string, number>();
  let done = 0;
  for (let index = 0; done < pairs; index += 1) {
    const [batchSeed, size] = [batchSeedOf(seed, index), Math.min(BATCH_PAIRS, pairs - done)];
    const dockets = batch(batchSeed, size);
    const { judged, mismatches } = await judgeDockets(court, dockets);
    for (const { pair, evaluator } of judged) {
      const kind = outcomeOf(pair, evaluator);
      outcomes.set(kind, (outcomes.get(kind) ?? 0) + 1);
    }
    done += judged.length;
    const [first] = mismatches;
    if (first !== undefined) {
      const mismatch = await smallest(court, first);
      const replay = `EQUALITY_SEED=${batchSeed} EQUALITY_PAIRS=${size}`;
      return { pairs: done, mismatch, replay, mismatches: mismatches.length, outcomes };
    }
    onBatch?.(done);
  }
  return { pairs: done, mismatch: undefined, replay: undefined, mismatches: 0, outcomes };
}

/** The first batch has the seed itself, so that the seed of any batch replays it alone. */
function batchSeedOf(seed: number, index: number): number {
  return (seed + Math.imul(index, 0x3c6ef372)) >>> 0;
}

/** Both judges on the same pairs. */
export async function judgeDockets(
  court: Court,
  dockets: readonly Docket[],
): Promise<{ judged: Mismatch[]; mismatches: Mismatch[] }> {
  const hearings: Hearing[] = [];
  for (const { set, asked } of dockets) {
    const port = set.protocol === 'http' ? court.port : await court.tcpPort();
    hearings.push({ set: new EvaluatedSet(set, port), asked });
  }
  const verdicts = await court.judge(hearings);
  const judged = hearings.flatMap(({ set, asked: questions }, at) =>
    questions.map((asked, index): Mismatch => {
      const envoy = verdicts[at]?.[index] ?? { verdict: 'DENY', fault: 'never asked' };
      return { pair: { set: set.set, asked }, evaluator: set.verdict(asked), envoy };
    }),
  );
  return { judged, mismatches: judged.filter(({ evaluator, envoy }) => !same(evaluator, envoy)) };
}

function same(a: Verdict, b: Verdict): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

async function smallest(court: Court, mismatch: Mismatch): Promise<Mismatch> {
  const dockets = (pairs: readonly Pair[]): Docket[] =>
    pairs.map(({ set, asked }) => ({ set, asked: [asked] }));
  const lawful = ({ set }: Pair): boolean => {
    try {
      return new EvaluatedSet(set, court.port).policies.length >= 0;
    } catch {
      return false; // Cut to something that the parser refuses: no policy at all.
    }
  };
  const pair = await shrink(mismatch.pair, async (pairs) => {
    const candidates = pairs.filter(lawful);
    const { judged } = await judgeDockets(court, dockets(candidates));
    const failed = new Set(candidates.filter((_, at) => fails(judged[at])));
    return pairs.map((candidate) => failed.has(candidate));
  });
  const { mismatches } = await judgeDockets(court, dockets([pair]));
  // One that does not show again is told as it was seen.
  return mismatches[0] ?? mismatch;
}

function fails(judged: Mismatch | undefined): boolean {
  return judged !== undefined && !same(judged.evaluator, judged.envoy);
}

function outcomeOf(
  { set: { protocol }, asked }: Pair,
  { verdict, rule, asked: sent, audited, shadow }: Verdict,
): string {
  const by = rule === undefined ? 'default' : 'rule';
  return [
    protocol,
    ...(verdict === 'REFUSED' || verdict === 'UNAUTHENTICATED' ? [verdict] : [verdict, 'by', by]),
    ...(rule !== undefined && parseQuarantineName(rule) !== undefined ? ['quarantined'] : []),
    ...((asked.tokens ?? []).length === 0 ? [] : ['token']),
    ...(sent === undefined ? [] : ['asked']),
    ...(audited === undefined ? [] : ['audited']),
    ...(shadow === undefined ? [] : [shadow.verdict === verdict ? 'shadow same' : 'shadow differs']),
    ...(asked.peer.kind === 'svid' ? [] : ['unproven']),
    ...(asked.metadata === undefined ? [] : ['metadata']),
    ...(asked.proxied === undefined ? [] : ['proxied']),
  ].join(' ');
}

/** A mismatch as an operator would write it down; its YAML is the form of `regressions/*.yaml`. */
export function render({ pair, evaluator, envoy }: Mismatch, replay: string | undefined): string {
  const { set, asked } = pair;
  const text = stringify({
    protocol: set.protocol,
    ...(set.defaultAction === 'allow' && { defaultAction: 'allow' }),
    ...(set.portKnown && { portKnown: true }),
    ...(set.aliases === true && { aliases: true }),
    ...(set.ended === true && { ended: true }),
    ...(set.quarantine && { quarantine: set.quarantine }),
    ...(set.authentications && { authentications: set.authentications.map(({ spec }) => spec.jwtRules) }),
    policies: set.documents,
    cases: [{ asked: told(asked), verdict: told(envoy) }],
  });
  return [
    'Envoy and the evaluator differ. The smallest case:',
    text,
    `evaluator: ${JSON.stringify(evaluator)}`,
    `Envoy:     ${JSON.stringify(envoy)}`,
    ...(replay === undefined ? [] : [`replay:    ${replay} npm test -- test/equality/equality.test.ts`]),
  ].join('\n');
}

/** Without what is absent. */
function told(value: Asked | Verdict): unknown {
  return JSON.parse(JSON.stringify(value));
}
