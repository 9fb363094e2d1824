import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  isPodUid,
  subjectIssuedAt,
  subjectOfNode,
  subjectOfPod,
  SUBJECTS_END,
  subjectText,
} from './svid-subject.ts';

const times = fc.integer({ min: 0, max: Date.UTC(9999, 11, 31) });
const holder = { podUid: '7d0f3b5c-58a1-4a55-9a6e-0b6c1f8f2a11', node: 'node-1' };

describe('the Subject of an SVID', () => {
  it('is one text', () => {
    expect(subjectText(Date.UTC(2026, 10, 22, 10, 48, 12, 345), holder)).toBe(
      `dnQualifier=20261122104812.345Z,UID=${holder.podUid},OU=${subjectOfNode('node-1').slice(4)}`,
    );
    expect(subjectOfNode('node-1')).toMatch(/^,OU=[0-9a-f]{16}$/u);
    expect(subjectOfNode('node-1')).not.toBe(subjectOfNode('node-2'));
  });

  it('is in the order of the times of issue', () => {
    fc.assert(
      fc.property(times, times, fc.boolean(), (issued, before, held) => {
        const text = subjectText(issued, held ? holder : undefined);
        expect(text < subjectIssuedAt(before)).toBe(issued < before);
        expect(text < SUBJECTS_END).toBe(true);
      }),
    );
  });

  it('is found by pod and by node, whole', () => {
    const text = subjectText(0, holder);
    expect([text.includes(subjectOfPod(holder.podUid)), text.endsWith(subjectOfNode('node-1'))]).toEqual([
      true,
      true,
    ]);
    expect(text.includes(subjectOfPod(holder.podUid.slice(0, -1)))).toBe(false);
    expect(text.includes(subjectOfPod(holder.podUid.slice(1)))).toBe(false);
  });

  it('holds no UID that would say something else', () => {
    for (const uid of ['', 'a,UID=b', 'a b', 'a+b', 'a"', 'ä', 'x'.repeat(129)])
      expect(isPodUid(uid)).toBe(false);
    expect(isPodUid('web_1.a:b-c')).toBe(true);
  });
});
