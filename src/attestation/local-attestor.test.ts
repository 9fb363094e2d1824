import { describe, expect, it } from 'vitest';
import type { JSONWebKeySet } from 'jose';
import { SignJWT, UnsecuredJWT } from 'jose';
import { AttestationError } from './index.ts';
import type { Factor, Refusal, ReviewOutcome, TokenReviewMode } from './index.ts';
import {
  AUDIENCE,
  claimsOf,
  EC_KEY,
  FOREIGN_KEY,
  ISSUER,
  jwksOf,
  newKey,
  newWorld,
  RSA_KEY,
  sign,
  START_MS,
  WEB,
  WEB_ACCOUNT,
} from './testing/world.ts';
import type { World } from './testing/world.ts';

const NOWHERE = { address: undefined };

async function refusalOf(world: World, token: string | undefined, address?: string): Promise<Refusal> {
  const verdict = await world.attestor.attest(token, { address });
  if (verdict.ok) throw new Error(`attested ${verdict.workload.id.uri}`);
  return verdict.refusal;
}

/** Public messages are checked once and for all: they name the factor and no detail. */
function expectRefusal(refusal: Refusal, factor: Factor, detail: RegExp): void {
  expect(refusal.factor).toBe(factor);
  expect(refusal.code).toBe(factor === 'token' ? 'UNAUTHENTICATED' : 'PERMISSION_DENIED');
  expect(refusal.detail).toMatch(detail);
  expect(refusal.publicMessage).toBe(`not attested: the ${factor.replace('-', ' ')} was refused`);
}

/** The bound object's claim, changed. */
function bound(change: Record<string, unknown>): Record<string, unknown> {
  const claims = claimsOf();
  const old = claims['kubernetes.io'] as Record<string, unknown>;
  return { ...claims, 'kubernetes.io': { ...old, ...change } };
}

describe('a genuine token', () => {
  it.each([RSA_KEY, EC_KEY])(
    'signed by $algorithm proves the workload and records each factor',
    async (key) => {
      const world = await newWorld({ peerAddress: 'require' });
      const claims = claimsOf();
      const verdict = await world.attestor.attest(await sign(claims, key), { address: '::ffff:10.0.0.7' });
      expect(verdict).toMatchObject({
        ok: true,
        workload: {
          pod: WEB,
          serviceAccountUid: WEB_ACCOUNT.uid,
          tokenExpiresAtMs: START_MS + 3_600_000,
          tokenId: claims.jti,
        },
      });
      if (!verdict.ok) return;
      expect(verdict.workload.id.uri).toBe('spiffe://cluster.local/ns/shop/sa/web');
      expect(verdict.workload.factors.map(({ factor, outcome }) => `${factor}: ${outcome}`)).toEqual([
        'token: passed',
        'pod: passed',
        'service-account: passed',
        'node: passed',
        'peer-address: passed',
      ]);
    },
  );

  it('without `jti` is known by a prefix of its hash', async () => {
    const world = await newWorld();
    const verdict = await world.attestor.attest(
      await sign({ ...claimsOf(), jti: undefined } as never),
      NOWHERE,
    );
    expect(verdict.ok && verdict.workload.tokenId).toMatch(/^sha256:[0-9a-f]{16}$/);
  });

  it('is verified by the right one of two keys that share their id', async () => {
    const world = await newWorld({ jwks: await jwksOf(FOREIGN_KEY, RSA_KEY) });
    expect((await world.attestor.attest(await sign(claimsOf()), NOWHERE)).ok).toBe(true);
    const third = await sign(claimsOf(), newKey('RS256', 'rsa'));
    expectRefusal(await refusalOf(world, third), 'token', /signature of the token is not valid/);
  });
});

