import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  Authority,
  AuthorityError,
  checkCa,
  memoryKey,
  memoryKeyStore,
  rootOfKey,
  type KeyStore,
  type PluggedCa,
  type StoredAuthority,
} from '../../src/authority/index.ts';
import { TrustDomain } from '../../src/identity/index.ts';
import { openBelow } from './own-ca.ts';

const trustDomain = TrustDomain.parse('mesh.example');
const pem = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({
  format: 'pem',
  type: 'pkcs8',
});
/** As a token would hold it, for all replicas. */
const key = memoryKey(createPrivateKey(pem), createPublicKey(pem));

/** A root of that key: the one that is kept, or one of its own making. */
async function first(store: KeyStore): Promise<PluggedCa> {
  const root = await rootOfKey(key, await store.load(), trustDomain, Date.now());
  const rules = { trustDomain, nowMs: Date.now(), dnsNames: ['cp.example'], ipAddresses: [] };
  return await checkCa({ certificates: [root], roots: [], key, where: 'the token' }, rules);
}

/** Of all replicas: the first state that is kept stays. */
function sharedStore(): KeyStore {
  const kept = memoryKeyStore();
  const save = async (state: StoredAuthority): Promise<void> => {
    if ((await kept.load()) !== undefined) throw new AuthorityError('store-conflict', 'somebody was first');
    await kept.save(state);
  };
  return { ...kept, shared: true, save };
}

async function open(store: KeyStore, ca: PluggedCa | undefined): Promise<Authority> {
  return await Authority.open({ store, trustDomain, ca, nowMs: Date.now, svidTtlMs: 3_600_000 });
}

describe('a key in a token, without a certificate', () => {
  it('has one root for all replicas that start at the same moment', async () => {
    const store = sharedStore();
    const made = [await first(store), await first(store)];
    expect(made[0]?.root.fingerprint).not.toBe(made[1]?.root.fingerprint);
    const opened: Authority[] = [];
    for (const mine of made) {
      let next: PluggedCa | undefined = mine;
      // What it made itself before anybody had kept anything; after that it looks again.
      const ownCa = {
        makesRoot: true,
        first: async (): Promise<PluggedCa> => {
          const given = next ?? (await first(store));
          next = undefined;
          return given;
        },
      };
      opened.push(await openBelow(ownCa, store, async (ca) => await open(store, ca)));
    }
    const fingerprints = opened.map(({ rotation }) => rotation.signing.fingerprint);
    expect(fingerprints).toEqual([made[0]?.root.fingerprint, made[0]?.root.fingerprint]);
  });

  it('a CA with a certificate that nobody trusts is still refused', async () => {
    const store = sharedStore();
    await open(store, await first(store));
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const otherKey = memoryKey(other.privateKey, other.publicKey);
    const root = await rootOfKey(otherKey, undefined, trustDomain, Date.now());
    const rules = { trustDomain, nowMs: Date.now(), dnsNames: ['cp.example'], ipAddresses: [] };
    const ca = await checkCa({ certificates: [root], roots: [], key: otherKey, where: 'ca.pem' }, rules);
    const ownCa = { makesRoot: false, first: async (): Promise<PluggedCa> => await Promise.resolve(ca) };
    await expect(openBelow(ownCa, store, async (given) => await open(store, given))).rejects.toMatchObject({
      code: 'ca-replaced',
    });
  });
});
