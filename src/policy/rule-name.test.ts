import { expect, it } from 'vitest';
import { parseRuleName, policiesFor, ruleName, selects, type AuthorizationPolicy } from './index.ts';

it('round-trips', () => {
  const ref = { namespace: 'shop', policy: 'web.v1', rule: 12 };
  expect(ruleName(ref)).toBe('ns[shop]-policy[web.v1]-rule[12]');
  expect(parseRuleName(ruleName(ref))).toEqual(ref);
});

it.each([
  '',
  'none',
  'ns[a]-policy[b]-rule[01]',
  'ns[a]-policy[b]-rule[-1]',
  'ns[]-policy[b]-rule[0]',
  'xns[a]-policy[b]-rule[0]',
])('%j is no rule name', (name) => {
  expect(parseRuleName(name)).toBeUndefined();
});

const policy = (
  namespace: string,
  name: string,
  selector: Record<string, string> = {},
): AuthorizationPolicy => ({
  apiGroup: 'security.countersign.dev',
  namespace,
  name,
  selector,
  action: 'ALLOW',
  mode: 'Enforce',
  reason: undefined,
  rules: [],
  digest: '',
});

it('selects by namespace and by every label', () => {
  const settings = { rootNamespace: 'root' };
  const target = { namespace: 'shop', labels: { app: 'web', tier: 'front' } };
  expect(selects(policy('shop', 'a'), target, settings)).toBe(true);
  expect(selects(policy('other', 'a'), target, settings)).toBe(false);
  expect(selects(policy('root', 'a', { app: 'web' }), target, settings)).toBe(true);
  expect(selects(policy('shop', 'a', { app: 'web', tier: 'back' }), target, settings)).toBe(false);
  expect(selects(policy('shop', 'a', { toString: 'x' }), target, settings)).toBe(false);
  const found = policiesFor(
    [policy('shop', 'b'), policy('root', 'z'), policy('shop', 'a'), policy('x', 'a')],
    target,
    settings,
  );
  expect(found.map(({ namespace, name }) => `${namespace}/${name}`)).toEqual(['root/z', 'shop/a', 'shop/b']);
});
