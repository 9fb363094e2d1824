import { createPrivateKey, createPublicKey } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { operatorCa } from '../../test/harness/operator-ca.ts';
import { SpiffeId, TrustDomain } from '../identity/index.ts';
import { Authority } from './authority.ts';
import { AuthorityError } from './errors.ts';
import { memoryKeyStore } from './key-store.ts';
import { checkCa } from './plugged-ca.ts';
import { memoryKey, type SigningKey } from './signature.ts';

const trustDomain = TrustDomain.parse('mesh.example');
const web = SpiffeId.workload(trustDomain, 'shop', 'web');
const HOUR = 3_600_000;

/** A token that can be pulled, and an authority whose key is in it, on a clock of its own. */
async function world(): Promise<{
  readonly authority: Authority;
  readonly clock: { nowMs: number };
  readonly token: { away: boolean; signed: number };
  readonly told: string[];
}> {
  const root = await operatorCa({ name: 'Root' });
  const token = { away: false, signed: 0 };
  const here = memoryKey(createPrivateKey(root.keyPem), createPublicKey(createPrivateKey(root.keyPem)));
  const refuse = (): void => {
    if (token.away) throw new AuthorityError('signer-unavailable', 'pulled');
  };
  const key: SigningKey = {
    publicKey: here.publicKey,
    algorithm: here.algorithm,
    sign: async (data) => {
      refuse();
      token.signed += 1;
      return await here.sign(data);
    },
    check: () => Promise.resolve().then(refuse),
  };
  const clock = { nowMs: Date.now() };
  const parts = { certificates: [root.der], roots: [], key, where: 'the token' };
  const ca = await checkCa(parts, { trustDomain, nowMs: clock.nowMs, dnsNames: [], ipAddresses: [] });
  const told: string[] = [];
  const authority = await Authority.open({
    store: memoryKeyStore(),
    trustDomain,
    ca,
    nowMs: () => clock.nowMs,
    svidTtlMs: HOUR,
    intermediateTtlMs: 24 * HOUR,
    selfCheckEvery: 1,
    signingObserver: {
      formerGone: () => told.push('gone'),
      failed: (error, untilMs) => told.push(`failed until ${untilMs - clock.nowMs}: ${error.message}`),
      recovered: () => told.push('recovered'),
    },
  });
  return { authority, clock, token, told };
}

describe('a key in a token', () => {
  it('signs intermediates alone, each ahead of its time', async () => {
    const { authority, clock, token } = await world();
    const before = token.signed;
    for (let count = 0; count < 50; count += 1) authority.issue(web);
    expect(token.signed).toBe(before);
    clock.nowMs += 12 * HOUR + 1;
    await authority.lookAfterSigner();
    expect(token.signed).toBe(before + 1);
    expect(authority.issue(web).notAfterMs - clock.nowMs).toBeGreaterThan(HOUR - 1_001);
  });

  it('may be away until the present intermediate ends, and it is told when that is', async () => {
    const { authority, clock, token, told } = await world();
    token.away = true;
    clock.nowMs += 60_000;
    await authority.lookAfterSigner();
    await authority.lookAfterSigner();
    expect(told).toHaveLength(1);
    expect(told[0]).toMatch(/^failed until 863\d{5}: pulled$/u);
    clock.nowMs += 23.5 * HOUR;
    expect(authority.issue(web).notAfterMs).toBeLessThanOrEqual(authority.signer.intermediateNotAfterMs);
    clock.nowMs += HOUR;
    expect(() => authority.issue(web)).toThrow(expect.objectContaining({ code: 'signer-unavailable' }));
    // What that asked for has failed when this returns.
    await authority.lookAfterSigner();
    token.away = false;
    clock.nowMs += 60_000;
    await authority.lookAfterSigner();
    expect(told.at(-1)).toBe('recovered');
    expect(authority.issue(web).notAfterMs).toBeGreaterThan(clock.nowMs);
  });
});
