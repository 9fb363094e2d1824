import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { at } from '../cluster/api-client.ts';
import { admission, EnvoyClient } from '../control-plane/envoy-client.ts';
import { TestControlPlane } from '../harness/control-plane.ts';
import { waitFor } from '../harness/wait.ts';
import { audience, KubernetesWorld } from './world.ts';

const patience = { timeout: 120_000 };
/** The clients of these tests come from here. */
const here = '127.0.0.1';

let world: KubernetesWorld;
let controlPlane: TestControlPlane;

beforeAll(async () => {
  world = await KubernetesWorld.start();
  const { make } = world.cluster;
  await make.node('node-1');
  await make.namespace('shop');
  for (const name of ['cart', 'web']) await make.serviceAccount('shop', name);
  await pod('cart-1', 'cart', here);
  await pod('web-1', 'web', '127.0.0.2');
  controlPlane = await start('data', '--peer-address', 'require');
});
afterAll(async () => {
  await controlPlane.stop();
  await world.dispose();
});

async function start(dataDir: string, ...flags: readonly string[]): Promise<TestControlPlane> {
  const { kubeconfig, cluster } = world;
  return await TestControlPlane.start({ kubeconfig, dataDir: join(cluster.folder, dataDir), flags });
}

async function pod(name: string, serviceAccount: string, ip: string): Promise<void> {
  await world.cluster.make.pod({ namespace: 'shop', name, serviceAccount, node: 'node-1', ips: [ip] });
}

async function token(name: string, serviceAccount: string, ...audiences: readonly string[]): Promise<string> {
  return await world.cluster.token({
    namespace: 'shop',
    serviceAccount,
    pod: name,
    audiences: audiences.length === 0 ? [audience] : audiences,
  });
}

/** The newest event of a kind. */
function last(event: string, of: TestControlPlane = controlPlane): Record<string, unknown> | undefined {
  return of.audit().findLast((found) => found['event'] === event);
}

function reviewFactor(of: TestControlPlane = controlPlane): unknown {
  const factors = last('workload.admitted', of)?.['factors'] as { factor: string; outcome: string }[];
  return factors.find(({ factor }) => factor === 'token-review')?.outcome;
}

/** A pod of its own: what is refused once too often is left out of the audit log, by caller. */
async function refusal(bearer: string, factor: string): Promise<unknown> {
  return await waitFor(`a refusal by ${factor}`, async () => {
    const from = controlPlane.audit().length;
    await admission(controlPlane, bearer);
    const found = controlPlane
      .audit()
      .slice(from)
      .find((event) => event['event'] === 'workload.refused');
    return found?.['factor'] === factor ? found['detail'] : undefined;
  });
}

function reviews(): number {
  return world.cluster.audit.requests(({ resource }) => resource === 'tokenreviews').length;
}

