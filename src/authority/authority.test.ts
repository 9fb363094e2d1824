import { createPrivateKey, sign, verify, X509Certificate } from 'node:crypto';
import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { FakeCa } from '../../test/fake/ca.ts';
import {
  checkLeaf,
  checkSigningCertificate,
  SpiffeId,
  TrustBundle,
  TrustDomain,
  verifySvid,
} from '../identity/index.ts';
import {
  Authority,
  type AuthorityOptions,
  memoryKeyStore,
  renewalTime,
  type StoredAuthority,
} from './index.ts';
import { checkIssued } from './self-check.ts';

const td = TrustDomain.parse('example.org');
const id = SpiffeId.workload(td, 'shop', 'web');
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const START_MS = Date.UTC(2026, 10, 22, 12, 0, 0, 500);

const code = (expected: string): unknown =>
  expect.objectContaining({ name: 'AuthorityError', code: expected });

/** An authority whose clock the test sets, and which reads back all that it issues. */
async function world(
  options: Partial<AuthorityOptions> = {},
): Promise<{ authority: Authority; clock: { nowMs: number } }> {
  const clock = { nowMs: START_MS };
  const authority = await Authority.open({
    store: memoryKeyStore(),
    trustDomain: td,
    nowMs: () => clock.nowMs,
    svidTtlMs: HOUR_MS,
    selfCheckEvery: 1,
    ...options,
  });
  return { authority, clock };
}

const proves = (authority: Authority, chain: readonly Buffer[], nowMs: number): string =>
  verifySvid({ chain, bundles: (name) => (name === td.name ? authority.bundle : undefined), nowMs }).uri;

