import type { Asked, Condition, Fields, Pair, PolicyDocument, PolicySet, RuleDocument } from './case.ts';
import { PLAIN } from './regression.ts';

/** Every list that one step makes shorter: without one of its entries. */
function without<T>(list: readonly T[]): T[][] {
  return list.map((_, at) => list.toSpliced(at, 1));
}

/** Every list with one entry in one of its smaller forms. */
function inside<T>(list: readonly T[], forms: (entry: T) => readonly T[]): T[][] {
  return list.flatMap((entry, at) => forms(entry).map((less) => list.with(at, less)));
}

function shorter(text: string): string[] {
  const lengths = [text.length >> 1, text.length >> 2, 1].filter((length) => length > 0);
  const cuts = lengths.flatMap((length) =>
    Array.from({ length: Math.ceil(text.length / length) }, (_, at) => {
      return text.slice(0, at * length) + text.slice((at + 1) * length);
    }),
  );
  return [...new Set(cuts)].filter((cut) => cut !== '' && cut !== text);
}

/** A value loses letters, not its form. */
function smallerValue(value: string): string[] {
  return shorter(value).filter(
    (cut) => cut.includes('*') === value.includes('*') && /[{}]/u.test(cut) === /[{}]/u.test(value),
  );
}

function smallerFields(fields: Fields): Fields[] {
  const names = Object.keys(fields);
  const dropped =
    names.length < 2
      ? []
      : names.map((name) => Object.fromEntries(Object.entries(fields).filter(([other]) => other !== name)));
  const cut = names.flatMap((name) =>
    smallerValues(fields[name] ?? []).map((values) => ({ ...fields, [name]: values })),
  );
  return [...dropped, ...cut];
}

function smallerValues(values: readonly string[]): (readonly string[])[] {
  return [...(values.length > 1 ? without(values) : []), ...inside(values, smallerValue)];
}

function smallerCondition({ key, values, notValues }: Condition): Condition[] {
  const both = values !== undefined && notValues !== undefined;
  return [
    ...(both
      ? [
          { key, values },
          { key, notValues },
        ]
      : []),
    ...smallerValues(values ?? []).map((less) => ({ key, values: less, ...(notValues && { notValues }) })),
    ...smallerValues(notValues ?? []).map((less) => ({ key, ...(values && { values }), notValues: less })),
  ];
}

function smallerRule(rule: RuleDocument): RuleDocument[] {
  const { from, to, when } = rule;
  const parts: RuleDocument[] = [];
  if (from !== undefined) {
    const { from: _, ...rest } = rule;
    const lists = [
      ...(from.length > 1 ? without(from) : []),
      ...inside(from, ({ source }) => smallerFields(source).map((less) => ({ source: less }))),
    ];
    parts.push(rest, ...lists.map((list) => ({ ...rule, from: list })));
  }
  if (to !== undefined) {
    const { to: _, ...rest } = rule;
    const lists = [
      ...(to.length > 1 ? without(to) : []),
      ...inside(to, ({ operation }) => smallerFields(operation).map((less) => ({ operation: less }))),
    ];
    parts.push(rest, ...lists.map((list) => ({ ...rule, to: list })));
  }
  if (when !== undefined) {
    const { when: _, ...rest } = rule;
    const lists = [...(when.length > 1 ? without(when) : []), ...inside(when, smallerCondition)];
    parts.push(rest, ...lists.map((list) => ({ ...rule, when: list })));
  }
  return parts;
}

function smallerDocument(document: PolicyDocument): PolicyDocument[] {
  const { rules = [], mode, validity, ...spec } = document.spec;
  const withRules = (list: readonly RuleDocument[]): PolicyDocument => ({
    ...document,
    spec: { ...document.spec, rules: list },
  });
  const plain: PolicyDocument = {
    apiVersion: 'security.countersign.dev/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: document.metadata.name, namespace: 'a' },
    spec: { ...spec, rules },
  };
  const simpler =
    mode !== undefined ||
    validity !== undefined ||
    JSON.stringify(plain.metadata) !== JSON.stringify(document.metadata);
  return [
    ...(rules.length > 1 ? without(rules).map(withRules) : []),
    ...(simpler ? [plain] : []),
    ...inside(rules, smallerRule).map(withRules),
  ];
}

function smallerSet(set: PolicySet): PolicySet[] {
  return [
    ...(set.documents.length > 1 ? without(set.documents).map((documents) => ({ ...set, documents })) : []),
    ...(set.portKnown ? [{ ...set, portKnown: false }] : []),
    ...without(set.quarantine ?? []).map((quarantine) => ({ ...set, quarantine })),
    ...without(set.authentications ?? []).map((authentications) => ({ ...set, authentications })),
    ...inside(set.authentications ?? [], ({ spec, ...document }) =>
      without(spec.jwtRules ?? []).map((jwtRules) => ({ ...document, spec: { jwtRules } })),
    ).map((authentications) => ({ ...set, authentications })),
    ...(set.aliases === true ? [{ ...set, aliases: false }] : []),
    ...(set.ended === true ? [{ ...set, ended: false }] : []),
    ...(set.defaultAction === 'allow' ? [{ ...set, defaultAction: 'deny' as const }] : []),
    ...inside(set.documents, smallerDocument).map((documents) => ({ ...set, documents })),
  ];
}

function smallerAsked(asked: Asked): Asked[] {
  const keys = Object.keys(PLAIN) as (keyof Asked)[];
  const plainer = keys
    .filter((key) => JSON.stringify(asked[key]) !== JSON.stringify(PLAIN[key]))
    .map((key) => ({ ...asked, [key]: PLAIN[key] }));
  return [
    ...plainer,
    ...Object.keys(asked.claims ?? {}).map((name) => ({
      ...asked,
      claims: Object.fromEntries(Object.entries(asked.claims ?? {}).filter(([other]) => other !== name)),
    })),
    ...without(asked.tokens ?? []).map((tokens) => ({ ...asked, tokens })),
    ...without(asked.headers).map((headers) => ({ ...asked, headers })),
    ...inside(asked.headers, ([name, value]) => shorter(value).map((less) => [name, less] as const)).map(
      (headers) => ({ ...asked, headers }),
    ),
    ...shorter(asked.path)
      .filter((path) => path.startsWith('/'))
      .map((path) => ({ ...asked, path })),
    ...shorter(asked.host).map((host) => ({ ...asked, host })),
  ];
}

/** All pairs that are one step smaller, the greatest steps first. */
export function smaller({ set, asked }: Pair): Pair[] {
  return [
    ...smallerSet(set).map((less) => ({ set: less, asked })),
    ...smallerAsked(asked).map((less) => ({ set, asked: less })),
  ];
}

/**
 * Goes down step by step as long as some smaller pair still fails.
 * @param fails which of the pairs fail; asked for many at once
 */
export async function shrink(
  pair: Pair,
  fails: (pairs: readonly Pair[]) => Promise<readonly boolean[]>,
): Promise<Pair> {
  let smallest = pair;
  for (;;) {
    const candidates = smaller(smallest);
    let next: Pair | undefined;
    for (let at = 0; at < candidates.length && next === undefined; at += ROUND) {
      const some = candidates.slice(at, at + ROUND);
      const failed = await fails(some);
      next = some
        .filter((_, index) => failed[index] === true)
        .sort((a, b) => JSON.stringify(a).length - JSON.stringify(b).length)[0];
    }
    if (next === undefined) return smallest;
    smallest = next;
  }
}

/** Pairs put to Envoy at once. */
const ROUND = 60;
