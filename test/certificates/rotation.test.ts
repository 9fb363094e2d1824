import { X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { requestPem } from '../bench/certificate-request.ts';
import { World } from '../control-plane/world.ts';
import type { TestControlPlane } from '../harness/control-plane.ts';
import { CertificateClient } from './client.ts';

const world = new World('shop/web');
let controlPlane: TestControlPlane;
let client: CertificateClient;
let token: string;
beforeAll(async () => {
  controlPlane = await world.start();
  token = await controlPlane.ask('token', '--pod', 'shop/web');
  client = new CertificateClient(controlPlane);
});
afterAll(async () => {
  client.close();
  await world.close();
});

const rootsOf = (chain: readonly string[]): readonly string[] =>
  (chain.at(-1) ?? '').match(/-----BEGIN[^]+?-----END CERTIFICATE-----/gu) ?? [];

it('no root signs before those could know it who ask for certificates', async () => {
  const before = await client.create(token, { csr: requestPem() });
  expect(rootsOf(before.chain)).toHaveLength(1);
  await controlPlane.ask('rotate prepare');

  const prepared = await client.create(token, { csr: requestPem() });
  expect(rootsOf(prepared.chain)).toHaveLength(2);
  const { validTo } = new X509Certificate(before.chain[0] ?? '');
  await expect(controlPlane.ask('rotate activate')).rejects.toThrow(
    `certificates issued for requests before this bundle live until ${new Date(validTo).toISOString()}: their holders may not know the new root`,
  );

  await controlPlane.ask('rotate activate', '--force');
  const after = await client.create(token, { csr: requestPem() });
  const [former, next] = rootsOf(prepared.chain).map((pem) => new X509Certificate(pem));
  const intermediates = [prepared, after].map(({ chain }) => new X509Certificate(chain[1] ?? ''));
  expect(intermediates.map((one) => one.verify(former!.publicKey))).toEqual([true, false]);
  expect(intermediates.map((one) => one.verify(next!.publicKey))).toEqual([false, true]);
});
