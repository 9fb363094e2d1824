import { request as tlsRequest } from 'node:https';
import { connect as tlsConnect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { call } from '../harness/http.ts';
import { inboundPorts, TestMesh, trustDomain } from './mesh.ts';
import { allowAll } from './policies.ts';

interface ShownCertificate {
  readonly serial_number: string;
  readonly subject_alt_names: readonly { uri?: string }[];
}

describe.each(['sotw', 'delta'] as const)('identities over %s xDS', (xds) => {
  let mesh: TestMesh;
  const web = 'shop/web';
  const cart = 'shop/cart';

  beforeAll(async () => {
    mesh = await TestMesh.start({
      xds,
      pods: [
        {
          pod: web,
          calls: [
            { to: cart, protocol: 'http' },
            { to: cart, protocol: 'http', id: `spiffe://${trustDomain}/ns/shop/sa/payments` },
            { to: cart, protocol: 'http', id: `spiffe://other.example/ns/shop/sa/cart` },
          ],
        },
        { pod: cart, serves: ['http'] },
      ],
      policies: { cart: allowAll('shop/cart-open', 'cart') },
    });
  });
  afterAll(async () => mesh.stop());

  it('brings the SVID of the service account and the bundle of the trust domain', async () => {
    const { certificates } = JSON.parse(await mesh.envoy(cart).admin('/certs')) as {
      certificates: readonly {
        ca_cert: readonly ShownCertificate[];
        cert_chain: readonly ShownCertificate[];
      }[];
    };
    const uris = (shown: readonly ShownCertificate[]): (string | undefined)[] =>
      shown.flatMap(({ subject_alt_names: names }) => names.map(({ uri }) => uri));
    expect(uris(certificates.flatMap(({ cert_chain: chain }) => chain))).toContain(mesh.id(cart));
    expect(uris(certificates.flatMap(({ ca_cert: roots }) => roots))).toContain(`spiffe://${trustDomain}`);
    const issued = mesh.controlPlane
      .audit()
      .filter(({ event, actor }) => event === 'svid.issued' && actor === cart);
    expect(issued.map(({ serial }) => serial)).toEqual(await mesh.envoy(cart).serials());
  });

  it('lets a call through by mTLS, and tells the app who calls', async () => {
    const { status, body } = await mesh.call(web, { path: '/items' });
    expect(status).toBe(200);
    const seen = JSON.parse(body) as { app: string; client: string };
    expect(seen.app).toBe(cart);
    expect(seen.client.split(';')).toContain(`URI=${mesh.id(web)}`);
  });

  it('replaces what a caller says of its own identity', async () => {
    const forged = `URI=${mesh.id('shop/admin')}`;
    const { body } = await mesh.call(web, { headers: { 'x-forwarded-client-cert': forged } });
    const { client } = JSON.parse(body) as { client: string };
    expect(client).toContain(`URI=${mesh.id(web)}`);
    expect(client).not.toContain(forged);
  });

  it.each([
    [1, 'another service account'],
    [2, 'another trust domain'],
  ])('refuses an upstream that proves another identity than the one named (%i: %s)', async (way) => {
    const requests = (): Promise<number> =>
      mesh.envoy(cart).stat(`http.${mesh.inboundName(cart)}.downstream_rq_total`);
    const before = await requests();
    const { status } = await mesh.call(web, { way, path: `/?way=${way}` });
    expect(status).toBe(503);
    const { upstream_failure: why } = await mesh.envoy(web).logged(({ path }) => path === `/?way=${way}`);
    expect(why).toContain('CERTIFICATE_VERIFY_FAILED');
    expect(await requests()).toBe(before);
  });

  it('refuses plaintext', async () => {
    const { status } = await call({ host: mesh.ip(cart), port: inboundPorts.http });
    expect(status).toBe(0);
  });

  it('refuses TLS without a client certificate', async () => {
    const error = await new Promise<NodeJS.ErrnoException>((resolve, reject) => {
      const sent = tlsRequest(
        { host: mesh.ip(cart), port: inboundPorts.http, rejectUnauthorized: false, agent: false },
        (response) => reject(new Error(`HTTP ${response.statusCode}`)),
      );
      sent.once('error', resolve);
      sent.end();
    });
    expect(error.code).toBe('ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED');
  });

  it('refuses TLS 1.2', async () => {
    const error = await new Promise<NodeJS.ErrnoException>((resolve, reject) => {
      const socket = tlsConnect({
        host: mesh.ip(cart),
        port: inboundPorts.http,
        rejectUnauthorized: false,
        maxVersion: 'TLSv1.2',
      });
      socket.once('secureConnect', () => reject(new Error('connected')));
      socket.once('error', resolve);
    });
    expect(error.code).toBe('ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION');
  });
});
