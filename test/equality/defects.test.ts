import { describe, expect, it } from 'vitest';
import { compile, type CompiledFilters } from '../../src/policy/index.ts';
import type { JsonObject } from '../../src/proxy/index.ts';
import { Court } from './envoy/court.ts';
import { render, tryPairs } from './trial.ts';

/** A value with each object that it holds seen, and changed, from the inside out. */
function changed(value: unknown, change: (object: Record<string, unknown>) => unknown): unknown {
  if (Array.isArray(value)) return value.map((entry) => changed(entry, change));
  if (typeof value !== 'object' || value === null) return value;
  return change(
    Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, changed(inner, change)])),
  );
}

/** What a compiler could get wrong. */
const DEFECTS: Readonly<Record<string, (object: Record<string, unknown>) => unknown>> = {
  'the last of several permissions is lost': (object) => {
    const rules = (object['and_rules'] as { rules: unknown[] } | undefined)?.rules;
    return rules === undefined ? object : { and_rules: { rules: rules.slice(0, -1) } };
  },
  'negations are lost': (object) => object['not_rule'] ?? object['not_id'] ?? object,
  'prefixes are taken for whole values': ({ prefix, ...rest }) =>
    prefix === undefined ? rest : { exact: prefix, ...rest },
  'shadow rules are enforced by nobody': (object) =>
    Object.fromEntries(Object.entries(object).filter(([key]) => key !== 'shadow_rules')),
  'the external authorizer is asked about nothing': (object) =>
    String(object['name']).endsWith('.custom')
      ? { ...object, typed_config: { '@type': (object['typed_config'] as JsonObject)['@type'] } }
      : object,
};

/** Whether the proof can fail: with a defect in the filters, a mismatch must be found, and made small. */
describe('a defect in the compiled filters', () => {
  it.each(Object.entries(DEFECTS))(
    '%s: found, and shrunk to one rule',
    async (_name, change) => {
      const court = await Court.open(
        (policies, options) => changed(compile(policies, options), change) as CompiledFilters,
      );
      try {
        const trial = await tryPairs(court, { seed: 1, pairs: 750 });
        const { mismatch } = trial;
        if (mismatch === undefined) expect.fail('no pair showed the defect');
        const { documents } = mismatch.pair.set;
        expect(documents, render(mismatch, trial.replay)).toHaveLength(1);
        expect(documents[0]?.spec.rules?.length ?? 0).toBeLessThanOrEqual(1);
        expect(render(mismatch, trial.replay)).toMatch(
          /evaluator: [^]*Envoy: [^]*replay: +EQUALITY_SEED=1 EQUALITY_PAIRS=750/u,
        );
      } finally {
        await court.close();
      }
    },
    180_000,
  );
});
