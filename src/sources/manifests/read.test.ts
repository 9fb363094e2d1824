import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readManifests } from './index.ts';

const policy = `# a comment first
apiVersion: v1
kind: Pod
metadata:
  name: web
  labels:
    app.kubernetes.io/name: web
spec:
  containers:
    - name: a
      ports: [80,
        81]
    - name: b
`;

/** Ten times more on each level. */
function bomb(level: (i: number) => string): string {
  return Array.from({ length: 8 }, (_, i) => level(i)).join('\n');
}

function stars(i: number): string {
  return Array.from({ length: 10 }, () => (i === 0 ? '*a' : `*b${i - 1}`)).join(', ');
}

function manyAnchors(): string {
  return Array.from({ length: 1_001 }, (_, i) => `- &n${i} 1\n`).join('');
}

describe('readManifests', () => {
  it('takes several documents apart and knows each field by its line', () => {
    const { documents, problems } = readManifests(
      `---\n---\n# nothing\n---\n${policy}---\nkind: Other\n`,
      'a.yaml',
    );
    expect(problems).toEqual([]);
    expect(documents.map(({ value, line, file }) => [value['kind'], line, file])).toEqual([
      ['Pod', 6, 'a.yaml'],
      ['Other', 19, 'a.yaml'],
    ]);
    const pod = documents[0]!;
    expect(pod.lineOf('metadata.name')).toBe(9);
    expect(pod.lineOf('metadata.labels["app.kubernetes.io/name"]')).toBe(11);
    expect(pod.lineOf(['metadata', 'labels', 'app.kubernetes.io/name'])).toBe(11);
    expect(pod.lineOf('spec.containers[0].ports[1]')).toBe(16);
    expect(pod.lineOf('spec.containers[1].image.tag')).toBe(17);
    expect(pod.lineOf('spec.containers[9]')).toBe(13);
    expect(pod.lineOf('nothing.of[0].it')).toBe(6);
    expect(pod.lineOf('')).toBe(6);
  });

  it('takes a List apart', () => {
    const text = 'kind: List\napiVersion: v1\nitems:\n- kind: A\n  x:\n    y: 1\n- 7\n- kind: B\n';
    const { documents, problems } = readManifests(text, 'l.yaml');
    expect(documents.map(({ value, line }) => [value['kind'], line])).toEqual([
      ['A', 4],
      ['B', 8],
    ]);
    expect(documents[0]!.lineOf('x.y')).toBe(6);
    expect(problems).toEqual([
      { file: 'l.yaml', line: 7, field: 'items[1]', message: 'expected a mapping, found a number' },
    ]);
  });

  it('loses nothing of a List without saying so', () => {
    const nested = 'kind: List\nitems:\n- kind: A\n- kind: List\n  items:\n  - kind: B\n';
    expect(readManifests(nested, 'l.yaml').problems).toEqual([
      {
        ...{ file: 'l.yaml', line: 4, field: 'items[1]' },
        message: 'a List in a List: write its objects into the outer one',
      },
    ]);
    for (const text of ['kind: List\nitem:\n- kind: A\n', 'kind: List\nitems: {kind: A}\n']) {
      const { documents, problems } = readManifests(text, 'l.yaml');
      expect(documents).toEqual([]);
      expect(problems[0]?.message).toMatch(/expected a list of the List's objects, found (nothing|a object)/);
    }
  });

  it('reads JSON', () => {
    const { documents, problems } = readManifests('{\n"kind": "Pod",\n"metadata": {"name": "a"}}', 'a.json');
    expect(problems).toEqual([]);
    expect(documents[0]!.value).toEqual({ kind: 'Pod', metadata: { name: 'a' } });
    expect(documents[0]!.lineOf('metadata.name')).toBe(3);
  });

  it('follows aliases and merges', () => {
    const { documents } = readManifests('base: &b\n  x: 1\nuse: *b\nmerged:\n  <<: *b\n  y: 2\n', 'a.yaml');
    expect(documents[0]!.value).toEqual({ base: { x: 1 }, use: { x: 1 }, merged: { x: 1, y: 2 } });
    expect(documents[0]!.lineOf('use.x')).toBe(2);
  });

  it.each([
    ['duplicate keys', 'a: 1\nb: 2\na: 3\n', 3, /Map keys must be unique/],
    ['bad indentation', 'a:\n  b: 1\n c: 2\n', 3, /not valid YAML/],
    ['a tag of its own', 'a: !!js/function "x"\n', 1, /Unresolved tag/],
    ['a bare scalar', 'hello\n', 1, /expected a mapping .* found a string/],
    ['a list', '- a\n', 1, /found a list/],
    ['deep nesting', `a: ${'['.repeat(20_000)}\n`, 1, /nested too deeply|not valid YAML/],
  ])('reports %s, and reads what follows', (_name, text, line, message) => {
    const { documents, problems } = readManifests(text, 'bad.yaml');
    expect(documents).toEqual([]);
    expect(problems[0]).toMatchObject({ file: 'bad.yaml', line, field: '' });
    expect(problems[0]!.message).toMatch(message);
  });

  it('a bad document costs its neighbours nothing', () => {
    const { documents, problems } = readManifests('kind: A\n---\na: 1\na: 2\n---\nkind: B\n', 'x.yaml');
    expect(documents.map(({ value }) => value['kind'])).toEqual(['A', 'B']);
    expect(problems.map(({ line }) => line)).toEqual([4]);
  });

  it('refuses an alias bomb', () => {
    const levels = Array.from({ length: 12 }, (_, i) =>
      i === 0 ? 'a0: &a0 [x, x, x, x, x, x, x, x, x, x]' : `a${i}: &a${i} [${`*a${i - 1}, `.repeat(10)}]`,
    );
    const { documents, problems } = readManifests(levels.join('\n'), 'bomb.yaml');
    expect(documents).toEqual([]);
    expect(problems[0]?.message).toMatch(/its aliases expand to more than 100000 nodes/);
  });

  it.each([
    [
      'a bomb of merges',
      `a: &a {x: 1}\n${bomb((i) => `b${i}: &b${i} {<<: [${stars(i)}]}`)}`,
      /expand to more/,
    ],
    ['an alias inside of itself', 'a: &a [*a]\n', /inside of what it stands for/],
    ['a merge of itself', 'a: &a\n  <<: *a\n', /inside of what it stands for/],
    ['too many aliases', `a: &a 1\nb: [${'*a, '.repeat(1_001)}]\n`, /at most 1000 aliases/],
    ['too many anchors', `b:\n${manyAnchors()}`, /more than 1000 anchors/],
    ['nesting that still can be walked', `a: ${'['.repeat(300)}${']'.repeat(300)}\n`, /deeper than 256/],
  ])('refuses %s', (_name, text, message) => {
    const { documents, problems } = readManifests(text, 'x.yaml');
    expect(documents).toEqual([]);
    expect(problems).toHaveLength(1);
    expect(problems[0]!.message).toMatch(message);
  });

  it('an alias stands for the anchor before it', () => {
    const { documents } = readManifests('a: &a 1\nb: *a\nc: &a 2\nd: *a\n', 'a.yaml');
    expect(documents[0]!.value).toEqual({ a: 1, b: 1, c: 2, d: 2 });
  });

  it('finds a repeated key among thousands', () => {
    const keys = Array.from({ length: 2_000 }, (_, i) => `k${i}: 1\n`).join('');
    expect(readManifests(keys, 'a.yaml').documents).toHaveLength(1);
    const [problem] = readManifests(`${keys}k7: 2\n`, 'a.yaml').problems;
    expect(problem).toMatchObject({ line: 2_001, message: 'not valid YAML: Map keys must be unique' });
  });

  it('tells at most 100 faults of one document', () => {
    expect(readManifests('a: "b" c\n'.repeat(500), 'a.yaml').problems).toHaveLength(100);
  });

  it('keeps __proto__ an ordinary key', () => {
    const { documents } = readManifests('__proto__:\n  polluted: true\n', 'p.yaml');
    expect(Object.keys(documents[0]!.value)).toEqual(['__proto__']);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  it('never throws, whatever the text', () => {
    const fragments = fc.constantFrom(
      'a',
      ':',
      ' ',
      '\n',
      '- ',
      '---\n',
      '{',
      '}',
      '[',
      ']',
      '&a',
      '*a',
      '!t',
      '"',
      '|',
      '#',
      '%',
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(fragments, { maxLength: 40 }).map((x) => x.join('')),
        ),
        (text) => {
          for (const document of readManifests(text, 'f').documents) document.lineOf('a[0].b');
        },
      ),
      { numRuns: 300 },
    );
  });
});
