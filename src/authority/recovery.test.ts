import { expect, it } from 'vitest';
import { SpiffeId, TrustDomain, verifySvid } from '../identity/index.ts';
import { Authority } from './authority.ts';
import { AuthorityError } from './errors.ts';
import { memoryKeyStore, type KeyStore, type StoredAuthority } from './key-store.ts';
import { recovered } from './recovery.ts';

const trustDomain = TrustDomain.parse('mesh.example');
const web = SpiffeId.workload(trustDomain, 'shop', 'web');
const startMs = Date.UTC(2026, 0, 1);
const day = 24 * 3_600_000;
const where = 'the store';

function clock(): { nowMs: number } {
  return { nowMs: startMs };
}

async function open(store: KeyStore, at: { nowMs: number }): Promise<Authority> {
  const nowMs = (): number => at.nowMs;
  return await Authority.open({ store, trustDomain, nowMs, svidTtlMs: 3_600_000, rootTtlMs: 10 * day });
}

async function stored(store: KeyStore): Promise<StoredAuthority> {
  const state = await store.load();
  if (state === undefined) throw new Error('nothing is stored');
  return state;
}

it('is refused while the root is good, and says what to do', async () => {
  const store = memoryKeyStore();
  const at = clock();
  await open(store, at);
  const early = recovered(await stored(store), { nowMs: startMs + 10 * day - 1_000, where });
  await expect(early).rejects.toMatchObject({ code: 'recovery-refused' });
  await expect(early).rejects.toThrow(/countersign rotate/u);
});

it('begins anew where the root has ended: the bundle numbered on, the trust domain the same', async () => {
  const store = memoryKeyStore();
  const at = clock();
  const before = await open(store, at);
  at.nowMs += 10 * day;
  await expect(open(store, at)).rejects.toThrow(/countersign recover/u);
  const recovery = await recovered(await stored(store), { nowMs: at.nowMs, where });
  expect(recovery).toMatchObject({ root: 'new', former: before.rotation.signing });
  await store.save(recovery.state);
  const after = await open(store, at);
  expect(after.rotation).toEqual({ step: 'steady', signing: recovery.signing });
  expect(after.bundle.sequence).toBe(before.bundle.sequence + 1);
  expect(after.bundle.x509Authorities).toHaveLength(1);
  const { chain } = after.issue(web);
  expect(verifySvid({ chain, bundles: () => after.bundle, nowMs: at.nowMs }).uri).toBe(web.uri);
});

it('is taken over by an authority that runs, though its root has ended', async () => {
  const store = memoryKeyStore();
  const at = clock();
  const running = await open(store, at);
  at.nowMs += 11 * day;
  expect(() => running.issue(web)).toThrow(AuthorityError);
  const { state, signing } = await recovered(await stored(store), { nowMs: at.nowMs, where });
  expect(await running.follow(state)).toBe(true);
  expect(running.issue(web).signedBy).toBe(signing.fingerprint);
});

it('takes the root that a rotation had prepared, which is trusted already', async () => {
  const store = memoryKeyStore();
  const at = clock();
  const running = await open(store, at);
  at.nowMs += 5 * day;
  await running.prepareRotation();
  at.nowMs += 5 * day;
  const recovery = await recovered(await stored(store), { nowMs: at.nowMs, where });
  expect(recovery).toMatchObject({ root: 'next', signing: running.rotation.other });
  await store.save(recovery.state);
  const after = await open(store, at);
  expect(after.rotation).toEqual({ step: 'steady', signing: running.rotation.other });
  expect(
    verifySvid({ chain: after.issue(web).chain, bundles: () => running.bundle, nowMs: at.nowMs }).uri,
  ).toBe(web.uri);
});

it('forced, trusts neither the root that signs nor the one that a rotation had prepared', async () => {
  const store = memoryKeyStore();
  const at = clock();
  const running = await open(store, at);
  await running.prepareRotation();
  const { state, root } = await recovered(await stored(store), { nowMs: at.nowMs, where, force: true });
  expect(root).toBe('new');
  expect(state.bundle.x509Authorities).toEqual([state.root.certificate]);
  expect(state.bundle.sequence).toBe(running.bundle.sequence + 1);
});

it('goes on by a rotation too while an authority still runs', async () => {
  const store = memoryKeyStore();
  const at = clock();
  const running = await open(store, at);
  at.nowMs += 11 * day;
  await running.prepareRotation();
  await running.activateRotation();
  expect(
    verifySvid({ chain: running.issue(web).chain, bundles: () => running.bundle, nowMs: at.nowMs }).uri,
  ).toBe(web.uri);
  // Nothing below the former root can have outlived it.
  await running.retireRotation();
  expect((await open(store, at)).bundle.x509Authorities).toHaveLength(1);
});
