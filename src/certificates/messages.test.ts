import protobuf from 'protobufjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { Authority, type IssuedChain, memoryKeyStore } from '../authority/index.ts';
import { SpiffeId, TrustDomain } from '../identity/index.ts';
import { requestReader, ResponseWriter } from './messages.ts';

const NOW_MS = Date.UTC(2026, 10, 22, 12);
const trustDomain = TrustDomain.parse('example.org');
const id = SpiffeId.workload(trustDomain, 'shop', 'web');
const proto = new URL('../../proto/istio/v1/auth/ca.proto', import.meta.url).pathname;
const root = new protobuf.Root().loadSync(proto, { keepCase: true });
const read = requestReader(root);
const requestType = root.lookupType('istio.v1.auth.IstioCertificateRequest');
const responseType = root.lookupType('istio.v1.auth.IstioCertificateResponse');
const encode = (request: object): Uint8Array => requestType.encode(requestType.fromObject(request)).finish();

async function open(): Promise<Authority> {
  const store = memoryKeyStore();
  return await Authority.open({ store, trustDomain, nowMs: () => NOW_MS, svidTtlMs: 3_600_000 });
}

describe('a request', () => {
  it('has its fields at Istio’s numbers', () => {
    const bytes = Buffer.from('0a036162631890 1c'.replace(' ', ''), 'hex');
    expect(read(bytes)).toEqual({ csr: 'abc', validity: 3_600 });
    expect(read(Buffer.alloc(0))).toEqual({ csr: '', validity: 0 });
  });

  it('has a validity of 64 bits with a sign', () => {
    expect(read(encode({ validity_duration: -5 })).validity).toBe(-5);
    expect(read(encode({ validity_duration: '9007199254740993' })).validity).toBeGreaterThan(9e15);
  });

  it('of an older agent, which names an identity in field 2, is read without it', () => {
    const older = Buffer.concat([Buffer.from('1203666f6f', 'hex'), encode({ csr: 'abc' })]);
    expect(read(older)).toEqual({ csr: 'abc', validity: 0 });
  });

  it.each(['ImpersonatedIdentity', 'CertSigner'])('with the metadata %s is refused unless empty', (name) => {
    const withValue = (value: object): Uint8Array =>
      encode({ csr: 'abc', metadata: { fields: { ClusterID: { stringValue: 'x' }, [name]: value } } });
    expect(read(withValue({ stringValue: '' }))).toEqual({ csr: 'abc', validity: 0 });
    for (const value of [{ stringValue: 'x' }, { numberValue: 1 }, { listValue: { values: [] } }]) {
      expect(() => read(withValue(value))).toThrow(expect.objectContaining({ field: 'metadata' }));
    }
  });

  it.each(['ff', '0a7f61', '0a03ff', '08'])('of other bytes (%s) is refused', (hex) => {
    expect(() => read(Buffer.from(hex, 'hex'))).toThrow(expect.objectContaining({ field: 'message' }));
  });
});

describe('a response', () => {
  let authority: Authority;
  let csr: string;
  beforeAll(async () => {
    authority = await open();
    csr = (await import('../../test/bench/certificate-request.ts')).requestPem();
  });
  const issueFor = (by: Authority): IssuedChain => {
    const [issued] = by.issueForCsrs([{ id, csr }]);
    if (issued === undefined || issued instanceof Error) throw issued;
    return issued;
  };
  const decoded = (bytes: Uint8Array): readonly string[] =>
    (responseType.decode(bytes) as unknown as { cert_chain: string[] }).cert_chain;

  it('is leaf, issuer, root: one block each', () => {
    const issued = issueFor(authority);
    const chain = decoded(new ResponseWriter().write(issued, authority.bundle));
    expect(chain).toHaveLength(3);
    expect(chain.slice(0, 2).join('')).toBe(issued.chainPem);
    expect(chain[2]).toBe(authority.bundle.toPem());
    for (const one of chain) {
      expect(one).toMatch(/^-----BEGIN CERTIFICATE-----\n[^-]+\n-----END CERTIFICATE-----\n$/u);
    }
  });

  it('has all roots in its last element, from the moment at which they are trusted', async () => {
    const writer = new ResponseWriter();
    const issued = issueFor(authority);
    expect(decoded(writer.write(issued, authority.bundle))).toHaveLength(3);
    const [other] = (await open()).bundle.x509Authorities;
    await authority.setRoots([other!]);
    const chain = decoded(writer.write(issued, authority.bundle));
    expect(chain).toHaveLength(3);
    expect(chain[2]).toBe(authority.bundle.toPem());
    expect(chain[2]?.match(/BEGIN/gu)).toHaveLength(2);
  });

  it('has the issuer that signed, also when another one did before', async () => {
    const writer = new ResponseWriter();
    const other = await open();
    for (const each of [authority, other, authority]) {
      const issued = issueFor(each);
      expect(decoded(writer.write(issued, each.bundle)).join('')).toBe(issued.chainPem + each.bundle.toPem());
    }
  });
});
