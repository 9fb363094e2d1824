import { execFileSync } from 'node:child_process';
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import 'reflect-metadata';
import { Extension, KeyUsageFlags } from '@peculiar/x509';
import { describe, expect, it } from 'vitest';
import { operatorCa, type CaOptions, type OperatorCa } from '../../test/harness/operator-ca.ts';
import { SpiffeId, TrustDomain, verifySvid } from '../identity/index.ts';
import { Authority } from './authority.ts';
import { caParts } from './ca-material.ts';
import { AuthorityError } from './errors.ts';
import { memoryKeyStore, type KeyStore } from './key-store.ts';
import { checkCa, type PluggedCa } from './plugged-ca.ts';
import { memoryKey } from './signature.ts';

const trustDomain = TrustDomain.parse('mesh.example');
const web = SpiffeId.workload(trustDomain, 'shop', 'web');
const day = 24 * 3_600_000;

/** As its operator would give it. */
interface Given {
  readonly signer: OperatorCa;
  readonly above?: readonly OperatorCa[];
  readonly roots?: readonly OperatorCa[];
}

async function check({ signer, above = [], roots = [] }: Given, nowMs = Date.now()): Promise<PluggedCa> {
  const pem = (list: readonly OperatorCa[]): string => list.map((ca) => ca.pem).join('');
  const material = { certificates: pem([signer, ...above]), key: signer.keyPem, roots: pem(roots) };
  return await checkCa(caParts(material, 'ca.pem'), {
    trustDomain,
    nowMs,
    dnsNames: ['cp.example'],
    ipAddresses: ['127.0.0.1'],
  });
}

async function refusal(given: Given | Promise<unknown>): Promise<AuthorityError> {
  const error: unknown = await ('signer' in given ? check(given) : given).catch((cause: unknown) => cause);
  if (error instanceof AuthorityError) return error;
  throw new Error('it was not refused', { cause: error });
}

async function expectRefused(given: Given | Promise<unknown>, code: string, says: RegExp): Promise<void> {
  const error = await refusal(given);
  expect([error.code, error.message]).toEqual([code, expect.stringMatching(says)]);
}

async function below(root: OperatorCa, options: Partial<CaOptions> = {}): Promise<Given> {
  return { signer: await operatorCa({ name: 'Issuing', by: root, ...options }), roots: [root] };
}

async function open(
  ca: PluggedCa,
  store: KeyStore = memoryKeyStore(),
  nowMs: number = Date.now(),
): Promise<Authority> {
  return await Authority.open({
    store,
    trustDomain,
    ca,
    nowMs: () => nowMs,
    svidTtlMs: 3_600_000,
    selfCheckEvery: 1,
  });
}

function tlv(tag: number, content: Buffer): Buffer {
  return Buffer.concat([Buffer.of(tag, content.length), content]);
}

function nameConstraints(permittedUri: string): Extension {
  const name = tlv(0x86, Buffer.from(permittedUri));
  return new Extension('2.5.29.30', true, tlv(0x30, tlv(0xa0, tlv(0x30, name))));
}

/** As many CAs have it that are to sign for names alone: no IPv4 address whatever. */
function noAddresses(): Extension {
  const everyAddress = tlv(0x87, Buffer.alloc(8));
  return new Extension('2.5.29.30', true, tlv(0x30, tlv(0xa1, tlv(0x30, everyAddress))));
}

