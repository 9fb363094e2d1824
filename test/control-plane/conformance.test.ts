import { request } from 'node:https';
import { connect as plainConnect } from 'node:net';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import 'reflect-metadata';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  X509Certificate,
} from '@peculiar/x509';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TrustBundle, TrustDomain, verifySvid } from '../../src/identity/index.ts';
import type { TestControlPlane } from '../harness/control-plane.ts';
import { freePort } from '../harness/ports.ts';
import { EnvoyClient, svidOf } from './envoy-client.ts';
import { World } from './world.ts';

/** What the SPIFFE checklist says of X.509-SVIDs and bundles, of what is really issued and served. */
const domain = 'cluster.local';
const world = new World('shop/web');
let controlPlane: TestControlPlane;
let endpoint = { host: '127.0.0.1', port: 0 };
let leaf: X509Certificate;
let intermediate: X509Certificate;
let root: X509Certificate;
let served: Served;

interface Served {
  readonly status: number | undefined;
  readonly type: string | undefined;
  readonly body: string;
  readonly document: Readonly<Record<string, unknown>> & {
    readonly keys: readonly Readonly<Record<string, unknown>>[];
    readonly spiffe_sequence: number;
  };
}

beforeAll(async () => {
  endpoint = { host: '127.0.0.1', port: await freePort() };
  controlPlane = await world.start('--bundle-endpoint', `127.0.0.1:${endpoint.port}`);
  const envoy = await EnvoyClient.connected(
    controlPlane,
    await controlPlane.ask('token', '--pod', 'shop/web'),
  );
  const pem = svidOf(envoy).chain.match(/-----BEGIN[^]*?END CERTIFICATE-----/gu) ?? [];
  const [first, second, ...more] = pem.map((block) => new X509Certificate(block));
  if (first === undefined || second === undefined || more.length > 0)
    throw new Error('a leaf and one intermediate are expected');
  [leaf, intermediate] = [first, second];
  served = await fetchBundle();
  root = new X509Certificate(Buffer.from(firstOf(served.document.keys[0]?.['x5c']), 'base64'));
});
afterAll(() => world.close());

function firstOf(list: unknown): string {
  return Array.isArray(list) ? String(list[0]) : '';
}

/** Without a client certificate and without a word of who asks. */
async function fetchBundle(method = 'GET', path = '/'): Promise<Served> {
  return await new Promise((resolve, reject) => {
    request({ ...endpoint, method, path, rejectUnauthorized: false, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => (body += text));
      response.on('end', () =>
        resolve({
          status: response.statusCode,
          type: response.headers['content-type'],
          body,
          document: (body.startsWith('{') ? JSON.parse(body) : { keys: [] }) as Served['document'],
        }),
      );
    })
      .once('error', reject)
      .end();
  });
}

async function shake(options: ConnectionOptions): Promise<TLSSocket> {
  return await new Promise((resolve, reject) => {
    const socket = connect({ ...endpoint, rejectUnauthorized: false, ...options }, () => resolve(socket));
    socket.once('error', reject);
  });
}

const uris = (certificate: X509Certificate): readonly string[] =>
  (certificate.getExtension(SubjectAlternativeNameExtension)?.names.items ?? [])
    .filter(({ type }) => type === 'url')
    .map(({ value }) => value);
const usages = (certificate: X509Certificate): number =>
  certificate.getExtension(KeyUsagesExtension)?.usages ?? 0;

