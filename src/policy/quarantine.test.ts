import { describe, expect, it } from 'vitest';
import { quarantineTest } from './quarantine.ts';
import type { QuarantinedCallers } from './types.ts';
import type { Facts } from './facts.ts';

const settings = { trustDomain: 'cluster.local', rootNamespace: 'root', defaultAction: 'deny' } as const;
const uri = 'spiffe://cluster.local/ns/shop/sa/web';

describe('a certificate of a release that wrote no Subject', () => {
  it.each<[QuarantinedCallers, boolean]>([
    [{ kind: 'pod', uid: 'uid-1' }, false],
    [{ kind: 'node', node: 'node-1' }, false],
    [{ kind: 'issued-before', atMs: 0 }, true],
    [{ kind: 'issued-before', atMs: 0, id: uri }, true],
    [{ kind: 'id', uri }, true],
  ])('is denied by %j: %s', (callers, denied) => {
    const test = quarantineTest({ entry: 'q-0000000001', reason: 'stolen', callers }, settings);
    expect(test({ principal: uri, certificate: { digest: '00', subject: '' } } as Facts)).toBe(denied);
  });
});
