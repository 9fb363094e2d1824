import { describe, expect, it, vi } from 'vitest';
import type { TokenClaims } from './claims.ts';
import { ApiServerReviewer } from './token-reviewer.ts';
import type { ApiServerReviewerOptions } from './token-reviewer.ts';

const claims: TokenClaims = {
  namespace: 'shop',
  serviceAccount: { name: 'web', uid: 'account-uid' },
  pod: { name: 'web-1', uid: 'pod-uid' },
  node: { name: 'node-a' },
  tokenId: 'token-id',
  issuedAtMs: 0,
  notBeforeMs: 0,
  expiresAtMs: 1,
};

/** What the API server (1.36) answers of a projected token. */
function review(changes: { status?: object; user?: object; extra?: object } = {}): object {
  const prefix = 'authentication.kubernetes.io';
  return {
    kind: 'TokenReview',
    status: {
      authenticated: true,
      audiences: ['countersign'],
      user: {
        username: 'system:serviceaccount:shop:web',
        uid: 'account-uid',
        groups: ['system:serviceaccounts'],
        extra: {
          [`${prefix}/pod-name`]: ['web-1'],
          [`${prefix}/pod-uid`]: ['pod-uid'],
          [`${prefix}/node-name`]: ['node-a'],
          [`${prefix}/node-uid`]: ['node-uid'],
          [`${prefix}/credential-id`]: ['JTI=token-id'],
          ...changes.extra,
        },
        ...changes.user,
      },
      ...changes.status,
    },
  };
}

function newReviewer(
  create: ApiServerReviewerOptions['create'],
  options: Partial<ApiServerReviewerOptions> = {},
): { reviewer: ApiServerReviewer; clock: { now: number }; told: string[] } {
  const clock = { now: 0 };
  const told: string[] = [];
  const reviewer = new ApiServerReviewer({
    create,
    audience: 'countersign',
    monotonicMs: () => clock.now,
    onUnavailable: () => told.push('unavailable'),
    onAvailable: () => told.push('available'),
    ...options,
  });
  return { reviewer, clock, told };
}

describe('the review of a token by the API server', () => {
  it('passes what the API server confirms in every part', async () => {
    const create = vi.fn<ApiServerReviewerOptions['create']>(async () => review());
    const { reviewer } = newReviewer(create);
    expect(await reviewer.review('t', claims)).toMatchObject({ kind: 'passed' });
    expect(create).toHaveBeenCalledWith({ token: 't', audiences: ['countersign'] });
  });

  const prefix = 'authentication.kubernetes.io';
  it.each([
    [
      'not authenticated',
      { status: { authenticated: false, error: 'withdrawn' } },
      /not authenticate.*: withdrawn/u,
    ],
    ['authenticated as a text', { status: { authenticated: 'true' } }, /not authenticate/u],
    ['no audience', { status: { audiences: undefined } }, /audience/u],
    ['another audience', { status: { audiences: ['other'] } }, /audience/u],
    ['a further audience', { status: { audiences: ['countersign', 'other'] } }, /audience/u],
    ['another user', { user: { username: 'system:serviceaccount:shop:other' } }, /username/u],
    ['another service account UID', { user: { uid: 'other' } }, /uid "other"/u],
    ['another pod', { extra: { [`${prefix}/pod-name`]: ['other'] } }, /pod-name/u],
    ['another pod UID', { extra: { [`${prefix}/pod-uid`]: ['other'] } }, /pod-uid/u],
    ['two pod UIDs', { extra: { [`${prefix}/pod-uid`]: ['pod-uid', 'other'] } }, /pod-uid/u],
    ['another node', { extra: { [`${prefix}/node-name`]: ['other'] } }, /node-name/u],
    ['no node', { extra: { [`${prefix}/node-name`]: undefined } }, /node-name nothing/u],
    ['another token', { extra: { [`${prefix}/credential-id`]: ['JTI=other'] } }, /credential-id/u],
  ])('refuses %s', async (_, changes, detail) => {
    const { reviewer } = newReviewer(async () => review(changes));
    expect(await reviewer.review('t', claims)).toEqual({
      kind: 'refused',
      detail: expect.stringMatching(detail) as string,
    });
  });

  it.each([[undefined], [null], ['text'], [{}], [{ status: [] }]])(
    'refuses the answer %j',
    async (answer) => {
      const { reviewer } = newReviewer(async () => answer);
      expect(await reviewer.review('t', claims)).toMatchObject({ kind: 'refused' });
    },
  );

  it('asks about a token once a minute, and once for all who send it at a time', async () => {
    const create = vi.fn<ApiServerReviewerOptions['create']>(async () => review());
    const { reviewer, clock } = newReviewer(create, { cacheMs: 3_600_000 });
    await Promise.all([reviewer.review('t', claims), reviewer.review('t', claims)]);
    clock.now = 59_999;
    expect(await reviewer.review('t', claims)).toMatchObject({ kind: 'passed' });
    expect(create).toHaveBeenCalledTimes(1);
    clock.now = 60_000;
    await reviewer.review('t', claims);
    expect(create).toHaveBeenCalledTimes(2);
  });

  it('does not remember a refusal', async () => {
    const create = vi.fn<ApiServerReviewerOptions['create']>(async () =>
      review({ status: { authenticated: false } }),
    );
    const { reviewer } = newReviewer(create);
    await reviewer.review('t', claims);
    create.mockResolvedValue(review());
    expect(await reviewer.review('t', claims)).toMatchObject({ kind: 'passed' });
  });

  it('has no more under way than the bound, and lets no more wait than the other', async () => {
    const waiting: (() => void)[] = [];
    let most = 0;
    let running = 0;
    const { reviewer } = newReviewer(
      async () => {
        running += 1;
        most = Math.max(most, running);
        await new Promise<void>((resolve) => waiting.push(resolve));
        running -= 1;
        return review();
      },
      { maxInFlight: 2, maxWaiting: 3 },
    );
    const outcomes = Promise.all(
      Array.from({ length: 6 }, async (_, index) => (await reviewer.review(`t${index}`, claims)).kind),
    );
    for (let answered = 0; answered < 5; answered += 1) {
      await vi.waitFor(() => expect(waiting.length).toBeGreaterThan(0));
      waiting.shift()?.();
    }
    expect((await outcomes).toSorted()).toEqual([...Array<string>(5).fill('passed'), 'unavailable']);
    expect(most).toBe(2);
  });

  it('lets nobody wait for an API server that does not answer: one at a time finds out when it is back', async () => {
    const create = vi.fn<ApiServerReviewerOptions['create']>(async () => {
      throw new Error('no answer');
    });
    const { reviewer, clock, told } = newReviewer(create, { pauseMs: 1_000 });
    const ask = async (): Promise<string> => (await reviewer.review(`t${Math.random()}`, claims)).kind;
    expect(await ask()).toBe('unavailable');
    expect(await ask()).toBe('unavailable');
    expect(create).toHaveBeenCalledTimes(1);
    clock.now = 1_000;
    expect(await Promise.all([ask(), ask(), ask()])).toEqual(Array(3).fill('unavailable'));
    expect(create).toHaveBeenCalledTimes(2);
    clock.now = 2_000;
    create.mockResolvedValue(review());
    expect(await ask()).toBe('passed');
    expect(await ask()).toBe('passed');
    expect(told).toEqual(['unavailable', 'available']);
  });
});
