import * as fc from 'fast-check';
import type { Asked, PolicySet } from '../case.ts';
import { policySet } from './policies.ts';
import { question } from './questions.ts';

/** One policy set and what is asked of it. */
export interface Docket {
  readonly set: PolicySet;
  readonly asked: readonly Asked[];
}

const QUESTIONS = 25;
/** One set in so many speaks TCP: a connection costs more than a request. */
const TCP_EVERY = 8;

function dockets(protocol: PolicySet['protocol']): fc.Arbitrary<Docket> {
  return policySet(protocol).chain((set) =>
    fc
      .array(question(set), { minLength: QUESTIONS, maxLength: QUESTIONS, size: 'max' })
      .map((asked) => ({ set, asked })),
  );
}

/** As many pairs as asked for, or a few more. The same seed and number give the same pairs. */
export function batch(seed: number, pairs: number): Docket[] {
  const sets = Math.ceil(pairs / QUESTIONS);
  const tcp = Math.ceil(sets / TCP_EVERY);
  return [
    ...fc.sample(dockets('tcp'), { seed, numRuns: tcp }),
    ...fc.sample(dockets('http'), { seed: seed ^ 0x5bd1e995, numRuns: sets - tcp }),
  ];
}
