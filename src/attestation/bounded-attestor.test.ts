import { expect, it } from 'vitest';
import { BoundedAttestor, type ClaimedPod } from './index.ts';
import type { ProvenWorkload, Verdict } from './types.ts';

/** As little as names a pod; its signature is nobody's. */
function tokenOf(pod: string): string {
  const claims = {
    exp: 2,
    iat: 1,
    sub: 'system:serviceaccount:shop:web',
    'kubernetes.io': {
      namespace: 'shop',
      serviceaccount: { name: 'web', uid: 'account' },
      pod: { name: pod, uid: `uid of ${pod}` },
    },
  };
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ alg: 'none' })}.${part(claims)}.`;
}

const proven: Verdict = { ok: true, workload: {} as ProvenWorkload };

function setup(isServed: (pod: ClaimedPod) => boolean = () => false): {
  readonly attest: (token?: string) => Promise<Verdict>;
  /** Ends one that is under way. */
  readonly decide: () => void;
  readonly underWay: () => number;
} {
  const waiting: (() => void)[] = [];
  const attestor = {
    attest: () => new Promise<Verdict>((resolve) => waiting.push(() => resolve(proven))),
  };
  const bounded = new BoundedAttestor({ attestor, maxAtOnce: 4, isServed, random: () => 0.5 });
  return {
    attest: (token) => bounded.attest(token, { address: '10.0.0.1' }),
    decide: () => waiting.shift()?.(),
    underWay: () => waiting.length,
  };
}

it('turns newcomers away while three quarters are under way, and says when to come back', async () => {
  const { attest, decide } = setup();
  const first = attest('a');
  void attest('b');
  void attest('c');
  expect(await attest(tokenOf('web-1'))).toEqual({
    ok: false,
    refusal: expect.objectContaining({
      factor: 'load',
      code: 'RESOURCE_EXHAUSTED',
      publicMessage: 'too many callers at once; try again',
      retryAfterMs: 1_500,
    }) as unknown,
  });
  decide();
  expect(await first).toBe(proven);
  const next = attest(tokenOf('web-1'));
  for (let at = 0; at < 3; at += 1) decide();
  expect(await next).toBe(proven);
});

it('keeps the last quarter for the pods that are served already, and no more than that', async () => {
  const asked: ClaimedPod[] = [];
  const { attest, underWay } = setup((pod) => {
    asked.push(pod);
    return pod.name === 'web-1';
  });
  for (let at = 0; at < 3; at += 1) void attest(tokenOf('new'));
  expect(asked).toEqual([]);
  for (const newcomer of [tokenOf('web-2'), 'no token', undefined])
    expect((await attest(newcomer)).ok).toBe(false);
  void attest(tokenOf('web-1'));
  expect(underWay()).toBe(4);
  expect(asked).toEqual([
    { namespace: 'shop', name: 'web-2', uid: 'uid of web-2' },
    { namespace: 'shop', name: 'web-1', uid: 'uid of web-1' },
  ]);
  expect((await attest(tokenOf('web-1'))).ok).toBe(false);
});

it('counts one whose proof failed as ended', async () => {
  const attestor = { attest: () => Promise.reject(new Error('broken')) };
  const bounded = new BoundedAttestor({ attestor, maxAtOnce: 1, isServed: () => false, random: () => 0 });
  for (let at = 0; at < 3; at += 1)
    await expect(bounded.attest('a', { address: undefined })).rejects.toThrow('broken');
});
