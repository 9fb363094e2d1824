import { generateKeyPairSync, type KeyObject, sign, webcrypto, X509Certificate } from 'node:crypto';
import 'reflect-metadata';
import { Pkcs10CertificateRequestGenerator, SubjectAlternativeNameExtension } from '@peculiar/x509';
import { beforeAll, describe, expect, it } from 'vitest';
import { SpiffeId, TrustDomain, verifySvid } from '../identity/index.ts';
import { bitString, oid, sequence, tlv } from './der.ts';
import { Authority, AuthorityError, type CsrRequest, type IssuedChain, memoryKeyStore } from './index.ts';
import { pemBlock } from './pem.ts';

const td = TrustDomain.parse('example.org');
const id = SpiffeId.workload(td, 'shop', 'web');
const NOW_MS = Date.UTC(2026, 10, 22, 12);
const ECDSA_SHA256 = '1.2.840.10045.4.3.2';
const RSA_SHA256 = '1.2.840.113549.1.1.11';
let authority: Authority;

beforeAll(async () => {
  const store = memoryKeyStore();
  authority = await Authority.open({
    store,
    trustDomain: td,
    nowMs: () => NOW_MS,
    svidTtlMs: 3_600_000,
    selfCheckEvery: 1,
  });
});

const code = (expected: string): unknown =>
  expect.objectContaining({ name: 'AuthorityError', code: expected });
const p256 = (): { publicKey: KeyObject; privateKey: KeyObject } =>
  generateKeyPairSync('ec', { namedCurve: 'P-256' });

/** Alone. */
function issueForCsr(whose: SpiffeId, csr: string | Uint8Array): IssuedChain {
  return thrown(authority.issueForCsrs([{ id: whose, csr }])[0]);
}

function thrown(result: IssuedChain | Error | undefined): IssuedChain {
  if (result === undefined || result instanceof Error) throw result;
  return result;
}

interface Deviation {
  readonly algorithm?: string;
  readonly digest?: string;
  readonly signer?: KeyObject;
  readonly publicKeyInfo?: Buffer;
}

/** A request written by hand, so that it can be wrong. */
function request(keys: { publicKey: KeyObject; privateKey: KeyObject }, deviation: Deviation = {}): Buffer {
  const spki = deviation.publicKeyInfo ?? keys.publicKey.export({ format: 'der', type: 'spki' });
  const info = sequence(tlv(2, Buffer.of(0)), sequence(), spki, tlv(0xa0));
  const signature = sign(deviation.digest ?? 'sha256', info, deviation.signer ?? keys.privateKey);
  return sequence(info, sequence(oid(deviation.algorithm ?? ECDSA_SHA256)), bitString(signature));
}

