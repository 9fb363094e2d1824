import { beforeEach, describe, expect, it } from 'vitest';
import { SpiffeId, TrustDomain } from '../identity/index.ts';
import { Authority } from './authority.ts';
import { memoryKeyStore, type KeyStore, type StoredAuthority } from './key-store.ts';

const trustDomain = TrustDomain.parse('example.org');
const web = SpiffeId.workload(trustDomain, 'shop', 'web');

let ours: KeyStore;
let one: Authority;
/** Began with the same root, on a store of its own: steps of `one` reach it by `follow` alone. */
let two: Authority;

beforeEach(async () => {
  ours = memoryKeyStore();
  one = await open(ours);
  two = await copyOf(await kept());
});

async function open(store: KeyStore): Promise<Authority> {
  return await Authority.open({ store, trustDomain, nowMs: Date.now, svidTtlMs: 60_000, selfCheckEvery: 1 });
}

async function copyOf(state: StoredAuthority): Promise<Authority> {
  const store = memoryKeyStore();
  await store.save(state);
  return await open(store);
}

async function kept(): Promise<StoredAuthority> {
  return (await ours.load())!;
}

async function rotate(): Promise<void> {
  await one.prepareRotation();
  await one.activateRotation();
  await one.retireRotation(true);
}

function code(expected: string): object {
  return expect.objectContaining({ code: expected }) as object;
}

describe('an authority that follows another', () => {
  it('takes over each step, and tells of it', async () => {
    const told: string[] = [];
    two.onBundleChange(({ sequence }) => told.push(`bundle ${sequence}`));
    two.onSignerChange(() => told.push('signer'));
    expect(await two.follow(await kept())).toBe(false);
    for (const step of ['prepareRotation', 'activateRotation', 'retireRotation'] as const) {
      await one[step](true);
      expect(await two.follow(await kept())).toBe(true);
      expect(two.rotation).toEqual(one.rotation);
      expect(two.bundle.toPem()).toBe(one.bundle.toPem());
      expect(two.isCurrent(one.issue(web))).toBe(true);
    }
    expect(told).toEqual(['bundle 2', 'signer', 'bundle 3']);
  });

  it('takes over rotations of which it saw no step, as the cross certificates lead there', async () => {
    await rotate();
    await rotate();
    expect(await two.follow(await kept())).toBe(true);
    expect(two.isCurrent(one.issue(web))).toBe(true);
  });

  it('refuses a root to which nothing leads, also with a higher sequence', async () => {
    const other = memoryKeyStore();
    const stranger = await open(other);
    const before = two.bundle;
    await expect(two.follow((await other.load())!)).rejects.toEqual(code('root-replaced'));
    await stranger.prepareRotation();
    await expect(two.follow((await other.load())!)).rejects.toEqual(code('root-replaced'));
    // A cross certificate that names the root, and certifies another one's key, leads nowhere.
    const strange = (await other.load())!;
    await rotate();
    const crosses = (await kept()).crosses!.map((cross) => ({
      ...cross,
      of: stranger.rotation.signing.fingerprint,
    }));
    await expect(two.follow({ ...strange, crosses })).rejects.toEqual(code('root-replaced'));
    expect(two.bundle).toBe(before);
  });

  it('refuses what is older, what is damaged, and what is of another trust domain', async () => {
    const old = await kept();
    await one.prepareRotation();
    const next = await kept();
    await two.follow(next);
    await expect(two.follow(old)).rejects.toEqual(code('root-outdated'));
    const { privateKeyPem } = next.rotation!.other;
    const damaged = { ...next, root: { ...next.root, privateKeyPem } };
    await expect(two.follow(damaged)).rejects.toEqual(code('store-corrupted'));
    const foreign = { ...next, trustDomain: 'other.example' };
    await expect(two.follow(foreign)).rejects.toEqual(code('store-foreign'));
    expect(two.rotation.step).toBe('prepared');
    expect(two.isCurrent(two.issue(web))).toBe(true);
  });
});

describe('an authority that is suspended', () => {
  it('signs nothing and changes nothing, until it can follow again', async () => {
    two.suspend('the Secret is gone');
    expect(() => two.issue(web)).toThrow(/Nothing is signed: the Secret is gone/u);
    await expect(two.prepareRotation()).rejects.toEqual(code('suspended'));
    expect(two.suspended).toBe('the Secret is gone');
    expect(await two.follow(await kept())).toBe(false);
    expect(two.suspended).toBeUndefined();
    expect(two.issue(web).chain).toHaveLength(2);
  });

  it('stays so after what it cannot follow', async () => {
    two.suspend('gone');
    const other = memoryKeyStore();
    await open(other);
    await expect(two.follow((await other.load())!)).rejects.toEqual(code('root-replaced'));
    expect(() => two.issue(web)).toThrow(code('suspended'));
  });
});