describe('attestation by the API server', () => {
  it('admits a pod by its projected token, and reviews a token once', async () => {
    const bearer = await token('cart-1', 'cart');
    const before = reviews();
    for (let streams = 0; streams < 3; streams += 1) {
      expect(await admission(controlPlane, bearer)).toBe('admitted');
    }
    expect(reviewFactor()).toBe('passed');
    expect(last('svid.issued')).toMatchObject({
      actor: 'shop/cart-1',
      id: 'spiffe://cluster.local/ns/shop/sa/cart',
    });
    await waitFor('the review in the audit log', () => (reviews() > before ? true : undefined));
    expect(reviews() - before).toBe(1);
  });

  it("refuses a token for the API server's own audience, and one for two", async () => {
    const own = await world.cluster.token({ namespace: 'shop', serviceAccount: 'cart', pod: 'cart-1' });
    expect(await refusal(own, 'token')).toMatch(/another audience/u);
    const two = await token('cart-1', 'cart', audience, 'other');
    expect(await refusal(two, 'token')).toMatch(/2 audiences/u);
  });

  it('refuses a token that is bound to no pod', async () => {
    const unbound = await world.cluster.token({
      namespace: 'shop',
      serviceAccount: 'cart',
      audiences: [audience],
    });
    expect(await refusal(unbound, 'pod')).toMatch(/bound to no pod/u);
  });

  it("refuses a stolen token from an address that is not its pod's", async () => {
    const stolen = await token('web-1', 'web');
    expect(await refusal(stolen, 'peer-address')).toMatch(
      /the peer is 127\.0\.0\.1; the pod has 127\.0\.0\.2/u,
    );
    expect(last('workload.refused')).toMatchObject({
      actor: 'shop/web-1',
      peer: here,
      factor: 'peer-address',
    });
  });

  it('ends the stream of a pod that is deleted within 2 s, and refuses its renewal and its token', async () => {
    await pod('cart-2', 'cart', here);
    const bearer = await token('cart-2', 'cart');
    const envoy = await waitFor('the pod to be known', async () => {
      return (await admission(controlPlane, bearer)) === 'admitted'
        ? await EnvoyClient.connected(controlPlane, bearer)
        : undefined;
    });
    await world.cluster.operator.delete(at('pods', 'shop', 'cart-2'));
    const deletedMs = performance.now();
    expect(await envoy.ended()).toMatch(/^PERMISSION_DENIED: not attested: the pod was refused/u);
    expect(performance.now() - deletedMs).toBeLessThan(2_000);
    expect(last('workload.refused')).toMatchObject({ actor: 'shop/cart-2', peer: here, factor: 'pod' });
    // The end of a stream is on its way before the renewal is refused.
    const renewal = await waitFor('the refusal of its renewal', () => last('svid.refused'), {
      timeoutMs: 2_000,
    });
    expect(renewal).toMatchObject({ actor: 'shop/cart-2', factor: 'renewal' });
    await expect(controlPlane.ask('renew', '--pod', 'shop/cart-2')).rejects.toThrow(/no pod shop\/cart-2/u);
    expect(await refusal(bearer, 'pod')).toMatch(/does not exist/u);
  });

  it('refuses a token of a pod that was made anew under its name', async () => {
    await pod('cart-3', 'cart', here);
    const bearer = await token('cart-3', 'cart');
    await world.cluster.operator.delete(at('pods', 'shop', 'cart-3'));
    await pod('cart-3', 'cart', here);
    expect(await refusal(bearer, 'pod')).toMatch(/made anew/u);
  });

  it('says that kubectl gives tokens', async () => {
    await expect(controlPlane.ask('token', '--pod', 'shop/cart-1')).rejects.toThrow(
      /kubectl create token cart --namespace shop --audience countersign/u,
    );
  });

  it('follows a signing key that is rotated, and one that is withdrawn', patience, async () => {
    const old = await token('cart-1', 'cart');
    await world.cluster.rotateSigningKey();
    const fresh = await token('cart-1', 'cart');
    expect(await admission(controlPlane, fresh)).toBe('admitted');
    expect(controlPlane.log).toContain('the API server signs tokens with other keys now');
    expect(await admission(controlPlane, old)).toBe('admitted');

    const withdrawn = await token('cart-1', 'cart');
    await world.cluster.rotateSigningKey();
    await world.cluster.retireOldKeys();
    // The control plane's own token was signed with it too.
    await world.renewToken();
    // Its signature is of a key that is still known here: it is the API server that does not believe it.
    expect(await refusal(withdrawn, 'token-review')).toMatch(/does not authenticate/u);
    expect(await admission(controlPlane, await token('cart-1', 'cart'))).toBe('admitted');
  });

  describe.each(['killed', 'frozen'] as const)('while the API server is %s', (how) => {
    it('admits whom it knows, and says that nobody was asked; `require` refuses', patience, async () => {
      const strict = await start(`strict-${how}`, '--token-review', 'require');
      const unseen = await token('cart-1', 'cart');
      const { apiServer } = world.cluster;
      if (how === 'killed') await apiServer.kill();
      else apiServer.freeze();
      try {
        expect(await admission(controlPlane, unseen)).toBe('admitted');
        expect(reviewFactor()).toBe('unavailable');
        expect(await admission(strict, unseen)).toMatch(
          /^UNAVAILABLE: not attested: the API server cannot be asked/u,
        );
        expect(last('workload.refused', strict)?.['factor']).toBe('token-review');
        await strict.stop();

        await controlPlane.restart();
        expect(await admission(controlPlane, unseen)).toBe('admitted');
        expect(reviewFactor()).toBe('unavailable');
      } finally {
        if (how === 'killed') await apiServer.start();
        else apiServer.thaw();
      }
      const later = await token('cart-1', 'cart');
      await waitFor('tokens to be reviewed again', async () => {
        expect(await admission(controlPlane, later)).toBe('admitted');
        return reviewFactor() === 'passed' ? true : undefined;
      });
    });
  });
});