describe('a certificate request', () => {
  it('certifies the key of a request made by another library, PEM and DER', async () => {
    const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const csr = await Pkcs10CertificateRequestGenerator.create({
      name: 'CN=whatever',
      keys,
      signingAlgorithm: algorithm,
    });
    const spki = Buffer.from(await webcrypto.subtle.exportKey('spki', keys.publicKey));
    for (const form of [csr.toString('pem'), Buffer.from(csr.rawData), new Uint8Array(csr.rawData)]) {
      const issued = issueForCsr(id, form);
      expect(verifySvid({ chain: issued.chain, bundles: () => authority.bundle, nowMs: NOW_MS }).uri).toBe(
        id.uri,
      );
      expect(new X509Certificate(issued.chain[0]!).publicKey.export({ format: 'der', type: 'spki' })).toEqual(
        spki,
      );
      expect(issued).not.toHaveProperty('privateKeyPem');
    }
  });

  it('looks at nothing else that the request asks for', async () => {
    const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const csr = await Pkcs10CertificateRequestGenerator.create({
      name: 'CN=admin',
      keys,
      signingAlgorithm: algorithm,
      extensions: [
        new SubjectAlternativeNameExtension([
          { type: 'url', value: 'spiffe://example.org/ns/shop/sa/admin' },
        ]),
      ],
    });
    const leaf = new X509Certificate(issueForCsr(id, Buffer.from(csr.rawData)).chain[0]!);
    expect(leaf.subjectAltName).toBe(`URI:${id.uri}`);
    expect(leaf.subject).toMatch(/^dnQualifier=\d{14}\.\d{3}Z$/u);
  });

  it('takes P-384 and RSA of 2048 bits', () => {
    const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' });
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const requests = [
      request(p384, { algorithm: '1.2.840.10045.4.3.3', digest: 'sha384' }),
      request(rsa, { algorithm: RSA_SHA256 }),
    ];
    for (const csr of requests) {
      const { chain } = issueForCsr(id, csr);
      expect(verifySvid({ chain, bundles: () => authority.bundle, nowMs: NOW_MS }).uri).toBe(id.uri);
    }
  });

  it.each([
    ['RSA 1024', () => generateKeyPairSync('rsa', { modulusLength: 1024 }), RSA_SHA256],
    [
      'RSA with exponent 3',
      () => generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 }),
      RSA_SHA256,
    ],
    ['secp256k1', () => generateKeyPairSync('ec', { namedCurve: 'secp256k1' }), ECDSA_SHA256],
    ['P-224', () => generateKeyPairSync('ec', { namedCurve: 'secp224r1' }), ECDSA_SHA256],
    ['P-521', () => generateKeyPairSync('ec', { namedCurve: 'P-521' }), ECDSA_SHA256],
    [
      'explicit curve parameters',
      () => generateKeyPairSync('ec', { namedCurve: 'P-256', paramEncoding: 'explicit' }),
      ECDSA_SHA256,
    ],
  ])('refuses a key: %s', (_title, make, algorithm) => {
    const csr = request(make(), { algorithm });
    expect(() => issueForCsr(id, csr)).toThrow(code('key-refused'));
  });

  it('refuses Ed25519, which Envoy does not accept', () => {
    const { publicKey } = generateKeyPairSync('ed25519');
    const csr = request(p256(), { publicKeyInfo: publicKey.export({ format: 'der', type: 'spki' }) });
    expect(() => issueForCsr(id, csr)).toThrow(code('key-refused'));
  });

  it('refuses a point that is not on the curve, and one that is compressed', () => {
    const keys = p256();
    const off = keys.publicKey.export({ format: 'der', type: 'spki' });
    off[off.length - 1] = (off.at(-1) ?? 0) ^ 1;
    expect(() => issueForCsr(id, request(keys, { publicKeyInfo: off }))).toThrow(code('key-refused'));
    const good = keys.publicKey.export({ format: 'der', type: 'spki' });
    const compressed = Buffer.concat([Buffer.of(2 + ((good.at(-1) ?? 0) & 1)), good.subarray(27, 59)]);
    const algorithm = good.subarray(2, 23);
    const csr = request(keys, { publicKeyInfo: sequence(algorithm, bitString(compressed)) });
    expect(() => issueForCsr(id, csr)).toThrow(code('key-refused'));
  });

  it("refuses a request that another key signed: nobody gets a certificate for somebody else's key", () => {
    const csr = request(p256(), { signer: p256().privateKey });
    expect(() => issueForCsr(id, csr)).toThrow(code('csr-signature'));
  });

  it('refuses a request of which any signed byte was changed', () => {
    const csr = request(p256());
    csr[10] = (csr[10] ?? 0) ^ 1;
    expect(() => issueForCsr(id, csr)).toThrow(expect.objectContaining({ name: 'AuthorityError' }));
  });

  it('refuses SHA-1, and an algorithm of another kind of key', () => {
    const sha1 = request(p256(), { algorithm: '1.2.840.10045.4.1', digest: 'sha1' });
    expect(() => issueForCsr(id, sha1)).toThrow(code('csr-algorithm'));
    expect(() => issueForCsr(id, request(p256(), { algorithm: RSA_SHA256 }))).toThrow(code('csr-algorithm'));
  });

  it.each([
    ['nothing', ''],
    ['a text', 'hello'],
    ['a certificate block', pemBlock('CERTIFICATE', Buffer.from('3000', 'hex'))],
    ['an empty block', pemBlock('CERTIFICATE REQUEST', Buffer.alloc(0))],
    ['an empty sequence', Buffer.from('3000', 'hex')],
    ['two blocks', pemBlock('CERTIFICATE REQUEST', request(p256())).repeat(2)],
    ['something after it', Buffer.concat([request(p256()), Buffer.of(0)])],
    ['17 KiB', Buffer.alloc(17 * 1024, 0x30)],
    ['a megabyte of text', '-----BEGIN CERTIFICATE REQUEST-----\n'.padEnd(1 << 20, 'A')],
  ])('refuses %s', (_title, csr) => {
    expect(() => issueForCsr(id, csr)).toThrow(code('csr-malformed'));
  });

  it('refuses every cut of a request', () => {
    const csr = request(p256());
    for (let length = 0; length < csr.length; length += 1) {
      expect(() => issueForCsr(id, csr.subarray(0, length)), `${length} bytes`).toThrow(
        code('csr-malformed'),
      );
    }
  });
});