describe('Authority', () => {
  it('issues an SVID that proves the ID to who has the bundle', async () => {
    const { authority } = await world();
    const svid = authority.issue(id);
    expect(proves(authority, svid.chain, START_MS)).toBe(id.uri);
    expect(svid.id).toBe(id);
    const leaf = new X509Certificate(svid.chain[0]!);
    expect(svid.serial).toBe(leaf.serialNumber.toLowerCase());
    expect([svid.notBeforeMs, svid.notAfterMs]).toEqual([
      leaf.validFromDate.getTime(),
      leaf.validToDate.getTime(),
    ]);
    expect(svid.issuedAtMs).toBe(START_MS);
  });

  it('X-10, X-11: leaves have both purposes', async () => {
    const { authority } = await world();
    const leaf = new X509Certificate(authority.issue(id).chain[0]!);
    expect(leaf.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
    expect(leaf.subject).toMatch(/^dnQualifier=\d{14}\.\d{3}Z$/u);
  });

  it('X-20, X-21, X-22: root and intermediate are SVIDs of the trust domain without a path', async () => {
    const { authority } = await world();
    const { chain } = authority.issue(id);
    expect(chain).toHaveLength(2);
    for (const der of [chain[1]!, ...authority.bundle.x509Authorities]) {
      expect(checkSigningCertificate(der).name).toBe(td.name);
      const { subject, serialNumber } = new X509Certificate(der);
      expect(subject.toLowerCase()).toContain(serialNumber.toLowerCase());
    }
    expect(authority.bundle.sequence).toBe(1);
  });

  it('gives PEM that says the same as the DER, and a key that fits', async () => {
    const { authority } = await world();
    const svid = authority.issue(id);
    expect(svid.chainPem).toBe(svid.chain.map((der) => new X509Certificate(der).toString()).join(''));
    const key = createPrivateKey(svid.privateKeyPem);
    const leaf = new X509Certificate(svid.chain[0]!);
    expect(leaf.checkPrivateKey(key)).toBe(true);
    expect(key.export({ format: 'pem', type: 'pkcs8' })).toBe(svid.privateKeyPem);
    const text = Buffer.from('text');
    expect(verify('sha256', text, leaf.publicKey, sign('sha256', text, key))).toBe(true);
  });

  it('shows the private key in no log', async () => {
    const { authority } = await world();
    const svid = authority.issue(id);
    const secret = svid.privateKeyPem.split('\n')[1]!;
    for (const text of [
      inspect(svid, { depth: 9, showHidden: true, getters: false }),
      JSON.stringify({ svid }),
    ]) {
      expect(text).not.toContain(secret);
      expect(text).not.toContain('PRIVATE');
    }
    expect(JSON.stringify(svid)).toContain('[redacted]');
    expect(Object.keys(svid)).not.toContain('privateKeyPem');
  });

  it('takes another key and serial each time', async () => {
    const { authority } = await world();
    const [one, two] = [authority.issue(id), authority.issue(id)];
    expect(one.serial).not.toBe(two.serial);
    expect(one.privateKeyPem).not.toBe(two.privateKeyPem);
  });

  it('writes DNS names and addresses beside the ID', async () => {
    const { authority } = await world();
    const names = {
      dnsNames: ['web.shop.svc', '*.web', 'localhost'],
      ipAddresses: ['10.1.2.3', '2001:db8::1'],
    };
    const [leaf] = authority.issue(id, names).chain;
    expect(new X509Certificate(leaf!).subjectAltName).toBe(
      `URI:${id.uri}, DNS:web.shop.svc, DNS:*.web, DNS:localhost, IP Address:10.1.2.3, IP Address:2001:DB8:0:0:0:0:0:1`,
    );
  });

  it.each([
    '',
    'A.b',
    'a..b',
    'a.',
    '-a',
    'a b',
    'a\0b',
    'é',
    `${'a'.repeat(64)}.b`,
    'a.*',
    'x'.repeat(254),
    'a\n',
  ])('refuses the DNS name %j', async (name) => {
    const { authority } = await world();
    expect(() => authority.issue(id, { dnsNames: [name] })).toThrow(code('name-invalid'));
  });

  it.each(['', '10.1.2', '1', '010.1.2.3', '10.1.2.3/8', 'fe80::1%eth0', 'localhost'])(
    'refuses the address %j',
    async (address) => {
      const { authority } = await world();
      expect(() => authority.issue(id, { ipAddresses: [address] })).toThrow(code('name-invalid'));
    },
  );

  it('vouches for no other trust domain, and not for the trust domain itself', async () => {
    const { authority } = await world();
    expect(() => authority.issue(SpiffeId.parse('spiffe://other.org/web'))).toThrow(code('id-foreign'));
    expect(() => authority.issue(td.id)).toThrow(code('id-without-path'));
    expect(authority.issueForCsrs([{ id: td.id, csr: 'x' }])).toEqual([code('id-without-path')]);
  });

  it('begins 30 s back and ends after the life asked for', async () => {
    const { authority, clock } = await world();
    clock.nowMs += HOUR_MS;
    const svid = authority.issue(id, { ttlMs: 10 * MINUTE_MS });
    expect(svid.notBeforeMs).toBe(clock.nowMs - 500 - 30_000);
    expect(svid.notAfterMs).toBe(clock.nowMs - 500 + 10 * MINUTE_MS);
    for (const ttlMs of [0, -1, 999, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => authority.issue(id, { ttlMs })).toThrow(code('ttl-invalid'));
    }
  });

  it('never ends after its issuer, and no issuer after its own', async () => {
    const { authority } = await world({ intermediateTtlMs: 2 * HOUR_MS, rootTtlMs: HOUR_MS });
    const svid = authority.issue(id, { ttlMs: DAY_MS });
    const ends = [...svid.chain, ...authority.bundle.x509Authorities].map((der) =>
      new X509Certificate(der).validToDate.getTime(),
    );
    expect(ends[0]).toBeLessThanOrEqual(ends[1]!);
    expect(ends[1]).toBeLessThanOrEqual(ends[2]!);
    expect(svid.notAfterMs).toBe(ends[0]);
  });

  it('changes the intermediate at half of its life, and after any sleep', async () => {
    const { authority, clock } = await world();
    const first = authority.issue(id).chain[1];
    clock.nowMs = START_MS + 12 * HOUR_MS - MINUTE_MS;
    expect(authority.issue(id).chain[1]).toBe(first);
    clock.nowMs = START_MS + 12 * HOUR_MS;
    const second = authority.issue(id);
    expect(second.chain[1]).not.toBe(first);
    expect(proves(authority, second.chain, clock.nowMs)).toBe(id.uri);
    clock.nowMs += 40 * DAY_MS;
    expect(proves(authority, authority.issue(id).chain, clock.nowMs)).toBe(id.uri);
  });

  it('issues what is valid now after the clock was set back', async () => {
    const { authority, clock } = await world();
    clock.nowMs += 30 * DAY_MS;
    authority.issue(id);
    clock.nowMs -= 10 * DAY_MS;
    expect(proves(authority, authority.issue(id).chain, clock.nowMs)).toBe(id.uri);
  });

  it('issues nothing with a root that has expired or is not yet valid', async () => {
    const { authority, clock } = await world({ rootTtlMs: 2 * DAY_MS });
    clock.nowMs = START_MS + 2 * DAY_MS;
    expect(() => authority.issue(id)).toThrow(code('root-expired'));
    clock.nowMs = START_MS - HOUR_MS;
    expect(() => authority.issue(id)).toThrow(code('root-expired'));
  });

  it('issues nothing more once closed', async () => {
    const { authority } = await world();
    authority.close();
    expect(() => authority.issue(id)).toThrow(code('closed'));
  });

  it('reads back what it issues, and gives nothing out that does not hold', async () => {
    const { authority } = await world();
    const { chain } = authority.issue(id);
    const other = SpiffeId.workload(td, 'shop', 'cart');
    const candidate = { id, chain, bundle: authority.bundle, nowMs: START_MS };
    expect(() => checkIssued(candidate)).not.toThrow();
    const broken = Buffer.from(chain[0]!);
    broken[broken.length - 1]! ^= 1;
    for (const wrong of [{ id: other }, { chain: [broken, chain[1]!] }, { nowMs: START_MS + DAY_MS }]) {
      expect(() => checkIssued({ ...candidate, ...wrong })).toThrow(code('self-check-failed'));
    }
  });

  it('refuses options out of range', async () => {
    for (const options of [
      { svidTtlMs: 0 },
      { rootTtlMs: -1 },
      { intermediateTtlMs: Number.NaN },
      { selfCheckEvery: 0 },
      { keysAhead: -1 },
      { keysAhead: 1_025 },
    ]) {
      await expect(world(options)).rejects.toThrow(code('options-invalid'));
    }
  });
});

describe('Authority, restart', () => {
  it('keeps root, bundle and sequence, and old SVIDs stay good', async () => {
    const store = memoryKeyStore();
    const before = await world({ store });
    const foreign = await FakeCa.root(td);
    await before.authority.setRoots([foreign.der]);
    const svid = before.authority.issue(id);
    const after = await world({ store });
    expect(after.authority.bundle).toEqual(before.authority.bundle);
    expect(after.authority.bundle.sequence).toBe(2);
    expect(proves(after.authority, svid.chain, START_MS)).toBe(id.uri);
    // The intermediate's key was never kept.
    expect(after.authority.issue(id).chain[1]).not.toEqual(svid.chain[1]);
  });

  it('refuses a store of another trust domain', async () => {
    const store = memoryKeyStore();
    await world({ store });
    await expect(world({ store, trustDomain: TrustDomain.parse('other.org') })).rejects.toThrow(
      code('store-foreign'),
    );
  });

  it('refuses a store whose parts do not belong together', async () => {
    const stored = async (): Promise<StoredAuthority> => {
      const store = memoryKeyStore();
      await world({ store });
      return (await store.load())!;
    };
    const [one, two] = [await stored(), await stored()];
    const leaf = (await (await FakeCa.root(td)).leaf(id)).der;
    const wrong: readonly StoredAuthority[] = [
      { ...one, root: { ...one.root, privateKeyPem: two.root.privateKeyPem } },
      { ...one, root: { ...one.root, privateKeyPem: 'not a key' } },
      { ...one, root: { ...one.root, certificate: leaf } },
      { ...one, bundle: two.bundle },
      { ...one, bundle: { ...one.bundle, x509Authorities: [] } },
    ];
    for (const state of wrong) {
      const store = memoryKeyStore();
      await store.save(state);
      await expect(world({ store })).rejects.toThrow(code('store-corrupted'));
      expect(await store.load()).toBe(state);
    }
  });

  it('opens nothing when the first root cannot be kept', async () => {
    const failing = { ...memoryKeyStore(), save: () => Promise.reject(new Error('disk full')) };
    await expect(world({ store: failing })).rejects.toThrow('disk full');
  });
});

describe('Authority.setRoots', () => {
  it('keeps what it adds to the bundle, then tells', async () => {
    const store = memoryKeyStore();
    const { authority } = await world({ store });
    const told: number[] = [];
    const stop = authority.onBundleChange((bundle) => told.push(bundle.sequence));
    const extra = await FakeCa.root(td);
    await authority.setRoots([extra.der]);
    expect(authority.bundle.hasAuthority(extra.der)).toBe(true);
    expect((await store.load())?.bundle.sequence).toBe(2);
    await authority.setRoots([extra.der]);
    expect(told).toEqual([2]);
    stop();
    await authority.setRoots([(await FakeCa.root(td)).der]);
    expect(told).toEqual([2]);
  });

  it('changes nothing where the change cannot be kept', async () => {
    const store = memoryKeyStore();
    const { authority } = await world({ store });
    store.save = () => Promise.reject(new Error('disk full'));
    await expect(authority.setRoots([(await FakeCa.root(td)).der])).rejects.toThrow('disk full');
    expect(authority.bundle.x509Authorities).toHaveLength(1);
  });

  it('loses none of two changes made at once', async () => {
    const store = memoryKeyStore();
    const { authority } = await world({ store });
    const extra = await FakeCa.root(td);
    await Promise.all([authority.prepareRotation(), authority.setRoots([extra.der])]);
    expect(authority.rotation.step).toBe('prepared');
    expect(authority.bundle.x509Authorities).toHaveLength(3);
    expect((await store.load())?.bundle.x509Authorities).toHaveLength(3);
  });

  it('refuses what is no root', async () => {
    const { authority } = await world();
    const { der } = await (await FakeCa.root(td)).leaf(id);
    await expect(authority.setRoots([der])).rejects.toThrow(/not a CA/);
    expect(checkLeaf(der).uri).toBe(id.uri);
    expect(authority.bundle).toBeInstanceOf(TrustBundle);
  });
});

describe('renewalTime', () => {
  it('is half-life, 10 % earlier or later', () => {
    const svid = { notBeforeMs: 0, notAfterMs: 100_000 };
    expect(renewalTime(svid, () => 0)).toBe(45_000);
    expect(renewalTime(svid, () => 0.5)).toBe(50_000);
    expect(renewalTime(svid, () => 1)).toBe(55_000);
  });

  it('counts from the issuance where it is known', () => {
    expect(renewalTime({ notBeforeMs: 0, notAfterMs: 100_000, issuedAtMs: 50_000 }, () => 0.5)).toBe(75_000);
  });
});
