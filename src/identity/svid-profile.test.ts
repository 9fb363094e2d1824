import 'reflect-metadata';
import { ExtendedKeyUsage, Extension, KeyUsageFlags } from '@peculiar/x509';
import { beforeAll, describe, expect, it } from 'vitest';
import { type Deviation, FAKE_NOW_MS, FakeCa, type Made } from '../../test/fake/ca.ts';
import {
  checkLeaf,
  checkSigningCertificate,
  SpiffeId,
  TrustBundle,
  TrustDomain,
  verifySvid,
} from './index.ts';

const td = TrustDomain.parse('example.org');
const other = TrustDomain.parse('other.org');
const id = SpiffeId.workload(td, 'shop', 'web');
const SECOND_MS = 1000;
let root: FakeCa;

beforeAll(async () => {
  root = await FakeCa.root(td);
});

const leaf = async (deviation: Deviation): Promise<Buffer> => (await root.leaf(id, deviation)).der;
const code = (expected: string): unknown =>
  expect.objectContaining({ name: 'IdentityError', code: expected });
const bundles =
  (...known: readonly TrustBundle[]) =>
  (name: string): TrustBundle | undefined =>
    known.find(({ trustDomain }) => trustDomain.name === name);
const verify = (
  chain: readonly Uint8Array[],
  bundle: TrustBundle = root.bundle(),
  nowMs = FAKE_NOW_MS,
): SpiffeId => verifySvid({ chain, bundles: bundles(bundle), nowMs });

describe('X509-SVID, leaf', () => {
  it('X-1: exactly one URI name, the SPIFFE ID; DNS names may stand beside it', async () => {
    expect(checkLeaf(await leaf({})).uri).toBe(id.uri);
    expect(checkLeaf(await leaf({ dnsNames: ['web.shop.svc', 'web'] })).uri).toBe(id.uri);
    const none = await leaf({ uris: [], dnsNames: ['web'] });
    expect(() => checkLeaf(none)).toThrow(/no URI name/);
    const nothing = await leaf({ uris: [] });
    expect(() => checkLeaf(nothing)).toThrow(code('certificate-profile'));
  });

  it('X-2: two URI names are refused, equal ones too', async () => {
    for (const uris of [
      [id.uri, 'spiffe://example.org/b'],
      [id.uri, 'https://example.org'],
      [id.uri, id.uri],
    ]) {
      const der = await leaf({ uris });
      expect(() => checkLeaf(der)).toThrow(/2 URI names/);
    }
  });

  it('X-3: a leaf has an ID with a path', async () => {
    const der = await leaf({ uris: [td.id.uri] });
    expect(() => checkLeaf(der)).toThrow(/without a path/);
  });

  it('X-4: the names are critical where there is no subject', async () => {
    const der = await leaf({ namesCritical: false });
    expect(() => checkLeaf(der)).toThrow(/not critical/);
    expect(checkLeaf(await leaf({ namesCritical: false, subject: 'CN=web' })).uri).toBe(id.uri);
  });

  it('X-5: a leaf is no CA', async () => {
    const der = await leaf({ isAuthority: true });
    expect(() => checkLeaf(der)).toThrow(/is a CA/);
    // Absent basicConstraints mean cA = false (RFC 5280 section 4.2.1.9).
    expect(checkLeaf(await leaf({ isAuthority: null })).uri).toBe(id.uri);
  });

  it('X-6: keyUsage is there and critical', async () => {
    for (const deviation of [{ keyUsage: null }, { keyUsageCritical: false }]) {
      const der = await leaf(deviation);
      expect(() => checkLeaf(der)).toThrow(/no critical keyUsage/);
    }
  });

  it('X-7: keyUsage has digitalSignature', async () => {
    const der = await leaf({ keyUsage: [KeyUsageFlags.keyAgreement] });
    expect(() => checkLeaf(der)).toThrow(/without digitalSignature/);
  });

  it('X-8: keyEncipherment and keyAgreement may be there too', async () => {
    const keyUsage = [
      KeyUsageFlags.digitalSignature,
      KeyUsageFlags.keyEncipherment,
      KeyUsageFlags.keyAgreement,
    ];
    expect(checkLeaf(await leaf({ keyUsage })).uri).toBe(id.uri);
  });

  it('X-9: keyCertSign and cRLSign must not be', async () => {
    for (const flag of [KeyUsageFlags.keyCertSign, KeyUsageFlags.cRLSign]) {
      const der = await leaf({ keyUsage: [KeyUsageFlags.digitalSignature, flag] });
      expect(() => checkLeaf(der)).toThrow(/may sign/);
    }
  });

  it('X-10: a leaf without extendedKeyUsage is taken (it should have one; ours do, see the authority)', async () => {
    expect(checkLeaf(await leaf({ extendedKeyUsage: null })).uri).toBe(id.uri);
  });

  it('X-11: extendedKeyUsage has both serverAuth and clientAuth', async () => {
    for (const purpose of [
      ExtendedKeyUsage.serverAuth,
      ExtendedKeyUsage.clientAuth,
      ExtendedKeyUsage.codeSigning,
    ]) {
      const der = await leaf({ extendedKeyUsage: [purpose] });
      expect(() => checkLeaf(der)).toThrow(/without both serverAuth and clientAuth/);
    }
  });
});

