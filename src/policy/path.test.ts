import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { normalizePath } from './index.ts';

/** Each pair was read off Envoy 1.40 with normalize_path and merge_slashes. */
describe('normalizePath answers as Envoy', () => {
  it.each([
    ['/', '/'],
    ['//', '//'],
    ['///a', '/a'],
    ['/a//b', '/a/b'],
    ['/a/.', '/a/'],
    ['/a/..', '/'],
    ['/../..', '/'],
    ['/a/../../b', '/b'],
    ['/%2e%2E/a', '/a'],
    ['/a/.%2e/b', '/b'],
    ['/a//..', '/a/'],
    ['/a//../b', '/a/b'],
    ['/a\\..\\b', '/b'],
    ['/a/.../b', '/a/.../b'],
    ['/a/..;x/b', '/b'],
    ['/a/.;x', '/a/'],
    ['/a/%2e%2e;/b', '/a/..;/b'],
    ['/a/..;\\b', '/'],
    ['/a;x/../b', '/b'],
    ['/%41%7e', '/A~'],
    ['/%zz', '/%zz'],
    ['/%a%41', '/%25aA'],
    ['/%%41b', '/%25Ab'],
    ['/a|b"', '/a%7Cb%22'],
    ['/a[b]', '/a[b]'],
    ['/a%252e%252e/b', '/a%252e%252e/b'],
    ['/a/../b?x=1/../2//3', '/b?x=1/../2//3'],
  ])('%s -> %s', (path, normal) => {
    expect(normalizePath(path)).toBe(normal);
  });

  it.each([
    '',
    '*',
    'a/b',
    '?a',
    '/a#b',
    '/a?b#c',
    '/a b',
    '/a%00b',
    '/a\u007f',
    '/\u00fc',
    '/a%2fb',
    '/a%5Cb',
  ])('refuses %j', (path) => {
    expect(normalizePath(path)).toBeUndefined();
  });

  it('keeps escaped slashes where Envoy is told to', () => {
    expect(normalizePath('/a%2f..%5Cb', 'keep')).toBe('/a%2f..%5Cb');
    expect(normalizePath('/a?x=%2f')).toBe('/a?x=%2f');
  });

  it('leaves no dot segment and no doubled slash behind', () => {
    const part = fc.constantFrom('/', '.', '..', '%2e', '\\', 'a', ';', '%2E', '//');
    fc.assert(
      fc.property(fc.array(part), (parts) => {
        const normal = normalizePath(`/${parts.join('')}`);
        expect(normal).toMatch(/^\//);
        if (normal !== '//') expect(normal).not.toMatch(/\/\/|\/\.{1,2}(\/|$)/);
      }),
    );
  });
});
