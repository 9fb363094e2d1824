import { describe, expect, it } from 'vitest';
import { readFileContent } from './file-content.ts';

const pod = (name: string, phase = 'Running'): string =>
  `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}}\nstatus: {phase: ${phase}}\n`;

const read = (
  text: string,
  before?: ReturnType<typeof readFileContent>,
): ReturnType<typeof readFileContent> => readFileContent(text, 'file.yaml', before, {});

describe('readFileContent', () => {
  it('keeps last good versions over any number of bad ones', () => {
    let content = read(`${pod('a')}---\n${pod('b')}`);
    for (const phase of ['x', 'y']) content = read(`${pod('a', phase)}---\n${pod('b', 'Failed')}`, content);
    expect([...content.entries.values()].map(({ object }) => object)).toMatchObject([
      { name: 'a', phase: 'Running' },
      { name: 'b', phase: 'Failed' },
    ]);
    expect(content.problems).toHaveLength(1);
    // Taken out of the file at last, the bad one is gone for good.
    content = read(pod('b'), content);
    expect([...content.entries.keys()]).toEqual(['Pod default/b']);
    expect(read(`${pod('a', 'x')}---\n${pod('b')}`, content).entries.size).toBe(1);
  });

  it('has nothing of a bad document that never was good, and knows its name', () => {
    const content = read(pod('a', 'x'));
    expect(content.entries.size).toBe(0);
    expect([...content.named]).toEqual(['Pod default/a']);
  });

  it('keeps an object whose name was mistyped: the document may mean any', () => {
    const content = read(`${pod('Web')}---\n${pod('b')}`, read(`${pod('web')}---\n${pod('b')}`));
    expect([...content.entries.keys()].sort()).toEqual(['Pod default/b', 'Pod default/web']);
    expect(content.problems).toMatchObject([{ line: 3, field: 'metadata.name' }]);
  });

  it('takes a file of comments alone as the wish to have nothing', () => {
    const content = read('# nothing here\n', read(pod('a')));
    expect(content.entries.size).toBe(0);
    expect(content.problems).toEqual([]);
  });

  it('reports a bounded number of problems, none longer than a few lines', () => {
    const content = read(Array.from({ length: 500 }, () => pod('a'.repeat(10_000), 'x')).join('---\n'));
    expect(content.problems).toHaveLength(101);
    expect(content.problems.at(-1)?.message).toMatch(/^has \d+ more problems/);
    expect(Math.max(...content.problems.map(({ message }) => message.length))).toBeLessThan(400);
  });
});