describe('X509-SVID, signing certificate', () => {
  const signer = async (deviation: Deviation): Promise<Buffer> => (await FakeCa.root(td, deviation)).der;

  it('X-20: cA is true, keyUsage is critical and has keyCertSign', async () => {
    expect(checkSigningCertificate(root.der).name).toBe(td.name);
    expect(checkSigningCertificate(await signer({ keyUsage: [KeyUsageFlags.keyCertSign] })).name).toBe(
      td.name,
    );
    const bad: readonly [Deviation, RegExp][] = [
      [{ isAuthority: false }, /not a CA/],
      [{ isAuthority: null }, /not a CA/],
      [{ keyUsage: null }, /no critical keyUsage/],
      [{ keyUsageCritical: false }, /no critical keyUsage/],
      [{ keyUsage: [KeyUsageFlags.cRLSign] }, /without keyCertSign/],
    ];
    for (const [deviation, message] of bad) {
      const der = await signer(deviation);
      expect(() => checkSigningCertificate(der)).toThrow(message);
    }
  });

  it('X-21: it should have a SPIFFE ID: asked for one it must, in a path it need not', async () => {
    const bare = await FakeCa.root(td, { uris: [] });
    expect(() => checkSigningCertificate(bare.der)).toThrow(/no SPIFFE ID/);
    expect(verify([(await bare.leaf(id)).der], bare.bundle()).uri).toBe(id.uri);
  });

  it('X-22: its SPIFFE ID has no path and is of the trust domain that it signs for', async () => {
    const der = await signer({ uris: [id.uri] });
    expect(() => checkSigningCertificate(der)).toThrow(/must not have one/);
    const foreign = await root.intermediate({}, other);
    const chain = [(await foreign.leaf(id)).der, foreign.der];
    expect(() => verify(chain)).toThrow(code('chain-constraint'));
    const pathed = await root.intermediate({ uris: [id.uri] });
    const pathedChain = [(await pathed.leaf(id)).der, pathed.der];
    expect(() => verify(pathedChain)).toThrow(/must not have one/);
  });

  it('X-23: it authenticates nobody', async () => {
    expect(() => checkLeaf(root.der)).toThrow(/is a CA/);
    const intermediate = await root.intermediate();
    expect(() => verify([intermediate.der])).toThrow(/is a CA/);
    expect(() => verify([root.der])).toThrow(/is a CA/);
  });

  it('X-24: pathLenConstraint and URI nameConstraints are honoured, extendedKeyUsage does no harm', async () => {
    const short = await FakeCa.root(td, { pathLength: 0, extendedKeyUsage: [ExtendedKeyUsage.clientAuth] });
    expect(verify([(await short.leaf(id)).der], short.bundle()).uri).toBe(id.uri);
    const intermediate = await short.intermediate();
    const chain = [(await intermediate.leaf(id)).der, intermediate.der];
    expect(() => verify(chain, short.bundle())).toThrow(/allows 0 intermediates below it, and there are 1/);
  });

  it.each([
    ['permits the host', 'a0', 'example.org', true],
    ['permits another host', 'a0', 'other.org', false],
    ['permits hosts below', 'a0', '.org', true],
    ['permits hosts below the very host', 'a0', '.example.org', false],
    ['excludes the host', 'a1', 'example.org', false],
    ['excludes another host', 'a1', 'ample.org', true],
  ])('X-24: URI nameConstraints: %s', async (_title, kind, host, accepted) => {
    const constrained = await root.intermediate({ extensions: [nameConstraints(kind, 0x86, host)] });
    const chain = [(await constrained.leaf(id)).der, constrained.der];
    if (accepted) expect(verify(chain).uri).toBe(id.uri);
    else expect(() => verify(chain)).toThrow(code('chain-constraint'));
  });

  it('X-24: nameConstraints of another form are refused where they apply to a name', async () => {
    const constrained = await root.intermediate({ extensions: [nameConstraints('a0', 0x82, 'example.org')] });
    const named = [(await constrained.leaf(id, { dnsNames: ['a.example.org'] })).der, constrained.der];
    expect(() => verify(named)).toThrow(/not supported/);
    const unnamed = [(await constrained.leaf(id)).der, constrained.der];
    expect(verify(unnamed).uri).toBe(id.uri);
  });
});

