import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Court } from './envoy/court.ts';
import { regressions } from './regression.ts';
import { judgeDockets } from './trial.ts';

/** Pairs on which evaluator and Envoy once differed, or in which one of them surprised us. */
describe('Envoy and the evaluator agree, where they once did not', () => {
  let court: Court;
  beforeAll(async () => {
    court = await Court.open();
  });
  afterAll(async () => {
    await court.close();
  });

  it.each(regressions().map((regression) => [regression.name, regression] as const))(
    '%s',
    async (_name, { set, cases }) => {
      const { judged } = await judgeDockets(court, [{ set, asked: cases.map(({ asked }) => asked) }]);
      expect(judged.map(({ envoy }) => plain(envoy))).toEqual(cases.map(({ verdict }) => verdict));
      expect(judged.map(({ evaluator }) => plain(evaluator))).toEqual(cases.map(({ verdict }) => verdict));
    },
  );
});

/** Without what is undefined. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
