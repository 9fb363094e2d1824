import { describe, expect, it } from 'vitest';
import { readFileContent, withoutHeld } from './file-content.ts';

const pod = (name: string, phase = 'Running'): string =>
  `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}}\nstatus: {phase: ${phase}}\n`;

const read = (
  text: string,
  before?: ReturnType<typeof readFileContent>,
  writtenInPlace = false,
): ReturnType<typeof readFileContent> => readFileContent(text, 'file.yaml', before, { writtenInPlace });

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

  it('says of each error whether an earlier version is in force', () => {
    const inForce = (text: string, before?: string): unknown[] =>
      read(text, before === undefined ? undefined : read(before)).problems.map((each) => each.inForce);
    expect(inForce(pod('a', 'x'))).toEqual(['none']);
    expect(inForce(pod('a', 'x'), pod('b'))).toEqual(['none']);
    expect(inForce(pod('a', 'x'), pod('a'))).toEqual(['earlier']);
    expect(inForce('a: [')).toContain('none');
    expect(inForce('a: [', pod('a'))).toContain('earlier');
    expect(inForce(`kind: Pod\n---\n${pod('a')}`, pod('a'))).toEqual(['none']);
    expect(inForce('', pod('a'))).toEqual(['earlier']);
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

  it('holds what a file that is written in place names no more, until it stood still or is replaced', () => {
    const held = read(pod('b', 'Failed'), read(`${pod('a')}---\n${pod('b')}`), true);
    expect([...held.held]).toEqual(['Pod default/a']);
    expect([...held.entries].map(([id, { object }]) => [id, object])).toMatchObject([
      ['Pod default/b', { phase: 'Failed' }],
      ['Pod default/a', { phase: 'Running' }],
    ]);
    const next = read(`${pod('b')}---\n${pod('c')}`, held, true);
    expect([...next.held]).toEqual(['Pod default/a']);
    expect(read(`${pod('a')}---\n${pod('b')}---\n${pod('c')}`, next, true).held.size).toBe(0);
    expect([...withoutHeld(next).entries.keys()]).toEqual(['Pod default/b', 'Pod default/c']);
    expect(withoutHeld(next).held.size).toBe(0);
    expect([...read(pod('b'), next).entries.keys()]).toEqual(['Pod default/b']);
  });

  it('keeps, past any hold, what a file that was emptied or became nonsense held', () => {
    const held = read(pod('b'), read(`${pod('a')}---\n${pod('b')}`), true);
    for (const text of ['', 'kind: [']) {
      const content = read(text, held, true);
      expect([...content.entries.keys()].sort()).toEqual(['Pod default/a', 'Pod default/b']);
      expect(content.held.size).toBe(0);
    }
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
