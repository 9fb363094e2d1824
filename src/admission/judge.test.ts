import { describe, expect, it } from 'vitest';
import { parseAuthorizationPolicy, type Issue } from '../policy/index.ts';
import { judge } from './judge.ts';
import type { AdmissionRequest, DocumentJudge } from './types.ts';

const judges: ReadonlyMap<string, DocumentJudge> = new Map([
  ['AuthorizationPolicy', (document): readonly Issue[] => parseAuthorizationPolicy(document).issues],
]);

function policy(spec: unknown, metadata: object = {}): unknown {
  return {
    apiVersion: 'security.countersign.dev/v1',
    kind: 'AuthorizationPolicy',
    metadata: { namespace: 'shop', name: 'p', ...metadata },
    spec,
  };
}

function request(change: Partial<AdmissionRequest>): AdmissionRequest {
  return {
    uid: 'u1',
    kind: { group: 'security.countersign.dev', version: 'v1', kind: 'AuthorizationPolicy' },
    operation: 'CREATE',
    subResource: '',
    namespace: 'shop',
    name: 'p',
    user: 'operator',
    dryRun: false,
    object: undefined,
    oldObject: undefined,
    ...change,
  };
}

const good = { rules: [{ from: [{ source: { serviceAccounts: ['web'] } }] }] };
const bad = { rules: [{ to: [{ operation: { paths: ['/a*b'] } }] }] };
const trap = { rules: [{ from: [{ source: { ipBlocks: ['10.0.0.1'] } }] }] };

describe('judge', () => {
  it('lets a good policy in without a word', () => {
    expect(judge(request({ object: policy(good) }), judges)).toEqual({ allowed: true, warnings: [] });
  });

  it('refuses an error, with the path of its field', () => {
    const { allowed, message } = judge(request({ object: policy(bad) }), judges);
    expect(allowed).toBe(false);
    expect(message).toMatch(/^spec\.rules\[0\]\.to\[0\]\.operation\.paths\[0\]: /);
  });

  it('passes traps on as warnings', () => {
    const { allowed, warnings } = judge(request({ object: policy(trap) }), judges);
    expect(allowed).toBe(true);
    expect(warnings).toEqual([expect.stringMatching(/^spec\.rules\[0\]/)]);
  });

  it('lets what came in before the rules grew stricter lose its finalizers, and says that it is not in force', () => {
    const before = policy(bad, { finalizers: ['x'] });
    const change = { operation: 'UPDATE', object: policy(bad), oldObject: before };
    const { allowed, warnings } = judge(request(change), judges);
    expect(allowed).toBe(true);
    expect(warnings[0]).toMatch(/^not in force: spec\.rules\[0\]/);
  });

  it('refuses an update that changes what is judged and leaves it wrong', () => {
    const worse = { ...bad, action: 'DENY' };
    const change = { operation: 'UPDATE', object: policy(worse), oldObject: policy(bad) };
    expect(judge(request(change), judges).allowed).toBe(false);
    const annotated = policy(bad, { annotations: { 'istio.io/dry-run': 'true' } });
    const rehearsed = { operation: 'UPDATE', object: annotated, oldObject: policy(bad) };
    expect(judge(request(rehearsed), judges).allowed).toBe(false);
  });

  it('lets deletions and status writes pass', () => {
    expect(judge(request({ operation: 'DELETE', oldObject: policy(bad) }), judges).allowed).toBe(true);
    expect(judge(request({ operation: 'UPDATE', subResource: 'status', object: 1 }), judges).allowed).toBe(
      true,
    );
  });

  it('refuses what it does not know', () => {
    const kind = { group: '', version: 'v1', kind: 'Pod' };
    const { allowed, message } = judge(request({ kind, object: {} }), judges);
    expect(allowed).toBe(false);
    expect(message).toContain('AuthorizationPolicy');
  });

  it('keeps within what the API server passes on', () => {
    const many = new Map<string, DocumentJudge>([
      [
        'AuthorizationPolicy',
        (): readonly Issue[] =>
          Array.from({ length: 99 }, () => ({ severity: 'warning', path: 'spec', message: 'x'.repeat(999) })),
      ],
    ]);
    const { warnings } = judge(request({ object: policy(good) }), many);
    expect(warnings.every((text) => text.length <= 256)).toBe(true);
    expect(warnings.join('').length).toBeLessThanOrEqual(4_096);
    expect(warnings.at(-1)).toMatch(/^and 85 more/);
  });
});
