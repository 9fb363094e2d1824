import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { requestPem } from '../bench/certificate-request.ts';
import { EnvoyClient, SECRET } from '../control-plane/envoy-client.ts';
import { World } from '../control-plane/world.ts';
import type { TestControlPlane } from '../harness/control-plane.ts';
import { waitFor } from '../harness/wait.ts';
import { CertificateClient } from './client.ts';

const world = new World('shop/web');
let controlPlane: TestControlPlane;
let token: string;
let agent: CertificateClient;
beforeAll(async () => {
  controlPlane = await world.start('--max-requests-per-minute', '1000');
  token = await controlPlane.ask('token', '--pod', 'shop/web');
});
afterAll(async () => await world.close());
beforeEach(() => {
  agent = new CertificateClient(controlPlane);
});
afterEach(() => agent.close());

/** @returns why there is none */
async function certificate(): Promise<string | undefined> {
  return (await agent.create(token, { csr: requestPem() })).refusal;
}

async function stream(): Promise<EnvoyClient> {
  const envoy = new EnvoyClient(controlPlane, token, agent.client);
  envoy.subscribe(SECRET, 'default');
  await waitFor('the secret', () => envoy.resources.get('default'));
  return envoy;
}

describe('a client with one channel for calls and streams', () => {
  it('has both when it begins with a call, and the call again', async () => {
    expect(await certificate()).toBeUndefined();
    const envoy = await stream();
    expect(await certificate()).toBeUndefined();
    envoy.close();
  });

  it('has both when it begins with a stream', async () => {
    const envoy = await stream();
    expect([await certificate(), await certificate()]).toEqual([undefined, undefined]);
    envoy.close();
  });

  it('begins a stream while calls are under way, which are all answered', async () => {
    const calls = Promise.all(Array.from({ length: 10 }, certificate));
    const envoy = await stream();
    expect(await calls).toEqual(Array.from({ length: 10 }, () => undefined));
    envoy.close();
  });

  it('makes 200 calls at once', async () => {
    expect(await certificate()).toBeUndefined();
    const outcomes = await Promise.all(Array.from({ length: 200 }, certificate));
    expect(outcomes.filter((refusal) => refusal !== undefined)).toEqual([]);
  });

  it('makes 200 calls at once, which are its first', async () => {
    const outcomes = await Promise.all(Array.from({ length: 200 }, certificate));
    expect(outcomes.filter((refusal) => refusal !== undefined)).toEqual([]);
  });
});
