import type { JSONWebKeySet } from 'jose';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { JwksFollower, parseJwks } from './jwks-follower.ts';
import type { JwksFollowerOptions } from './jwks-follower.ts';
import {
  AUDIENCE,
  claimsOf,
  EC_KEY,
  FOREIGN_KEY,
  ISSUER,
  jwksOf,
  newWorld,
  RSA_KEY,
  sign,
} from './testing/world.ts';

let follower: JwksFollower | undefined;
afterEach(() => {
  follower?.close();
});

function follow(
  initial: JSONWebKeySet,
  fetch: JwksFollowerOptions['fetch'],
  options: Partial<JwksFollowerOptions> = {},
): JwksFollower {
  follower = new JwksFollower({
    initial,
    fetch,
    monotonicMs: () => 0,
    random: () => 0.5,
    onChange: () => {},
    onFailure: () => {},
    leastMs: 1_000,
    ...options,
  });
  return follower;
}

describe('the keys of an issuer that rotates them', () => {
  it('verifies a token of a key that it learns of by that token', async () => {
    const fetch = vi.fn(async () => jwksOf(RSA_KEY, EC_KEY));
    const { attestor } = await newWorld({
      jwks: follow(await jwksOf(RSA_KEY), fetch),
      issuer: ISSUER,
      audience: AUDIENCE,
    });
    expect(await attestor.attest(await sign(claimsOf(), EC_KEY), { address: undefined })).toMatchObject({
      ok: true,
    });
    expect(await attestor.attest(await sign(claimsOf(), EC_KEY), { address: undefined })).toMatchObject({
      ok: true,
    });
    expect(fetch).toHaveBeenCalledTimes(1);
  });

  it('is not asked for keys that somebody invents, but for the first in a while', async () => {
    const fetch = vi.fn(async () => jwksOf(RSA_KEY));
    let now = 0;
    const { attestor } = await newWorld({
      jwks: follow(await jwksOf(RSA_KEY), fetch, { monotonicMs: () => now }),
    });
    for (const id of ['x', 'y', 'z']) {
      const token = await sign(claimsOf(), { ...FOREIGN_KEY, id });
      expect(await attestor.attest(token, { address: undefined })).toMatchObject({
        refusal: { factor: 'token' },
      });
    }
    expect(fetch).toHaveBeenCalledTimes(1);
    now = 1_000;
    await attestor.attest(await sign(claimsOf(), { ...FOREIGN_KEY, id: 'w' }), { address: undefined });
    expect(fetch).toHaveBeenCalledTimes(2);
  });

  it('says that the issuer could not be asked, and goes on with what it knows', async () => {
    const fetch = async (): Promise<unknown> => {
      throw new Error('no route');
    };
    const { attestor } = await newWorld({ jwks: follow(await jwksOf(RSA_KEY), fetch) });
    expect(await attestor.attest(await sign(claimsOf(), EC_KEY), { address: undefined })).toMatchObject({
      refusal: { factor: 'token', detail: expect.stringContaining('no route') as string },
    });
    expect(await attestor.attest(await sign(claimsOf()), { address: undefined })).toMatchObject({ ok: true });
  });

  it('forgets a key that was withdrawn, though no token asks for it', async () => {
    const changes: JSONWebKeySet[] = [];
    const known = follow(await jwksOf(RSA_KEY, EC_KEY), async () => jwksOf(EC_KEY), {
      everyMs: 1,
      onChange: (jwks) => changes.push(jwks),
    });
    await vi.waitFor(() => expect(known.jwks.keys.map(({ kid }) => kid)).toEqual([EC_KEY.id]));
    expect(changes).toHaveLength(1);
  });

  it.each([
    [undefined],
    [{}],
    [{ keys: [] }],
    [{ keys: {} }],
    [{ keys: [{}] }],
    [{ keys: [{ kty: 'RSA', d: 'x' }] }],
  ])('takes %j for no JWKS', (document) => {
    expect(() => parseJwks(document)).toThrow(/no JSON object with a list of `keys`/u);
  });
});