describe('bad input: the token', () => {
  it.each<[string, () => Promise<string | undefined> | string | undefined, RegExp]>([
    ['none', () => undefined, /no token was sent/],
    ['an empty one', () => '', /no token was sent/],
    ['garbage', () => 'garbage', /malformed/],
    ['three parts of garbage', () => 'a.b.c', /malformed/],
    ['control characters', () => '\0\r\n.\0.\0', /malformed/],
    ['an encrypted JWT', () => 'a.b.c.d.e', /malformed/],
    ['too long', () => 'x'.repeat(9000), /has 9000 bytes; at most 8192/],
    [
      '`alg: none`',
      () => new UnsecuredJWT(claimsOf()).encode(),
      /algorithm that is not allowed: RS256 and ES256/,
    ],
    [
      'signed by another key of the same id',
      () => sign(claimsOf(), FOREIGN_KEY),
      /signature of the token is not valid/,
    ],
    ['signed by an unpublished key', () => sign(claimsOf(), newKey('ES256', 'other')), /does not publish/],
    ['an expired one', () => sign({ ...claimsOf(), exp: START_MS / 1000 - 60 }), /expired/],
    ['one that expires now', () => sign({ ...claimsOf(), exp: START_MS / 1000 }), /expired/],
    ['one without expiry', () => sign({ ...claimsOf(), exp: undefined } as never), /`exp`.*missing/],
    ['one without `iat`', () => sign({ ...claimsOf(), iat: undefined } as never), /`iat`.*missing/],
    ['one not valid yet', () => sign({ ...claimsOf(), nbf: START_MS / 1000 + 60 }), /nbf/],
    ['one of the future', () => sign({ ...claimsOf(), iat: START_MS / 1000 + 60 }), /which cannot be/],
    [
      'for another audience',
      () => sign({ ...claimsOf(), aud: ['https://kubernetes.default.svc'] }),
      /another audience.*`countersign`/,
    ],
    [
      'for an audience that begins alike',
      () => sign({ ...claimsOf(), aud: ['countersign-2'] }),
      /another audience/,
    ],
    ['for no audience', () => sign({ ...claimsOf(), aud: [] }), /another audience/],
    ['for two audiences', () => sign({ ...claimsOf(), aud: [AUDIENCE, 'vault'] }), /for 2 audiences.*alone/],
    ['of another issuer', () => sign({ ...claimsOf(), iss: `${ISSUER}/` }), /another issuer/],
    [
      'an ordinary JWT',
      () => sign({ ...claimsOf(), 'kubernetes.io': undefined }),
      /no projected service account token/,
    ],
    [
      'with a subject that differs',
      () => sign({ ...claimsOf(), sub: 'system:serviceaccount:shop:payments' }),
      /`sub` is not/,
    ],
    ['without a service account', () => sign(bound({ serviceaccount: undefined })), /serviceaccount/],
    ['with a nameless pod', () => sign(bound({ pod: { uid: WEB.uid } })), /pod` must have name and uid/],
    ['with a namespace that is no text', () => sign(bound({ namespace: 7 })), /namespace` must be a name/],
  ])('%s is refused', async (_, make, detail) => {
    const world = await newWorld();
    const token = await make();
    const refusal = await refusalOf(world, token);
    expectRefusal(refusal, 'token', detail);
    const parts = (token ?? '').split('.').filter((part) => part.length > 8);
    for (const part of parts) expect(JSON.stringify(refusal)).not.toContain(part);
  });

  it('HS256 with the public key as the secret is refused', async () => {
    const world = await newWorld();
    const secret = Buffer.from(RSA_KEY.publicKey.export({ type: 'spki', format: 'pem' }));
    const token = await new SignJWT(claimsOf()).setProtectedHeader({ alg: 'HS256', kid: 'rsa' }).sign(secret);
    expectRefusal(await refusalOf(world, token), 'token', /algorithm that is not allowed/);
  });

  it('RS384 and PS256 of the right key are refused too', async () => {
    const world = await newWorld();
    for (const alg of ['RS384', 'PS256']) {
      const token = await new SignJWT(claimsOf())
        .setProtectedHeader({ alg, kid: 'rsa' })
        .sign(RSA_KEY.privateKey);
      expectRefusal(await refusalOf(world, token), 'token', /algorithm that is not allowed/);
    }
  });

  it('a payload exchanged under a genuine signature is refused', async () => {
    const world = await newWorld();
    const [header, , signature] = (await sign(claimsOf())).split('.');
    const payload = Buffer.from(JSON.stringify(bound({ namespace: 'payments' }))).toString('base64url');
    const refusal = await refusalOf(world, `${header}.${payload}.${signature}`);
    expectRefusal(refusal, 'token', /signature of the token is not valid/);
    expect(refusal.claimed).toBeUndefined();
  });

  it('what it claims is told only where its signature is valid', async () => {
    const world = await newWorld();
    const late = await refusalOf(world, await sign({ ...claimsOf(), exp: START_MS / 1000 - 60 }));
    expect(late.claimed).toMatchObject({
      namespace: 'shop',
      serviceAccount: 'web',
      pod: 'web-1',
      node: 'node-a',
    });
    const foreign = await refusalOf(world, await sign(claimsOf(), FOREIGN_KEY));
    expect(foreign.claimed).toBeUndefined();
  });
});

