import { HOSTILE } from './seeds.ts';

const MEGABYTE = 1_000_000;
/** Of each part by itself; there are many. Characters. */
const REPEATED = 200_000;

/** Texts whose size alone is the attack, by name. */
export function large(): [string, () => string][] {
  const parts = [...HOSTILE, '- ', 'a: ', '[a, ', '{a: ', '[', '{', '!a ', '&a ', '"a" ', '- |\n', '# c\n'];
  const policies: Readonly<Record<string, () => string>> = {
    'distinct keys': () => many(100_000, (i) => `k${i}: 1\n`),
    'unknown fields': () => policy(`{${many(60_000, (i) => `f${i}: 1, `)}}`),
    rules: () => policy(`{rules: [${'{}, '.repeat(250_000)}]}`),
    'objects in a List': () => `{"kind":"List","items":[${'{},'.repeat(150_000)}{}]}`,
    documents: () => many(100_000, (i) => `---\na: ${i}\n`),
    'one value': () => policy(`{reason: "${'x'.repeat(MEGABYTE)}"}`),
    'one key': () => policy(`{? ${'x'.repeat(MEGABYTE)} : 1}`),
    'one condition key': () =>
      policy(`{rules: [{when: [{key: "request.auth.claims${'[a]'.repeat(300_000)}", values: [a]}]}]}`),
    'one path': () => policy(operation(`paths: ["/${'{*}/'.repeat(200_000)}"]`)),
    'values that contradict each other': () =>
      policy(
        operation(
          `paths: [${many(15_000, (i) => `/v${i}, `)}], notPaths: [${many(15_000, (i) => `/v${i}, `)}]`,
        ),
      ),
    'values too many': () => policy(operation(`paths: [${many(100_000, (i) => `/v${i}, `)}]`)),
    'conditions beside alternatives': () =>
      policy(
        `{rules: [{to: [${many(5_000, (i) => `{operation: {paths: [/${i}]}}, `)}], when: [{key: source.ip, values: [${many(5_000, (i) => `10.${i >> 8}.${i & 255}.1, `)}]}]}]}`,
      ),
    'aliased values': () => `a: &a [${many(100_000, (i) => `v${i}, `)}]\nb: [${'*a, '.repeat(900)}]\n`,
    'anchors and aliases': () => many(60_000, (i) => `k${i}: &a${i} 1\nl${i}: *a${i}\n`),
    'merges of merges': () =>
      many(
        100,
        (i) =>
          `m${i}: &m${i} {<<: [${Array.from({ length: 10 }, () => (i === 0 ? '{x: 1}' : `*m${i - 1}`)).join(', ')}]}\n`,
      ),
  };
  return [
    ...Object.entries(policies),
    ...parts.map((part): [string, () => string] => [
      JSON.stringify(part.slice(0, 20)),
      () => part.repeat(Math.ceil(REPEATED / part.length)),
    ]),
  ];
}

function policy(spec: string): string {
  return `apiVersion: security.countersign.dev/v1\nkind: AuthorizationPolicy\nmetadata: {name: p}\nspec: ${spec}\n`;
}

function operation(fields: string): string {
  return `{rules: [{to: [{operation: {${fields}}}]}]}`;
}

function many(count: number, each: (index: number) => string): string {
  return Array.from({ length: count }, (_, index) => each(index)).join('');
}