describe('Authority.issueForCsrs', () => {
  const outcome = (result: IssuedChain | Error): string =>
    result instanceof AuthorityError ? result.code : result instanceof Error ? result.message : result.id.uri;
  const web = (csr: string | Uint8Array, ttlMs = 3_600_000): CsrRequest => ({ id, csr, ttlMs });

  it('has for each its own certificate, in their order, and for none nothing', () => {
    const keys = Array.from({ length: 20 }, p256);
    const ids = keys.map((_, at) => SpiffeId.workload(td, 'shop', `app-${at}`));
    const requests = keys.map((pair, at) => ({
      id: ids[at]!,
      csr: request(pair),
      ttlMs: 60_000 * (1 + (at % 3)),
      holder: { podUid: `uid-${at}`, node: 'node-1' },
    }));
    const results = authority.issueForCsrs(requests).map(thrown);
    expect(results).toHaveLength(20);
    expect(new Set(results.map(({ serial }) => serial)).size).toBe(20);
    results.forEach((issued, at) => {
      expect(issued.id).toBe(ids[at]);
      expect(issued.notAfterMs).toBe(NOW_MS + requests[at]!.ttlMs);
      const leaf = new X509Certificate(issued.chain[0]!);
      expect(leaf.checkPrivateKey(keys[at]!.privateKey)).toBe(true);
      expect(leaf.subject).toContain(`uid-${at}\n`);
      expect(verifySvid({ chain: issued.chain, bundles: () => authority.bundle, nowMs: NOW_MS }).uri).toBe(
        ids[at]!.uri,
      );
    });
    expect(authority.issueForCsrs([])).toEqual([]);
  });

  it('keeps what is wrong with one to that one, at whatever stage it shows', () => {
    const off = p256().publicKey.export({ format: 'der', type: 'spki' });
    off[off.length - 1] = (off.at(-1) ?? 0) ^ 1;
    const other = SpiffeId.workload(TrustDomain.parse('other.example'), 'shop', 'web');
    const unexpected = Object.defineProperty(web(''), 'csr', {
      get: () => {
        throw new TypeError('not foreseen');
      },
    });
    const good = (): CsrRequest => web(request(p256()));
    const results = authority.issueForCsrs([
      ...[
        good(),
        web('hello'),
        good(),
        { ...good(), id: other },
        web(request(p256(), { publicKeyInfo: off })),
      ],
      ...[
        good(),
        web(request(p256(), { signer: p256().privateKey })),
        web(request(p256(), { algorithm: RSA_SHA256 })),
      ],
      ...[unexpected, { ...good(), holder: { podUid: 'a b', node: '' } }, web(request(p256()), 1), good()],
    ]);
    expect(results.map(outcome)).toEqual([
      ...[id.uri, 'csr-malformed', id.uri, 'id-foreign', 'key-refused'],
      ...[id.uri, 'csr-signature', 'csr-algorithm'],
      ...['not foreseen', 'name-invalid', 'ttl-invalid', id.uri],
    ]);
  });

  it('says to all that it signs nothing, while it does not', async () => {
    const store = memoryKeyStore();
    const options = { store, trustDomain: td, nowMs: () => NOW_MS, svidTtlMs: 3_600_000 };
    const own = await Authority.open(options);
    const three = [1, 2, 3].map(() => web(request(p256())));
    own.suspend('the root is gone');
    expect(own.issueForCsrs(three).map(outcome)).toEqual(Array(3).fill('suspended'));
    own.close();
    expect(own.issueForCsrs(three).map(outcome)).toEqual(Array(3).fill('closed'));
  });
});
