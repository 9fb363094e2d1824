import { describe, expect, it, vi } from 'vitest';
import { SpiffeId } from '../identity/index.ts';
import { CutOffAttestor } from './cut-off.ts';
import { refuseToken } from './refusal.ts';
import type { ProvenWorkload, Refusal, Verdict } from './types.ts';

const workload: ProvenWorkload = {
  id: SpiffeId.parse('spiffe://cluster.local/ns/shop/sa/web'),
  pod: {
    kind: 'Pod',
    namespace: 'shop',
    name: 'web-1',
    uid: 'uid-1',
    labels: {},
    annotations: {},
    serviceAccount: 'web',
    nodeName: 'node-1',
    ips: [],
    phase: 'Running',
    terminating: false,
  },
  serviceAccountUid: 'sa-uid',
  tokenExpiresAtMs: 1,
  tokenId: 'jti',
  factors: [],
};

function world(verdict: Verdict = { ok: true, workload }): {
  attestor: CutOffAttestor;
  cutOff: (is: boolean) => void;
  gone: (refusal: Refusal) => void;
  watching: () => boolean;
} {
  let cut = false;
  let inner: ((refusal: Refusal) => void) | undefined;
  const attestor = new CutOffAttestor({
    inner: {
      attest: async () => verdict,
      recheck: () => undefined,
      watchRevocation: (_workload, onGone) => {
        inner = onGone;
        return () => (inner = undefined);
      },
    },
    against: () => (cut ? { name: 'q-1', detail: 'in quarantine by q-1: stolen' } : undefined),
  });
  return {
    attestor,
    cutOff: (is) => {
      cut = is;
      attestor.changed();
    },
    gone: (refusal) => inner?.(refusal),
    watching: () => inner !== undefined,
  };
}

const refusal = {
  factor: 'quarantine',
  code: 'PERMISSION_DENIED',
  detail: 'in quarantine by q-1: stolen',
  publicMessage: 'not attested: in quarantine (q-1)',
};

describe('CutOffAttestor', () => {
  it('refuses who is cut off at the door and at a renewal, and names the entry', async () => {
    const { attestor, cutOff } = world();
    expect(await attestor.attest('token', { address: undefined })).toEqual({ ok: true, workload });
    expect(attestor.recheck(workload)).toBeUndefined();
    cutOff(true);
    expect(await attestor.attest('token', { address: undefined })).toMatchObject({ ok: false, refusal });
    expect(attestor.recheck(workload)).toMatchObject(refusal);
    cutOff(false);
    expect(attestor.recheck(workload)).toBeUndefined();
  });

  it('says of a caller who proves nothing just that', async () => {
    const { attestor, cutOff } = world({ ok: false, refusal: refuseToken('none') });
    cutOff(true);
    expect(await attestor.attest('token', { address: undefined })).toMatchObject({
      refusal: { factor: 'token' },
    });
  });

  it('tells whoever watches once, and not when they have stopped', () => {
    const { attestor, cutOff, gone, watching } = world();
    const [first, second] = [vi.fn(), vi.fn()];
    attestor.watchRevocation(workload, second)();
    expect(watching()).toBe(false);
    attestor.watchRevocation(workload, first);
    cutOff(true);
    cutOff(true);
    gone(refuseToken('it went, too'));
    expect(first.mock.calls).toMatchObject([[refusal]]);
    expect(second).not.toHaveBeenCalled();
  });

  it('passes on that a pod is gone', () => {
    const { attestor, gone } = world();
    const told = vi.fn();
    attestor.watchRevocation(workload, told);
    gone(refuseToken('it went'));
    expect(told.mock.calls).toMatchObject([[{ detail: 'it went' }]]);
  });
});
