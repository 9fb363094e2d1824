import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compile, parseAuthorizationPolicy, type AuthorizationPolicy } from '../../src/policy/index.ts';
import { readManifests } from '../../src/sources/manifests/index.ts';
import { throughAll, type Machine } from './invariants.ts';
import { isMapping } from './reading.ts';
import { texts } from './texts.ts';

/** As many, of the same seed, as `fuzz.test.ts` tries. */
const tried = fc.sample(texts(), { seed: 4, numRuns: 2_000 });
const OURS: Machine = { readManifests, parse: parseAuthorizationPolicy, compile };

type Fields = Readonly<Record<string, unknown>>;

/** A value with each mapping in it changed, from the inside out. */
function changed(value: unknown, change: (fields: Fields) => unknown): unknown {
  if (Array.isArray(value)) return value.map((entry) => changed(entry, change));
  if (!isMapping(value)) return value;
  return change(
    Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, changed(inner, change)])),
  );
}

function without(...names: readonly string[]): (fields: Fields) => Fields {
  return (fields) => Object.fromEntries(Object.entries(fields).filter(([name]) => !names.includes(name)));
}

/** A machine whose parser reads documents as if they said something else. */
function misreading(change: (fields: Fields) => unknown): Machine {
  return { ...OURS, parse: (value, options) => parseAuthorizationPolicy(changed(value, change), options) };
}

/** A machine whose parser makes of a good policy another one. */
function mistaking(change: (policy: AuthorizationPolicy) => AuthorizationPolicy): Machine {
  return {
    ...OURS,
    parse: (value, options) => {
      const parsed = parseAuthorizationPolicy(value, options);
      return parsed.ok ? { ...parsed, policy: change(parsed.policy) } : parsed;
    },
  };
}

/** A machine whose compiler writes something else. */
function miscompiling(change: (fields: Fields) => unknown, only?: 'tcp'): Machine {
  return {
    ...OURS,
    compile: (policies, options) => {
      const compiled = compile(policies, options);
      if (only !== undefined && options.protocol !== only) return compiled;
      return changed(compiled, change) as typeof compiled;
    },
  };
}

const rules = (policy: AuthorizationPolicy, change: (rule: Fields) => Fields): AuthorizationPolicy => ({
  ...policy,
  rules: policy.rules.map((rule) => ({ ...rule, ...change({ ...rule }) })),
});

/** What a reader, a parser and a compiler could get wrong, and what the fuzz says to it. */
const DEFECTS: Readonly<Record<string, readonly [Machine, RegExp]>> = {
  'an unknown field is passed over': [
    misreading((fields) =>
      without(...Object.keys(fields).filter((name) => /x$|^extra$/u.test(name)))(fields),
    ),
    /unknown field/u,
  ],
  'a document that is refused comes with a policy': [
    {
      ...OURS,
      parse: (value, options) => {
        const parsed = parseAuthorizationPolicy(value, options);
        return parsed.ok ? parsed : ({ ...parsed, policy: {} } as typeof parsed);
      },
    },
    /a policy beside its refusal/u,
  ],
  'conditions are lost': [
    mistaking((policy) => rules(policy, () => ({ when: [] }))),
    /when has a condition/u,
  ],
  'an alternative too many is read': [
    mistaking((policy) => rules(policy, () => ({ from: [...(policy.rules[0]?.from ?? []), []] }))),
    /from has an entry more or less/u,
  ],
  'negative values are lost': [misreading(without('notPaths', 'notIpBlocks')), /lost values|unknown|entry/u],
  'the last of several values is lost': [
    misreading((fields) =>
      Object.fromEntries(
        Object.entries(fields).map(([name, value]) => [
          name,
          name === 'paths' && Array.isArray(value) && value.length > 1 ? value.slice(0, -1) : value,
        ]),
      ),
    ),
    /lost values/u,
  ],
  'a rule is lost': [
    mistaking((policy) => ({ ...policy, rules: policy.rules.slice(1) })),
    /a rule more or less than written/u,
  ],
  'nothing stands for something: an odd rule is one that matches all': [
    {
      ...OURS,
      parse: (value, options) => {
        const odd = changed(value, (fields) =>
          Array.isArray(fields['rules'])
            ? { ...fields, rules: fields['rules'].map((rule: unknown) => (isMapping(rule) ? rule : {})) }
            : fields,
        );
        return parseAuthorizationPolicy(odd, options);
      },
    },
    /a rule that is no mapping/u,
  ],
  'a prefix is read where a whole value is written': [
    miscompiling(({ exact, ...rest }) => (exact === undefined ? rest : { ...rest, prefix: exact })),
    /compiled without !?exact=/u,
  ],
  'text is not escaped in regular expressions': [
    miscompiling((fields) =>
      typeof fields['regex'] === 'string'
        ? { ...fields, regex: fields['regex'].replaceAll(/\\([^C])/gu, '$1') }
        : fields,
    ),
    /compiled to the expression/u,
  ],
  'negations are lost': [
    miscompiling((fields) => fields['not_rule'] ?? fields['not_id'] ?? fields),
    /compiled without !/u,
  ],
  'the last of several permissions is lost': [
    miscompiling((fields) => {
      const all = (fields['and_rules'] as { rules?: unknown[] } | undefined)?.rules;
      return all === undefined ? fields : { and_rules: { rules: all.slice(0, -1) } };
    }),
    /compiled without/u,
  ],
  'a rule becomes one for anybody and anything': [
    miscompiling((fields) =>
      fields['principals'] === undefined
        ? fields
        : { ...fields, permissions: [{ any: true }], principals: [{ any: true }] },
    ),
    /anybody and anything/u,
  ],
  'a DENY is dropped on TCP ports': [
    {
      ...OURS,
      compile: (policies, options) => {
        const compiled = compile(policies, options);
        const { '@type': type, stat_prefix: prefix } = compiled.deny.typed_config as never;
        const nothing = { '@type': type, stat_prefix: prefix } as never;
        return options.protocol === 'http'
          ? compiled
          : { ...compiled, deny: { name: compiled.deny.name, typed_config: nothing } };
      },
    },
    /left out/u,
  ],
  'an ALLOW with HTTP fields opens TCP ports': [
    {
      ...OURS,
      compile: (policies, options) =>
        options.protocol === 'http'
          ? compile(policies, options)
          : {
              ...compile(policies, options),
              allow: compile(policies, { ...options, protocol: 'http' }).allow,
            },
    },
    /not left out/u,
  ],
  'a policy that allows nothing leaves the door open': [
    miscompiling((fields) => {
      const config = fields['rules'];
      return isMapping(config) &&
        config['action'] === 'ALLOW' &&
        isMapping(config['policies']) &&
        Object.keys(config['policies']).length === 0
        ? without('rules')(fields)
        : fields;
    }),
    /without its filter/u,
  ],
};

/** Whether the fuzz can fail. */
describe('a defect on the way from text to filters is found', () => {
  it.each(Object.entries(DEFECTS))(
    '%s',
    (_name, [machine, complaint]) => {
      let found: string | undefined;
      for (const text of tried) {
        found = complaintAbout(text, machine);
        if (found !== undefined) break;
      }
      expect(found).toMatch(complaint);
    },
    120_000,
  );
});

function complaintAbout(text: string, machine: Machine): string | undefined {
  try {
    throughAll(text, machine);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
