import { describe, expect, it } from 'vitest';
import { lintTogether, parseAuthorizationPolicy, renderIssues, type Parsed } from './index.ts';

const parse = (spec: object): Parsed =>
  parseAuthorizationPolicy({
    apiVersion: 'security.countersign.dev/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'p', namespace: 'shop' },
    spec,
  });
const values = (count: number, before: string): string[] =>
  Array.from({ length: count }, (_, i) => `${before}${i}`);

describe('what one document may ask for', () => {
  it('bounds the values of a policy together', () => {
    const rules = (count: number): object => ({
      rules: [
        { to: [{ operation: { methods: values(count, '') } }], from: [{ source: { namespaces: ['a'] } }] },
      ],
    });
    expect(parse(rules(32_767)).ok).toBe(true);
    const { ok, issues } = parse(rules(32_768));
    expect(ok).toBe(false);
    expect(renderIssues(issues)).toMatch(/^error spec\.rules: at most 32768 values, found 32769; split/);
  });

  it.each([
    ['values', 'request.headers[x]', 1_024, 255],
    ['the names in keys', `request.headers[${'x'.repeat(1_000)}]`, 24, 255],
    ['the names of claims', `request.auth.claims[${'x'.repeat(1_000)}]`, 24, 255],
    ['values beyond ASCII', 'request.auth.claims[x]', 341, 255],
  ])('bounds the text of a policy together: %s', (what, key, length, most) => {
    const letter = what === 'values beyond ASCII' ? '\u20ac' : 'v';
    const long = (count: number): string[] => Array.from({ length: count }, () => letter.repeat(length));
    expect(parse({ rules: [{ when: [{ key, values: long(most) }] }] }).ok).toBe(true);
    const { ok, issues } = parse({
      rules: [{ when: [{ key, values: long(most - 100) }] }, { when: [{ key, notValues: long(200) }] }],
    });
    expect(ok).toBe(false);
    expect(renderIssues(issues)).toMatch(
      /^error spec\.rules: at most 262144 bytes of values.*found \d+: split/,
    );
  });

  it('tells the first hundred errors, and that there are more', () => {
    const { ok, issues } = parse(Object.fromEntries(values(300, 'f').map((name) => [name, 1])));
    expect(ok).toBe(false);
    expect(issues).toHaveLength(101);
    expect(issues.at(-1)?.message).toBe('has more errors; mend those reported first');
  });

  it('an error behind many warnings still refuses the policy', () => {
    const parsed = parse({ rules: [{ to: [{ operation: { methods: values(200, 'get'), hots: ['x'] } }] }] });
    expect(parsed.ok).toBe(false);
    expect(parsed.issues.filter(({ severity }) => severity === 'error')).toHaveLength(1);
    const late = parse({
      rules: [{ to: [{ operation: { methods: values(200, 'get') } }] }, { form: [] }],
    });
    expect(late.ok).toBe(false);
  });

  it('claims nothing of rules that take too long to compare', () => {
    const shadowed = (count: number): string[] => {
      const operation = { paths: values(count, '/v'), notPaths: values(count, '/w') };
      const parsed = parse({ rules: [{ to: [{ operation }] }, { to: [{ operation }] }] });
      if (!parsed.ok) throw new Error(renderIssues(parsed.issues));
      return lintTogether([parsed.policy], { rootNamespace: 'root' }).map(
        ({ code, path }) => `${code} ${path}`,
      );
    };
    expect(shadowed(100)).toEqual(['shadowed-rule spec.rules[1]']);
    expect(shadowed(1_000)).toEqual([]);
  });

  it('claims no contradiction that takes too long to find', () => {
    const found = (count: number): string =>
      renderIssues(
        parse({
          rules: [{ to: [{ operation: { paths: values(count, '/v'), notPaths: values(count, '/v') } }] }],
        }).issues,
      );
    expect(found(100)).toMatch(/spec\.rules\[0\]\.to\[0\]: can never match/);
    expect(found(1_000)).toBe('');
  });
});