describe('what is issued', () => {
  it('X-1, X-2, X-3, ID-1 to ID-14, ID-19: one URI name, the SPIFFE ID with its path, is signed', () => {
    expect(uris(leaf)).toEqual([`spiffe://${domain}/ns/shop/sa/web`]);
  });

  it('X-4: the names are critical where there is no subject', () => {
    expect(leaf.subject === '' ? leaf.getExtension(SubjectAlternativeNameExtension)?.critical : true).toBe(
      true,
    );
  });

  it('X-5: a leaf is no authority', () => {
    expect(leaf.getExtension(BasicConstraintsExtension)?.ca ?? false).toBe(false);
  });

  it('X-6: keyUsage is there and critical, on all of them', () => {
    for (const each of [leaf, intermediate, root])
      expect(each.getExtension(KeyUsagesExtension)).toMatchObject({ critical: true });
  });

  it('X-7, X-8, X-9: a leaf signs data, and nothing else', () => {
    expect(usages(leaf)).toBe(KeyUsageFlags.digitalSignature);
  });

  it('X-10, X-11: a leaf serves and calls', () => {
    expect(leaf.getExtension(ExtendedKeyUsageExtension)?.usages).toEqual(
      expect.arrayContaining([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
    );
  });

  it('X-20, X-23, X-24: root and intermediate sign certificates and authenticate nobody', () => {
    for (const each of [intermediate, root]) {
      const constraints = each.getExtension(BasicConstraintsExtension);
      expect(constraints).toMatchObject({ ca: true, critical: true });
      expect((usages(each) & KeyUsageFlags.keyCertSign) !== 0).toBe(true);
      expect((usages(each) & KeyUsageFlags.digitalSignature) === 0).toBe(true);
    }
    expect(intermediate.getExtension(BasicConstraintsExtension)?.pathLength).toBe(0);
  });

  it('X-21, X-22, ID-17, ID-18: each of them has the SPIFFE ID of its trust domain, without a path', () => {
    for (const each of [intermediate, root]) expect(uris(each)).toEqual([`spiffe://${domain}`]);
  });

  it('X-30 to X-34: it is valid below the root that is served, and below no other trust domain', () => {
    const chain = [leaf, intermediate].map(({ rawData }) => Buffer.from(rawData));
    const bundle = (name: string): TrustBundle => TrustBundle.parse(TrustDomain.parse(name), served.body);
    const verify = (bundles: (name: string) => TrustBundle | undefined): string =>
      verifySvid({ chain, bundles, nowMs: Date.now() }).uri;
    expect(verify((name) => (name === domain ? bundle(domain) : undefined))).toBe(uris(leaf)[0]);
    expect(() => verify((name) => (name === 'other.example' ? bundle(domain) : undefined))).toThrow(
      /There is no trust bundle for cluster\.local/u,
    );
  });
});

describe('what the bundle endpoint serves', () => {
  it('F-9: the bundle as JSON, at GET and to nobody in particular (F-8)', async () => {
    expect(served).toMatchObject({ status: 200, type: 'application/json' });
    expect(await fetchBundle('POST')).toMatchObject({ status: 405, body: 'only GET\n' });
    expect(await fetchBundle('HEAD')).toMatchObject({ status: 200, body: '' });
    expect((await fetchBundle('GET', '/elsewhere')).status).toBe(404);
  });

  it('answers what is too large, and hangs up on what is no TLS', async () => {
    const answer = await new Promise<number | undefined>((resolve, reject) => {
      const headers = { 'x-large': 'x'.repeat(9 * 1024) };
      request({ ...endpoint, headers, rejectUnauthorized: false, agent: false }, (response) => {
        response.resume();
        resolve(response.statusCode);
      })
        .once('error', reject)
        .end();
    });
    expect(answer).toBe(431);
    const plain = await new Promise<string>((resolve) => {
      const socket = plainConnect(endpoint, () => socket.write('GET / HTTP/1.1\r\n\r\n'));
      let text = '';
      socket.on('data', (bytes) => (text += bytes.toString('latin1')));
      socket.on('close', () => resolve(text));
      socket.on('error', () => {}); // It closes, whichever way.
    });
    expect(plain).not.toContain('HTTP/');
    expect((await fetchBundle()).status).toBe(200);
  });

  it('X-40, B-6, B-7, B-8: a JWK for each root, with nothing that the standards do not know', () => {
    for (const key of served.document.keys) {
      expect(key).toMatchObject({ kty: 'EC', use: 'x509-svid' });
      expect(Object.keys(key).toSorted()).toEqual(['crv', 'kty', 'use', 'x', 'x5c', 'y']);
    }
    expect(Object.keys(served.document).toSorted()).toEqual([
      'keys',
      'spiffe_refresh_hint',
      'spiffe_sequence',
    ]);
  });

  it('X-41: in x5c one certificate, signed by itself', async () => {
    expect(served.document.keys[0]?.['x5c']).toHaveLength(1);
    expect(await root.isSelfSigned()).toBe(true);
  });

  it('B-3, F-2: a refresh hint in seconds', () => {
    expect(served.document['spiffe_refresh_hint']).toBe(300);
  });

  it('F-10: the endpoint is an X.509-SVID of the control plane', async () => {
    const socket = await shake({});
    const own = socket.getPeerX509Certificate();
    const chain = [own, own?.issuerCertificate].flatMap((each) => each?.raw ?? []);
    socket.destroy();
    const bundle = TrustBundle.parse(TrustDomain.parse(domain), served.body);
    expect(verifySvid({ chain, bundles: () => bundle, nowMs: Date.now() }).uri).toBe(
      `spiffe://${domain}/ns/countersign-system/sa/control-plane`,
    );
  });

  it("F-4: TLS as Mozilla's intermediate: 1.3, or 1.2 with forward secrecy and AEAD", async () => {
    for (const [options, protocol] of [
      [{}, 'TLSv1.3'],
      [{ maxVersion: 'TLSv1.2' }, 'TLSv1.2'],
    ] as const) {
      const socket = await shake(options);
      expect(socket.getProtocol()).toBe(protocol);
      expect(socket.getCipher().name).toMatch(/GCM|CHACHA20/u);
      socket.destroy();
    }
    for (const weak of ['ECDHE-ECDSA-AES128-SHA256', 'AES128-GCM-SHA256'])
      await expect(shake({ maxVersion: 'TLSv1.2', ciphers: weak })).rejects.toThrow(/handshake failure/u);
    await expect(
      shake({ minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' }),
    ).rejects.toThrow(/protocol version/u);
  });

  it('B-2, F-1: a new root is published with a higher sequence, long before it signs', async () => {
    await controlPlane.ask('rotate prepare');
    const { document } = await fetchBundle();
    expect(document.keys).toHaveLength(2);
    expect(document.spiffe_sequence).toBeGreaterThan(served.document.spiffe_sequence);
    const { code, stderr } = await controlPlane.tryToAsk('rotate activate');
    expect([code, stderr]).toEqual([2, expect.stringContaining('three times --bundle-refresh-hint')]);
    expect(await controlPlane.metrics()).toContain('countersign_bundle_endpoint_requests_total{code="200"}');
  });
});