describe('bad input: the pod', () => {
  const genuine = sign(claimsOf());
  const cases: [string, Factor, RegExp, (world: World) => void][] = [
    [
      'deleted',
      'pod',
      /pod shop\/web-1 does not exist/,
      (world) => world.mesh.update([{ op: 'delete', kind: 'Pod', key: 'shop/web-1' }]),
    ],
    ['re-created under the same name', 'pod', /made anew/, (world) => change(world, { uid: 'another' })],
    [
      'whose UID another pod claims too',
      'pod',
      /another pod claims the UID/,
      ({ mesh }) => mesh.update([{ op: 'set', object: { ...WEB, name: 'impostor' } }]),
    ],
    ['terminating', 'pod', /is terminating/, (world) => change(world, { terminating: true })],
    ['succeeded', 'pod', /has finished \(Succeeded\)/, (world) => change(world, { phase: 'Succeeded' })],
    ['failed', 'pod', /has finished \(Failed\)/, (world) => change(world, { phase: 'Failed' })],
    [
      'of another account',
      'service-account',
      /runs as cart/,
      (world) => change(world, { serviceAccount: 'cart' }),
    ],
    [
      'of an account that is gone',
      'service-account',
      /service account shop\/web does not exist/,
      (world) => world.mesh.update([{ op: 'delete', kind: 'ServiceAccount', key: 'shop/web' }]),
    ],
    [
      'of an account made anew',
      'service-account',
      /made anew/,
      (world) => world.mesh.update([{ op: 'set', object: { ...WEB_ACCOUNT, uid: 'another' } }]),
    ],
    [
      'on another node',
      'node',
      /on node node-b, the token is of node node-a/,
      (world) => change(world, { nodeName: 'node-b' }),
    ],
    ['on no node', 'node', /on no node yet/, (world) => change(world, { nodeName: '' })],
  ];

  function change(world: World, parts: Partial<typeof WEB>): void {
    world.mesh.update([{ op: 'set', object: { ...WEB, ...parts } }]);
  }

  it.each(cases)('%s is refused', async (_, factor, detail, act) => {
    const world = await newWorld();
    act(world);
    const refusal = await refusalOf(world, await genuine);
    expectRefusal(refusal, factor, detail);
    expect(refusal.claimed).toMatchObject({ pod: 'web-1', podUid: WEB.uid });
  });

  it.each(cases)(
    '%s is refused although its token was verified a moment ago',
    async (_, factor, detail, act) => {
      const world = await newWorld();
      expect((await world.attestor.attest(await genuine, NOWHERE)).ok).toBe(true);
      act(world);
      expectRefusal(await refusalOf(world, await genuine), factor, detail);
    },
  );

  it('a token that is bound to no pod, or names no node, is refused', async () => {
    const world = await newWorld();
    expectRefusal(await refusalOf(world, await sign(bound({ pod: undefined }))), 'pod', /bound to no pod/);
    expectRefusal(await refusalOf(world, await sign(bound({ node: undefined }))), 'node', /names no node/);
  });

  it('a token of another pod of the same account proves that other pod only', async () => {
    const world = await newWorld();
    const token = await sign(bound({ pod: { name: 'web-1', uid: 'of-web-2' } }));
    expectRefusal(await refusalOf(world, token), 'pod', /made anew/);
  });

  it('an account whose name fits no SPIFFE ID is refused, not thrown', async () => {
    const world = await newWorld();
    const name = 'a b';
    world.mesh.update([
      { op: 'set', object: { ...WEB_ACCOUNT, name } },
      { op: 'set', object: { ...WEB, serviceAccount: name } },
    ]);
    const token = await sign(claimsOf(WEB, { ...WEB_ACCOUNT, name }));
    expectRefusal(await refusalOf(world, token), 'service-account', /no SPIFFE ID/);
  });
});