describe('X509-SVID, validation', () => {
  let intermediate: FakeCa;
  let made: Made;
  beforeAll(async () => {
    intermediate = await root.intermediate();
    made = await intermediate.leaf(id);
  });

  it('X-30: a path of leaf, intermediates and root is followed', async () => {
    const deeper = await intermediate.intermediate({ subject: 'CN=deeper' });
    expect(verify([made.der, intermediate.der]).uri).toBe(id.uri);
    expect(verify([(await root.leaf(id)).der]).uri).toBe(id.uri);
    expect(verify([(await deeper.leaf(id)).der, deeper.der, intermediate.der]).uri).toBe(id.uri);
    expect(verify([made.der, intermediate.der, root.der]).uri).toBe(id.uri);
  });

  it('X-30: an empty chain, a gap, a wrong order and an endless chain are refused', async () => {
    expect(() => verify([])).toThrow(code('chain-empty'));
    expect(() => verify([made.der])).toThrow(code('chain-untrusted'));
    const deeper = await intermediate.intermediate({ subject: 'CN=deeper' });
    const { der } = await deeper.leaf(id);
    expect(() => verify([der, intermediate.der, deeper.der])).toThrow(code('chain-untrusted'));
    expect(() => verify(Array.from({ length: 9 }, () => made.der))).toThrow(code('chain-too-long'));
  });

  it('X-30: a signature of another key under the same name is refused', async () => {
    const impostor = await FakeCa.root(td);
    const { der } = await impostor.leaf(id);
    expect(() => verify([der])).toThrow(code('chain-untrusted'));
    const twin = await impostor.intermediate();
    expect(() => verify([made.der, twin.der])).toThrow(code('chain-untrusted'));
  });

  it('X-30, ID-19: any changed byte is refused', async () => {
    const { der } = await root.leaf(id);
    for (let at = 0; at < der.length; at += 1) {
      const changed = Buffer.from(der);
      changed[at] = (changed[at] ?? 0) ^ 0x01;
      expect(() => verify([changed]), `byte ${at}`).toThrow(
        expect.objectContaining({ name: 'IdentityError' }),
      );
    }
  });

  it('X-30: validity is checked on leaf, intermediate and root, to the second', async () => {
    const window = { notBeforeMs: FAKE_NOW_MS, notAfterMs: FAKE_NOW_MS + 10 * SECOND_MS };
    const short = await root.intermediate(window);
    const shortRoot = await FakeCa.root(td, window);
    const chains: readonly [readonly Buffer[], TrustBundle][] = [
      [[(await root.leaf(id, window)).der], root.bundle()],
      [[(await short.leaf(id)).der, short.der], root.bundle()],
      [[(await shortRoot.leaf(id)).der], shortRoot.bundle()],
    ];
    for (const [chain, bundle] of chains) {
      expect(() => verify(chain, bundle, FAKE_NOW_MS - 1)).toThrow(code('certificate-not-yet-valid'));
      expect(verify(chain, bundle, FAKE_NOW_MS).uri).toBe(id.uri);
      expect(verify(chain, bundle, FAKE_NOW_MS + 11 * SECOND_MS - 1).uri).toBe(id.uri);
      expect(() => verify(chain, bundle, FAKE_NOW_MS + 11 * SECOND_MS)).toThrow(code('certificate-expired'));
    }
  });

  it('X-30: a leaf signs nothing, neither does an intermediate without the right to', async () => {
    const powerless = await root.intermediate({ keyUsage: [KeyUsageFlags.digitalSignature] });
    const noCa = await root.intermediate({ isAuthority: false });
    for (const signer of [powerless, noCa]) {
      const chain = [(await signer.leaf(id)).der, signer.der];
      expect(() => verify(chain)).toThrow(code('certificate-profile'));
    }
  });

  it('X-30: pathLenConstraint of an intermediate is honoured', async () => {
    const last = await root.intermediate({ pathLength: 0 });
    const deeper = await last.intermediate({ subject: 'CN=deeper' });
    expect(verify([(await last.leaf(id)).der, last.der]).uri).toBe(id.uri);
    const chain = [(await deeper.leaf(id)).der, deeper.der, last.der];
    expect(() => verify(chain)).toThrow(code('chain-constraint'));
  });

  it('X-30: an unknown critical extension is refused, an unknown other one is not', async () => {
    const extension = (critical: boolean): Extension =>
      new Extension('1.3.6.1.4.1.99999.1', critical, Buffer.of(5, 0));
    const critical = await leaf({ extensions: [extension(true)] });
    expect(() => verify([critical])).toThrow(/1\.3\.6\.1\.4\.1\.99999\.1, which is not understood/);
    expect(verify([await leaf({ extensions: [extension(false)] })]).uri).toBe(id.uri);
  });

  it('X-30: an extension that stands twice is refused', async () => {
    const der = await leaf({ extensions: [new Extension('2.5.29.19', false, Buffer.of(0x30, 0))] });
    expect(() => verify([der])).toThrow(/2\.5\.29\.19 twice/);
  });

  it('X-30: a signature with SHA-1 is refused', async () => {
    const der = await leaf({ hash: 'SHA-1' });
    expect(() => verify([der])).toThrow(/algorithm 1\.2\.840\.10045\.4\.1;/);
  });

  it('X-30: what follows a certificate, or is cut off from it, is refused', () => {
    expect(() => verify([Buffer.concat([made.der, Buffer.of(0)]), intermediate.der])).toThrow(
      code('der-malformed'),
    );
    expect(() => verify([Buffer.concat([made.der, intermediate.der])])).toThrow(code('der-malformed'));
    for (let length = 0; length < made.der.length; length += 7) {
      const cut = made.der.subarray(0, length);
      expect(() => verify([cut, intermediate.der]), `${length} bytes`).toThrow(code('der-malformed'));
    }
  });

  it('X-31: the leaf in front of a good chain is checked: cA, keyCertSign, cRLSign, digitalSignature', async () => {
    for (const deviation of [
      { isAuthority: true },
      { keyUsage: [KeyUsageFlags.digitalSignature, KeyUsageFlags.keyCertSign] },
      { keyUsage: [KeyUsageFlags.digitalSignature, KeyUsageFlags.cRLSign] },
      { keyUsage: [KeyUsageFlags.keyEncipherment] },
    ]) {
      const der = await leaf(deviation);
      expect(() => verify([der])).toThrow(code('certificate-profile'));
    }
  });

  it('X-32: the scheme is spiffe and the path is not empty', async () => {
    const https = await leaf({ uris: ['https://example.org/ns/shop/sa/web'] });
    expect(() => verify([https])).toThrow(code('spiffe-id-scheme'));
    const rootPath = await leaf({ uris: ['spiffe://example.org'] });
    expect(() => verify([rootPath])).toThrow(/without a path/);
    const slash = await leaf({ uris: ['spiffe://example.org/'] });
    expect(() => verify([slash])).toThrow(code('spiffe-id-path'));
  });

  it('X-33: two URI names are refused', async () => {
    const der = await leaf({ uris: [id.uri, 'spiffe://example.org/ns/shop/sa/admin'] });
    expect(() => verify([der])).toThrow(/2 URI names/);
  });

  it("X-34: only the bundle of the SVID's own trust domain counts", async () => {
    const foreign = await FakeCa.root(other);
    const { der } = await foreign.leaf(id);
    // Signed by a root that is trusted, but for another trust domain.
    expect(() =>
      verifySvid({ chain: [der], bundles: bundles(root.bundle(), foreign.bundle()), nowMs: FAKE_NOW_MS }),
    ).toThrow(code('chain-untrusted'));
    expect(() => verify([made.der, intermediate.der], foreign.bundle())).toThrow(code('bundle-missing'));
    // A lookup that answers with the wrong bundle.
    expect(() => verifySvid({ chain: [der], bundles: () => foreign.bundle(), nowMs: FAKE_NOW_MS })).toThrow(
      code('bundle-missing'),
    );
  });

  it('takes the root that matches out of several of one name', async () => {
    const twin = await FakeCa.root(td);
    const both = TrustBundle.of({ trustDomain: td, x509Authorities: [twin.der, root.der], sequence: 2 });
    expect(verify([made.der, intermediate.der], both).uri).toBe(id.uri);
  });

  it('takes the valid one of two certificates of one root key', async () => {
    const expired = await root.again({ notAfterMs: FAKE_NOW_MS - SECOND_MS });
    const both = TrustBundle.of({ trustDomain: td, x509Authorities: [expired.der, root.der], sequence: 2 });
    expect(verify([made.der, intermediate.der], both).uri).toBe(id.uri);
  });
});

/** One subtree, of the form that `tag` says. */
function nameConstraints(kind: string, tag: number, base: string): Extension {
  const wrap = (outer: number, inner: Buffer): Buffer =>
    Buffer.concat([Buffer.of(outer, inner.length), inner]);
  const subtree = wrap(0x30, wrap(tag, Buffer.from(base)));
  return new Extension('2.5.29.30', true, wrap(0x30, wrap(Number.parseInt(kind, 16), subtree)));
}
