import * as fc from 'fast-check';
import { parseAllDocuments, stringify } from 'yaml';
import { HOSTILE, SEEDS } from './seeds.ts';

/** Manifests as nobody should write them: damaged real ones, nonsense out of YAML's own parts, bombs. */
export function texts(): fc.Arbitrary<string> {
  return fc.oneof(
    { weight: 5, arbitrary: damagedText() },
    { weight: 5, arbitrary: damagedValue() },
    {
      weight: 1,
      arbitrary: fc
        .array(fc.constantFrom(...HOSTILE, ' ', '\n', 'a'), { maxLength: 60 })
        .map((parts) => parts.join('')),
    },
    { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 200 }) },
    { weight: 1, arbitrary: repeated() },
  );
}

const hostile = fc.constantFrom(...HOSTILE);
/** Where to cut, as a part of the whole. */
const place = fc.nat({ max: 9_999 }).map((part) => part / 10_000);

interface Cut {
  readonly at: number;
  readonly length: number;
  readonly how: 'replace' | 'insert' | 'delete' | 'repeat' | 'line';
  readonly by: string;
}

function damagedText(): fc.Arbitrary<string> {
  const cut: fc.Arbitrary<Cut> = fc.record({
    at: place,
    length: fc.nat({ max: 40 }),
    how: fc.constantFrom('replace', 'insert', 'delete', 'repeat', 'line'),
    by: hostile,
  });
  return fc
    .tuple(fc.constantFrom(...SEEDS), fc.array(cut, { minLength: 1, maxLength: 6 }))
    .map(([seed, cuts]) => cuts.reduce(damage, seed));
}

function damage(text: string, { at, length, how, by }: Cut): string {
  const start = Math.floor(at * text.length);
  const end = start + length;
  const [head, cut, tail] = [text.slice(0, start), text.slice(start, end), text.slice(end)];
  switch (how) {
    case 'replace':
      return head + by + tail;
    case 'insert':
      return head + by + cut + tail;
    case 'delete':
      return head + tail;
    case 'repeat':
      return head + cut + cut + tail;
    case 'line': {
      const lines = text.split('\n');
      const line = Math.floor(at * lines.length);
      return lines.toSpliced(line, 0, ' '.repeat(length % 12) + by).join('\n');
    }
    default:
      return how satisfies never;
  }
}

interface Change {
  readonly at: number;
  readonly by: unknown;
  readonly how: 'value' | 'name' | 'remove' | 'add';
}

/** Still YAML, with wrong types, unknown names, and parts missing. */
function damagedValue(): fc.Arbitrary<string> {
  const values: unknown[] = SEEDS.flatMap((seed) =>
    parseAllDocuments(seed, { merge: true }).map((each): unknown => each.toJS()),
  );
  return fc
    .tuple(fc.constantFrom(...values), fc.array(changes(), { minLength: 1, maxLength: 4 }), fc.boolean())
    .map(([value, made, asJson]) => {
      const changed = changedBy(value, made);
      return asJson ? JSON.stringify(changed) : stringify(changed);
    });
}

/** One of several values, with wrong types, unknown names, and parts missing. */
export function damaged(
  values: readonly unknown[],
  { least }: { readonly least: number },
): fc.Arbitrary<unknown> {
  return fc
    .tuple(fc.constantFrom(...values), fc.array(changes(), { minLength: least, maxLength: 4 }))
    .map(([value, made]) => changedBy(value, made));
}

function changedBy(value: unknown, made: readonly Change[]): unknown {
  const changed = structuredClone(value);
  for (const each of made) apply(changed, each);
  return changed;
}

function changes(): fc.Arbitrary<Change> {
  return fc.record({
    at: place,
    how: fc.constantFrom('value', 'name', 'remove', 'add'),
    by: fc.oneof(
      fc.constantFrom<unknown>(
        null,
        {},
        [],
        [{}],
        [null],
        '',
        '*',
        7,
        true,
        'rules',
        'x'.repeat(3_000),
        '\u0000',
      ),
      hostile,
      fc.string(),
      fc.jsonValue({ maxDepth: 2 }),
    ),
  });
}

function apply(root: unknown, { at, by, how }: Change): void {
  const places = placesIn(root);
  const chosen = places[Math.floor(at * places.length)];
  if (chosen === undefined) return;
  const [parent, key] = chosen;
  const name = typeof by === 'string' && by !== '' ? by : `${key}x`;
  if (how === 'value') put(parent, key, by);
  else if (how === 'add') put(parent, name, by);
  else {
    if (how === 'name') put(parent, name, parent[key]);
    if (Array.isArray(parent)) parent.splice(Number(key), 1);
    else Reflect.deleteProperty(parent, key);
  }
}

type Container = Record<string, unknown>;

function put(parent: Container, key: string, value: unknown): void {
  if (Array.isArray(parent) && !/^\d+$/.test(key)) parent.push(value);
  else Object.defineProperty(parent, key, { value, enumerable: true, configurable: true, writable: true });
}

function placesIn(node: unknown): [Container, string][] {
  if (typeof node !== 'object' || node === null) return [];
  const container = node as Container;
  return Object.keys(container).flatMap((key): [Container, string][] => [
    [container, key],
    ...placesIn(container[key]),
  ]);
}

/** One part over and over: depth, bombs, thousands of keys and rules. */
function repeated(): fc.Arbitrary<string> {
  return fc
    .tuple(
      fc.constantFrom(...HOSTILE, '- ', 'a: ', 'k', '[a, ', '{a: '),
      fc.nat({ max: 2_000 }),
      fc.constantFrom('', '\n', ' ', ': 1\n'),
    )
    .map(([part, count, between]) =>
      `${part}${between}`.repeat(Math.min(count, Math.ceil(50_000 / part.length))),
    );
}