describe("an operator's CA", () => {
  it.each(['P-256', 'P-384', 'RSA-2048', 'RSA-3072'] as const)(
    'signs with a root of %s, and by an intermediate below it that may or may not have another one',
    async (key) => {
      const root = await operatorCa({ name: 'Root', key });
      const issuing = await operatorCa({ name: 'Issuing', key, by: root, pathLength: 1 });
      const last = await operatorCa({ name: 'Last', key, by: issuing, pathLength: 0 });
      const forms: readonly [Given, number][] = [
        [{ signer: root }, 2],
        [{ signer: issuing, roots: [root] }, 3],
        [{ signer: last, above: [issuing], roots: [root] }, 3],
        [{ signer: last, above: [issuing, root], roots: [root] }, 3],
      ];
      for (const [given, length] of forms) {
        const authority = await open(await check(given));
        const { chain, notAfterMs } = authority.issue(web);
        expect(chain).toHaveLength(length);
        const bundles = (): typeof authority.bundle => authority.bundle;
        expect(verifySvid({ chain, bundles, nowMs: Date.now() }).uri).toBe(web.uri);
        expect(authority.bundle.x509Authorities).toEqual([root.der]);
        expect(notAfterMs).toBeLessThanOrEqual(authority.signer.notAfterMs);
      }
    },
    60_000,
  );

  it.each(['P-521', 'Ed25519'] as const)('stands below a root of %s, which Envoy verifies', async (key) => {
    const root = await operatorCa({ name: 'Root', key });
    const authority = await open(await check(await below(root)));
    expect(authority.issue(web).chain).toHaveLength(3);
  });

  it('is never outlived by what it signs', async () => {
    const root = await operatorCa({ name: 'Root', notAfter: new Date(Date.now() + 10 * 60_000) });
    for (const pathLength of [0, 1]) {
      const given = await below(root, { pathLength, notAfter: new Date(Date.now() + day) });
      const authority = await open(await check(given));
      expect(authority.issue(web).notAfterMs).toBeLessThanOrEqual(root.certificate.notAfter.getTime());
    }
  });

  it('leaves no key in the store, and opens again from there', async () => {
    const store = memoryKeyStore();
    const ca = await check(await below(await operatorCa({ name: 'Root' })));
    const first = await open(ca, store);
    expect((await store.load())?.root.privateKeyPem).toBeUndefined();
    const second = await open(ca, store);
    expect(second.bundle).toEqual(first.bundle);
    const bare = Authority.open({ store, trustDomain, nowMs: Date.now, svidTtlMs: 3_600_000 });
    await expectRefused(bare, 'ca-missing', /--ca-cert/u);
  });

  it('is refused at a start where nobody trusts its root yet', async () => {
    const store = memoryKeyStore();
    await open(await check({ signer: await operatorCa({ name: 'Root' }) }), store);
    const other = await check({ signer: await operatorCa({ name: 'Other' }) });
    await expectRefused(open(other, store), 'ca-replaced', /Put the former CA back/u);
  });

  it('signs at once at a start where the root that nobody else follows has ended', async () => {
    const store = memoryKeyStore();
    const first = await open(await check({ signer: await operatorCa({ name: 'Root' }) }), store);
    const afterwards = first.rotation.signing.notAfterMs;
    const later = { notBefore: new Date(afterwards - day), notAfter: new Date(afterwards + 30 * day) };
    const other = await check({ signer: await operatorCa({ name: 'Other', ...later }) }, afterwards);
    await expectRefused(open(other, store, afterwards - 1_000), 'ca-replaced', /Put the former CA back/u);
    const second = await open(other, store, afterwards);
    expect(second.bundle.x509Authorities).toEqual([other.root.certificate]);
    expect(second.bundle.sequence).toBe(first.bundle.sequence + 1);
    const { chain } = second.issue(web);
    expect(verifySvid({ chain, bundles: () => second.bundle, nowMs: afterwards }).uri).toBe(web.uri);
    expect((await store.load())?.bundle.sequence).toBe(second.bundle.sequence);
  });
});

