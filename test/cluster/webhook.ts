import { X509Certificate } from 'node:crypto';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { TrustDomain } from '../../src/identity/index.ts';
import { FakeCa } from '../fake/ca.ts';

/** Refuses whatever it is asked about. */
export async function refusingWebhook(
  host: string,
  name: string,
): Promise<{ port: number; caBundle: string; close: () => void }> {
  const validity = { notBeforeMs: Date.now() - 60_000, notAfterMs: Date.now() + 3_600_000 };
  const ca = await FakeCa.root(TrustDomain.parse('webhook'), validity);
  const leaf = await ca.leaf('', { ...validity, uris: [], dnsNames: [name] });
  const cert = new X509Certificate(leaf.der).toString();
  const key = leaf.privateKey.export({ type: 'pkcs8', format: 'pem' });
  const server = createServer({ cert, key }, (request, response) => {
    void text(request).then((body) => {
      const { uid } = (JSON.parse(body) as { request: { uid: string } }).request;
      const verdict = { uid, allowed: false, status: { message: 'no secrets here' } };
      response.setHeader('content-type', 'application/json');
      return response.end(
        JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response: verdict }),
      );
    });
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  return {
    port: (server.address() as AddressInfo).port,
    caBundle: Buffer.from(new X509Certificate(ca.der).toString()).toString('base64'),
    close: (): void => {
      server.close();
      server.closeAllConnections();
    },
  };
}