describe('the peer address', () => {
  const genuine = sign(claimsOf());
  it.each(['10.0.0.7', '::ffff:10.0.0.7', 'FD00::0:7'])('%s is the pod’s', async (address) => {
    const world = await newWorld({ peerAddress: 'require' });
    expect((await world.attestor.attest(await genuine, { address })).ok).toBe(true);
  });

  it.each([undefined, '10.0.0.8', 'not an address', ''])(
    '%s is refused where it is required',
    async (address) => {
      const world = await newWorld({ peerAddress: 'require' });
      expectRefusal(
        await refusalOf(world, await genuine, address),
        'peer-address',
        /the pod has 10\.0\.0\.7, fd00::7/,
      );
    },
  );

  it('is recorded and let pass with `warn`, and not looked at with `off`', async () => {
    const outcomes = await Promise.all(
      (['warn', 'off'] as const).map(async (peerAddress) => {
        const world = await newWorld({ peerAddress });
        const verdict = await world.attestor.attest(await genuine, { address: '10.0.0.8' });
        return verdict.ok ? verdict.workload.factors.at(-1)?.outcome : undefined;
      }),
    );
    expect(outcomes).toEqual(['warned', 'skipped']);
  });
});

describe('the cache', () => {
  it('verifies a signature once, for at most 60 s; concurrent callers share it', async () => {
    let asked = 0;
    const jwks = await jwksOf(RSA_KEY);
    const source = (): JSONWebKeySet => {
      asked += 1;
      return jwks;
    };
    const world = await newWorld({ jwks: source, cacheMs: 3_600_000 });
    const token = await sign(claimsOf());
    const verdicts = await Promise.all([1, 2, 3].map(() => world.attestor.attest(token, NOWHERE)));
    expect(verdicts.every(({ ok }) => ok)).toBe(true);
    expect(asked).toBe(1);
    world.now += 59_999;
    await world.attestor.attest(token, NOWHERE);
    expect(asked).toBe(1);
    world.now += 1;
    await world.attestor.attest(token, NOWHERE);
    expect(asked).toBe(2);
  });

  it('does not outlive the token, and does not keep refusals', async () => {
    const world = await newWorld();
    const token = await sign({ ...claimsOf(), exp: START_MS / 1000 + 30 });
    expect((await world.attestor.attest(token, NOWHERE)).ok).toBe(true);
    world.now += 30_000;
    expectRefusal(await refusalOf(world, token), 'token', /expired/);

    const early = await sign({ ...claimsOf(), nbf: START_MS / 1000 + 100 });
    expectRefusal(await refusalOf(world, early), 'token', /nbf/);
    world.now += 70_000;
    expect((await world.attestor.attest(early, NOWHERE)).ok).toBe(true);
  });

  it('is bounded', async () => {
    let asked = 0;
    const jwks = await jwksOf(RSA_KEY);
    const source = (): JSONWebKeySet => {
      asked += 1;
      return jwks;
    };
    const world = await newWorld({ jwks: source, maxCachedTokens: 2 });
    const [a, b, c] = await Promise.all([sign(claimsOf()), sign(claimsOf()), sign(claimsOf())]);
    for (const token of [a, b, a, c, a]) await world.attestor.attest(token, NOWHERE);
    expect(asked).toBe(3);
    await world.attestor.attest(b, NOWHERE);
    expect(asked).toBe(4);
  });
});

