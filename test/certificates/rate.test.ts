import { afterAll, beforeAll, expect, it } from 'vitest';
import { requestPem } from '../bench/certificate-request.ts';
import { World } from '../control-plane/world.ts';
import type { TestControlPlane } from '../harness/control-plane.ts';
import { waitFor } from '../harness/wait.ts';
import { CertificateClient } from './client.ts';

const world = new World('shop/web', 'shop/cart');
let controlPlane: TestControlPlane;
let client: CertificateClient;
beforeAll(async () => {
  controlPlane = await world.start('--max-requests-per-minute', '2');
  client = new CertificateClient(controlPlane);
});
afterAll(async () => {
  client.close();
  await world.close();
});

it('a pod that asks too often gets no more for a while, whatever its tokens; another one does', async () => {
  const create = async (pod: string): Promise<string | undefined> => {
    const token = await controlPlane.ask('token', '--pod', pod);
    return (await client.create(token, { csr: requestPem() })).refusal;
  };
  const answers = [await create('shop/web'), await create('shop/web'), await create('shop/web')];
  expect(answers).toEqual([
    undefined,
    undefined,
    'RESOURCE_EXHAUSTED: this pod asks for certificates too often; keep the one that it has',
  ]);
  expect(await create('shop/cart')).toBeUndefined();
  const refused = { event: 'svid.refused', actor: 'shop/web', factor: 'rate' };
  await waitFor('the event', () =>
    controlPlane
      .audit()
      .find((event) => Object.entries(refused).every(([key, value]) => event[key] === value)),
  );
});