describe("an operator's CA is refused", () => {
  it('with the key of another certificate', async () => {
    const [one, two] = [await operatorCa({ name: 'One' }), await operatorCa({ name: 'Two' })];
    const material = { certificates: one.pem, key: two.keyPem, roots: '' };
    const rules = { trustDomain, nowMs: Date.now(), dnsNames: [], ipAddresses: [] };
    await expectRefused(
      checkCa(caParts(material, 'ca.pem'), rules),
      'ca-key-mismatch',
      /belongs to another certificate.*One/u,
    );
  });

  it('where a key only claims to be that of the certificate', async () => {
    const [one, two] = [await operatorCa({ name: 'One' }), await operatorCa({ name: 'Two' })];
    const key = memoryKey(createPrivateKey(two.keyPem), createPublicKey(createPrivateKey(one.keyPem)));
    const parts = { certificates: [one.der], roots: [], key, where: 'token' };
    const rules = { trustDomain, nowMs: Date.now(), dnsNames: [], ipAddresses: [] };
    await expectRefused(checkCa(parts, rules), 'ca-constrained', /whether its key answers for another one/u);
  });

  it.each([
    ['P-521', /ec secp521r1, and ECDSA P-256 or P-384/u],
    ['RSA-1024', /rsa of 1024 bits/u],
    ['Ed25519', /ed25519/u],
  ] as const)('with a key of %s', async (key, says) => {
    await expectRefused({ signer: await operatorCa({ name: 'Root', key }) }, 'ca-key-refused', says);
  });

  it('below an RSA key of 1024 bits', async () => {
    const given = await below(await operatorCa({ name: 'Root', key: 'RSA-1024' }));
    await expectRefused(
      given,
      'ca-key-refused',
      /root 1 .* is rsa of 1024 bits, and .*2048 to 8192 bits is allowed/u,
    );
  });

  it.each(['secp256k1', 'prime192v1'])('below a curve that Envoy does not verify: %s', async (curve) => {
    const folder = mkdtempSync(join(tmpdir(), 'countersign-chain-'));
    const openssl = (...args: readonly string[]): string =>
      execFileSync('openssl', args, { cwd: folder, encoding: 'utf8', stdio: 'pipe' });
    const extensions = ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign'];
    try {
      const key = ['-newkey', 'ec', '-pkeyopt', `ec_paramgen_curve:${curve}`, '-nodes', '-keyout', 'key.pem'];
      const added = extensions.flatMap((one) => ['-addext', one]);
      const roots = openssl('req', '-x509', ...key, '-subj', '/CN=Above', ...added);
      const issuing = await operatorCa({ name: 'Issuing' });
      const publicKey = createPublicKey(createPrivateKey(issuing.keyPem));
      writeFileSync(join(folder, 'root.pem'), roots);
      writeFileSync(join(folder, 'public.pem'), publicKey.export({ format: 'pem', type: 'spki' }));
      writeFileSync(join(folder, 'ca.cnf'), extensions.join('\n'));
      const by = ['-CA', 'root.pem', '-CAkey', 'key.pem', '-extfile', 'ca.cnf', '-days', '1'];
      const given = ['-subj', '/CN=Issuing', '-force_pubkey', 'public.pem'];
      const material = { certificates: openssl('x509', '-new', ...given, ...by), key: issuing.keyPem, roots };
      const rules = { trustDomain, nowMs: Date.now(), dnsNames: [], ipAddresses: [] };
      await expectRefused(
        checkCa(caParts(material, 'ca.pem'), rules),
        'ca-key-refused',
        new RegExp(`root 1 .*CN=Above.* is ec ${curve}, and ECDSA P-256, P-384 or P-521, `, 'u'),
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('below an RSA key that is larger than is allowed', async () => {
    // No such key exists: it is looked at before what it signed.
    const n = Buffer.alloc(2048, 0xff).toString('base64url');
    const publicKey = createPublicKey({ format: 'jwk', key: { kty: 'RSA', n, e: 'AQAB' } });
    const root = await operatorCa({ name: 'Large', publicKey });
    await expectRefused(await below(root), 'ca-key-refused', /CN=Large.* is rsa of 16384 bits/u);
  });

  it('where it is no CA, or its keyUsage does not let it sign', async () => {
    const root = await operatorCa({ name: 'Root' });
    await expectRefused(await below(root, { isAuthority: false }), 'ca-not-authority', /is not a CA/u);
    const keyUsage = KeyUsageFlags.digitalSignature;
    await expectRefused(await below(root, { keyUsage }), 'ca-not-authority', /without keyCertSign/u);
  });

  it('where it signs for another trust domain, or one of its roots does', async () => {
    const uris = ['spiffe://other.example'];
    const root = await operatorCa({ name: 'Root' });
    await expectRefused(
      await below(root, { uris }),
      'ca-foreign',
      /other\.example, and this one is mesh\.example/u,
    );
    const foreign = await operatorCa({ name: 'Foreign', uris });
    await expectRefused({ signer: root, roots: [root, foreign] }, 'ca-foreign', /Foreign/u);
  });

  it('where its chain leads to no root that was given', async () => {
    const root = await operatorCa({ name: 'Root' });
    const middle = await operatorCa({ name: 'Middle', by: root });
    const signer = await operatorCa({ name: 'Issuing', by: middle });
    const stranger = await operatorCa({ name: 'Root' });
    await expectRefused({ signer, roots: [root] }, 'ca-untrusted', /nothing given has signed "CN=Issuing"/u);
    await expectRefused({ signer, above: [middle], roots: [stranger] }, 'ca-untrusted', /CN=Middle/u);
    await expectRefused({ signer, above: [middle] }, 'ca-untrusted', /none was given/u);
    await expectRefused({ signer, above: [middle], roots: [middle] }, 'ca-untrusted', /is not self-signed/u);
  });

  it('with a certificate that is not part of its chain', async () => {
    const root = await operatorCa({ name: 'Root' });
    const stray = await operatorCa({ name: 'Stray', by: root });
    await expectRefused(
      { ...(await below(root)), above: [stray] },
      'ca-malformed',
      /CN=Stray.*leave it out/u,
    );
  });

  it('where a path length above it leaves no room', async () => {
    const root = await operatorCa({ name: 'Root', pathLength: 0 });
    await expectRefused(await below(root), 'ca-path-length', /fewer signing certificates/u);
  });

  it('with a key in a token that would have to sign every leaf', async () => {
    const given = await below(await operatorCa({ name: 'Root' }), { pathLength: 0 });
    const key = createPrivateKey(given.signer.keyPem);
    const { privateKey: _, ...token } = memoryKey(key, createPublicKey(key));
    const roots = (given.roots ?? []).map(({ der }) => der);
    const parts = { certificates: [given.signer.der], roots, key: token, where: 'token' };
    const rules = { trustDomain, nowMs: Date.now(), dnsNames: [], ipAddresses: [] };
    await expectRefused(checkCa(parts, rules), 'ca-path-length', /give it a pathlen of 1/u);
  });

  it('before it is valid, and after, wherever in its chain', async () => {
    const past = new Date(Date.now() - day);
    const future = new Date(Date.now() + day);
    const root = await operatorCa({ name: 'Root', notBefore: new Date(0) });
    const ended = { notBefore: new Date(0), notAfter: past };
    await expectRefused(
      await below(root, { notBefore: future }),
      'ca-not-valid',
      /CN=Issuing.*is valid from/u,
    );
    await expectRefused(await below(root, ended), 'ca-not-valid', /CN=Issuing.*renew it/u);
    await expectRefused(
      await below(await operatorCa({ name: 'Root', ...ended })),
      'ca-not-valid',
      /CN=Root/u,
    );
  });

  it('where a constraint leaves the trust domain out, or a purpose its use', async () => {
    const root = await operatorCa({ name: 'Root' });
    const extensions = [nameConstraints('other.example')];
    await expectRefused(await below(root, { extensions }), 'ca-constrained', /would not be accepted/u);
    await expect(
      check(await below(root, { extensions: [nameConstraints('mesh.example')] })),
    ).resolves.toBeDefined();
    await expectRefused(
      await below(root, { extensions: [noAddresses()] }),
      'ca-constrained',
      /apply to a name that is no URI/u,
    );
    const purposes = ['1.3.6.1.5.5.7.3.1'];
    await expectRefused(
      await below(root, { purposes }),
      'ca-constrained',
      /without serverAuth and clientAuth/u,
    );
  });

  it('where there is nothing to read, and none of a key is told', async () => {
    const root = await operatorCa({ name: 'Root' });
    const secret = root.keyPem.split('\n')[1] ?? '';
    const given = { certificates: root.pem, key: root.keyPem, roots: '' };
    const bad = [
      [{ ...given, certificates: 'nothing' }, /There is no certificate/u],
      [{ ...given, certificates: root.pem.replace(/M\w{40}/u, 'MIIB') }, /is not readable/u],
      [{ ...given, key: root.pem }, /There is no private key/u],
      [{ ...given, key: root.keyPem.replace(/\n/gu, 'x') }, /There is no private key/u],
      [{ ...given, key: root.keyPem.replaceAll('PRIVATE', 'ENCRYPTED PRIVATE') }, /is encrypted/u],
      [{ ...given, roots: 'nothing' }, /in the roots of ca\.pem/u],
    ] as const;
    for (const [material, says] of bad) {
      const error = await refusal(Promise.resolve().then(() => caParts(material, 'ca.pem')));
      expect([error.code, error.message]).toEqual(['ca-malformed', expect.stringMatching(says)]);
      expect(error.message).not.toContain(secret);
    }
  });
});

describe("the move to an operator's CA", () => {
  async function waiting(): Promise<{
    authority: Authority;
    store: KeyStore;
    one: PluggedCa;
    two: PluggedCa;
  }> {
    const store = memoryKeyStore();
    const one = await check({ signer: await operatorCa({ name: 'One' }) });
    const authority = await open(one, store);
    const root = await operatorCa({ name: 'Two' });
    const two = await check(await below(root, { pathLength: 0 }));
    await authority.plugIn(two);
    return { authority, store, one, two };
  }

  it('signs below the new root only after it was prepared, and leads back to the old one', async () => {
    const { authority, one, two } = await waiting();
    expect(authority.rotation.signing.fingerprint).toBe(one.root.fingerprint);
    expect(authority.waitingCa).toBe(two);
    const old = authority.bundle;
    await authority.prepareRotation();
    expect(authority.bundle.sequence).toBe(old.sequence + 1);
    expect(authority.issue(web).signedBy).toBe(one.root.fingerprint);
    await authority.activateRotation();
    expect(authority.waitingCa).toBeUndefined();
    const { chain, signedBy } = authority.issue(web);
    expect(signedBy).toBe(two.root.fingerprint);
    // Who has the old bundle alone follows by the cross certificate.
    const cross = authority.crossChainPem
      .split(/(?=-----BEGIN)/u)
      .map((pem) => caParts({ certificates: pem, key: '', roots: '' }, 'x', two.root.key).certificates);
    const whole = [...chain, ...cross.flat()];
    expect(verifySvid({ chain: whole, bundles: () => old, nowMs: Date.now() }).uri).toBe(web.uri);
    await authority.retireRotation(true);
    expect(authority.bundle.x509Authorities).toEqual([two.root.certificate]);
    expect(authority.bundle.sequence).toBe(old.sequence + 2);
  });

  it('goes on without the old CA after a restart, where the new root is trusted, and tells it', async () => {
    const { authority, store, one, two } = await waiting();
    await authority.prepareRotation();
    const { sequence } = authority.bundle;
    const told: string[] = [];
    const after = await Authority.open({
      store,
      trustDomain,
      ca: two,
      nowMs: Date.now,
      svidTtlMs: 3_600_000,
      signingObserver: {
        failed: () => {},
        recovered: () => {},
        formerGone: (signing, other) => told.push(signing, other),
      },
    });
    expect(told).toEqual([two.root.fingerprint, one.root.fingerprint]);
    expect(after.rotation).toMatchObject({
      step: 'activated',
      signing: { fingerprint: two.root.fingerprint },
    });
    expect(after.bundle.sequence).toBe(sequence);
    expect(after.bundle.x509Authorities).toHaveLength(2);
    expect((await store.load())?.rotation?.step).toBe('activated');
  });

  it('is not undone by a start with the former CA, where others share the store', async () => {
    const { authority, store, one, two } = await waiting();
    await authority.prepareRotation();
    await authority.activateRotation();
    const kept = await store.load();
    const shared: KeyStore = { ...store, shared: true };
    await expectRefused(
      open(one, shared),
      'ca-missing',
      new RegExp(`${one.root.fingerprint}, which .* have left for ${two.root.fingerprint}`, 'u'),
    );
    expect(await store.load()).toBe(kept);
    expect((await open(two, shared)).rotation.signing.fingerprint).toBe(two.root.fingerprint);
    // Alone it goes back: there is nobody whom it would take along.
    expect((await open(one, store)).rotation.signing.fingerprint).toBe(one.root.fingerprint);
  });

  it('begins where the root was one of our own, which signs until then', async () => {
    const store = memoryKeyStore();
    const own = await Authority.open({ store, trustDomain, nowMs: Date.now, svidTtlMs: 3_600_000 });
    const { fingerprint } = own.rotation.signing;
    const two = await check({ signer: await operatorCa({ name: 'Two' }) });
    const authority = await open(two, store);
    expect(authority.issue(web).signedBy).toBe(fingerprint);
    await authority.prepareRotation();
    await authority.activateRotation();
    expect(authority.issue(web).signedBy).toBe(two.root.fingerprint);
    await authority.retireRotation(true);
    expect((await store.load())?.root.privateKeyPem).toBeUndefined();
  });

  it('that was taken back stays so after a restart, and until it has been away or is begun by hand', async () => {
    const store = memoryKeyStore();
    await Authority.open({ store, trustDomain, nowMs: Date.now, svidTtlMs: 3_600_000 });
    const two = await check({ signer: await operatorCa({ name: 'Two' }) });
    const authority = await open(two, store);
    await authority.prepareRotation();
    await authority.abortRotation();
    expect(authority.isTakenBack).toBe(false);
    await authority.prepareRotation();
    await authority.abortRotation(false, true);
    expect(authority.isTakenBack).toBe(true);
    const again = await open(two, store);
    expect(again.isTakenBack).toBe(true);
    const three = await check({ signer: await operatorCa({ name: 'Three' }) });
    expect((await open(three, store)).isTakenBack).toBe(false);

    await again.prepareRotation();
    expect(again.isTakenBack).toBe(false);
    await again.activateRotation();
    // From there one step back is to where it would go on by itself.
    await again.abortRotation(false, true);
    expect([again.rotation.step, again.isTakenBack]).toEqual(['prepared', true]);
    await again.abortRotation(true, true);
    expect([again.rotation.step, again.isTakenBack]).toEqual(['steady', true]);
    await again.setRoots([]);
    expect(again.isTakenBack).toBe(false);
    expect((await store.load())?.takenBack).toBeUndefined();
  });

  it('is refused to begin where no other CA was given: roots are for the operator to make', async () => {
    const authority = await open(await check({ signer: await operatorCa({ name: 'One' }) }));
    await expectRefused(authority.prepareRotation(), 'rotation-refused', /Put it in the place/u);
  });

  it('trusts further roots of its file, and no others any more', async () => {
    const one = await operatorCa({ name: 'One' });
    const more = await operatorCa({ name: 'More' });
    const authority = await open(await check({ signer: one, roots: [one, more] }));
    expect(authority.bundle.x509Authorities).toEqual([one.der, more.der]);
    await authority.setRoots([]);
    expect(authority.bundle.x509Authorities).toEqual([one.der]);
  });
});