describe('the keys', () => {
  it('are taken anew from their source: a rotated key is known, a retired one is not', async () => {
    const next = newKey('ES256', 'next');
    let jwks = await jwksOf(RSA_KEY);
    const world = await newWorld({ jwks: () => Promise.resolve(jwks) });
    expectRefusal(await refusalOf(world, await sign(claimsOf(), next)), 'token', /does not publish/);
    jwks = await jwksOf(next);
    expect((await world.attestor.attest(await sign(claimsOf(), next), NOWHERE)).ok).toBe(true);
    expectRefusal(await refusalOf(world, await sign(claimsOf())), 'token', /does not publish/);
  });

  it.each<[string, () => JSONWebKeySet | Promise<JSONWebKeySet>]>([
    ['throws', () => Promise.reject(new Error('connection refused'))],
    ['is no key set', () => ({ keys: 'none' }) as never],
  ])('refuse when their source %s, and say so', async (_, jwks) => {
    const world = await newWorld({ jwks });
    expectRefusal(
      await refusalOf(world, await sign(claimsOf())),
      'token',
      /public keys \(JWKS\) are not to be had/,
    );
  });

  it('that are symmetric verify nothing', async () => {
    const jwks = { keys: [{ kty: 'oct', kid: 'rsa', k: 'c2VjcmV0' }] } as JSONWebKeySet;
    const world = await newWorld({ jwks });
    expectRefusal(await refusalOf(world, await sign(claimsOf())), 'token', /does not publish/);
  });
});

describe('the review of a token by another', () => {
  const outcomes: Record<ReviewOutcome['kind'], ReviewOutcome> = {
    passed: { kind: 'passed', detail: 'yes' },
    refused: { kind: 'refused', detail: 'withdrawn' },
    unavailable: { kind: 'unavailable', detail: 'nobody there' },
  };
  const worldWith = async (
    kind: ReviewOutcome['kind'],
    mode: TokenReviewMode,
    meanwhile: (world: World) => void = (): void => {},
  ): Promise<{ world: World; asked: () => number }> => {
    let asked = 0;
    const review = async (): Promise<ReviewOutcome> => {
      asked += 1;
      meanwhile(world);
      return outcomes[kind];
    };
    const world: World = await newWorld({ review: { reviewer: { review }, mode } });
    return { world, asked: () => asked };
  };

  it.each([
    ['passed', 'require'],
    ['passed', 'when-available'],
    ['unavailable', 'when-available'],
  ] as const)('%s, with %s: attested, and said so last', async (kind, mode) => {
    const { world } = await worldWith(kind, mode);
    const verdict = await world.attestor.attest(await sign(claimsOf()), NOWHERE);
    if (!verdict.ok) throw new Error(verdict.refusal.detail);
    expect(verdict.workload.factors.at(-1)).toMatchObject({ factor: 'token-review', outcome: kind });
  });

  it.each([
    ['refused', 'require', 'UNAUTHENTICATED'],
    ['refused', 'when-available', 'UNAUTHENTICATED'],
    ['unavailable', 'require', 'UNAVAILABLE'],
  ] as const)('%s, with %s: refused as %s', async (kind, mode, code) => {
    const { world } = await worldWith(kind, mode);
    const refusal = await refusalOf(world, await sign(claimsOf()));
    expect(refusal).toMatchObject({ factor: 'token-review', code, detail: outcomes[kind].detail });
    expect(refusal.claimed?.podUid).toBe(WEB.uid);
  });

  it('comes last: nobody is asked about a token that fails here', async () => {
    const { world, asked } = await worldWith('passed', 'require');
    world.mesh.update([{ op: 'delete', kind: 'Pod', key: 'shop/web-1' }]);
    expectRefusal(await refusalOf(world, await sign(claimsOf())), 'pod', /does not exist/);
    expect(asked()).toBe(0);
  });

  it('takes time, and the pod may go meanwhile', async () => {
    const { world } = await worldWith('passed', 'require', ({ mesh }) => {
      mesh.update([{ op: 'delete', kind: 'Pod', key: 'shop/web-1' }]);
    });
    expectRefusal(await refusalOf(world, await sign(claimsOf())), 'pod', /does not exist/);
  });
});

describe('settings', () => {
  it.each(['issuer', 'audience'] as const)('an empty %s is refused', async (name) => {
    await expect(newWorld({ [name]: '' })).rejects.toThrow(AttestationError);
  });
});
