import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { request } from 'node:https';
import { TrustDomain } from '../../src/identity/index.ts';
import { FakeCa } from '../fake/ca.ts';
import { Load } from '../harness/http.ts';
import { waitFor } from '../harness/wait.ts';
import { useConnectionsOnce } from './bootstrap-edits.ts';
import { configOf, federationOf, relationWith, startFederated, type FederatedMesh } from './federation.ts';
import { inboundPorts } from './mesh.ts';

const cart = 'shop/cart';
const named = 'shop/web';
const other = 'shop/other';
/** Keeps its connections, where the others make a new one for each request. */
const keeping = 'shop/keeping';
const local = 'shop/local';
/** Its sidecar trusts a federated trust domain alone. */
const guests = 'shop/guests';
const patience = { timeout: 240_000 };

const policy = `
apiVersion: security.countersign.dev/v1
kind: AuthorizationPolicy
metadata: {namespace: shop, name: cart}
spec:
  selector: {matchLabels: {app: cart}}
  rules:
    - from:
        - source: {namespaces: [shop]}
        - source: {principals: [west.example/ns/shop/sa/web, west.example/ns/shop/sa/keeping]}
`;

let east: FederatedMesh;
let west: FederatedMesh;

beforeAll(async () => {
  east = await startFederated('east.example', {
    pods: [
      { pod: cart, serves: ['http'] },
      { pod: guests, serves: ['http'], bare: true, edit: trustGuestsAlone },
      { pod: local, calls: [{ to: cart, protocol: 'http' }] },
    ],
    policies: { cart: policy },
  });
  const calls = [{ to: cart, protocol: 'http', at: east.mesh.ip(cart), id: east.mesh.id(cart) }] as const;
  west = await startFederated('west.example', {
    pods: [
      { pod: named, calls, edit: useConnectionsOnce },
      { pod: other, calls, edit: useConnectionsOnce },
      { pod: keeping, calls },
    ],
    flags: ['--svid-ttl', '1m'],
  });
}, 120_000);
afterAll(async () => {
  await west?.mesh.stop();
  await east?.mesh.stop();
});

async function becomes(status: number, from: string): Promise<void> {
  await waitFor(`${status} for ${from}`, async () =>
    (await west.mesh.call(from)).status === status ? true : undefined,
  );
}

/** Asks for the bundle of one trust domain, where the bootstrap asks for all. */
function trustGuestsAlone(bootstrap: string): string {
  return bootstrap.replaceAll('"ALL"', '"spiffe://evil.example"');
}

/** From the hour before now until the hour after. */
function now(): { notBeforeMs: number; notAfterMs: number } {
  return { notBeforeMs: Date.now() - 3_600_000, notAfterMs: Date.now() + 3_600_000 };
}

/** The status that a pod's sidecar answers a caller with this SVID; `refused`: it takes no request from it. */
async function reachAs(ca: FakeCa, id: string, pod = cart): Promise<string> {
  const { der, privateKey } = await ca.leaf(id, now());
  const pem = `-----BEGIN CERTIFICATE-----\n${der.toString('base64')}\n-----END CERTIFICATE-----\n`;
  return await new Promise((resolve) => {
    request({
      host: east.mesh.ip(pod),
      port: inboundPorts.http,
      cert: pem,
      key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
      // Who that is, is not the question here.
      rejectUnauthorized: false,
      agent: false,
    })
      .once('response', (response) => {
        response.resume();
        resolve(String(response.statusCode));
      })
      .once('error', () => resolve('refused'))
      .end();
  });
}

/** `both`: each knows the other; else nobody does. */
function federate(both: boolean): void {
  east.mesh.writeConfig(configOf(both ? [relationWith(west)] : []));
  west.mesh.writeConfig(configOf(both ? [relationWith(east)] : []));
}

describe('two meshes', () => {
  it(
    'are nothing to each other until both say so; then a principal in full lets in whom it names',
    patience,
    async () => {
      expect((await west.mesh.call(named)).status).toBe(503);
      east.mesh.writeConfig(configOf([relationWith(west)]));
      await waitFor('the bundle of west', async () =>
        (await federationOf(east))[0]?.fetched_at ? true : undefined,
      );
      expect((await west.mesh.call(named)).status, 'west does not trust east').toBe(503);
      federate(true);
      await becomes(200, named);
      expect((await west.mesh.call(other)).status, 'namespaces are those of east').toBe(403);
      expect((await east.mesh.call(local)).status).toBe(200);
      expect(await federationOf(west)).toMatchObject([
        { trust_domain: 'east.example', profile: 'https_spiffe', failure: '', roots: [expect.any(String)] },
      ]);
    },
  );

  it('rotate a root, and no request across fails', patience, async () => {
    federate(true);
    await becomes(200, named);
    const load = new Load({ ...west.mesh.wayOut(named), path: '/' });
    try {
      await west.mesh.controlPlane.ask('rotate prepare');
      const early = await west.mesh.controlPlane.tryToAsk('rotate activate');
      expect(early.stderr).toContain('three times --bundle-refresh-hint');
      for (const step of ['activate', 'retire']) {
        await waitFor(
          `the rotation to ${step}`,
          async () =>
            (await west.mesh.controlPlane.tryToAsk(`rotate ${step}`)).code === 0 ? true : undefined,
          { timeoutMs: 120_000, everyMs: 500 },
        );
      }
      // The callee's root too: it signs as soon as west had the time to fetch it.
      await east.mesh.controlPlane.ask('rotate prepare');
      await waitFor(
        'the new root of east to sign',
        async () =>
          (await east.mesh.controlPlane.tryToAsk('rotate activate')).code === 0 ? true : undefined,
        { timeoutMs: 60_000, everyMs: 500 },
      );
      const signed = load.total;
      await waitFor('requests below it', () => (load.total > signed + 20 ? true : undefined));
      await waitFor('the former root to leave', async () =>
        (await federationOf(east))[0]?.roots.length === 1 ? true : undefined,
      );
    } finally {
      await load.stop();
    }
    expect(load.total).toBeGreaterThan(50);
    expect(load.failed).toBe(0);
  });

  it(
    'each vouch for their own names alone: a root of one signs nothing for the other',
    patience,
    async () => {
      const evil = await FakeCa.root(TrustDomain.parse('evil.example'), now());
      const relation = {
        trustDomain: 'evil.example',
        bundleEndpointURL: 'https://127.0.0.1:1/',
        bundleEndpointProfile: {
          type: 'https_spiffe',
          endpointSPIFFEID: 'spiffe://evil.example/endpoint',
        },
        trustDomainBundle: JSON.stringify(evil.bundle().toJSON()),
      };
      east.mesh.writeConfig(configOf([relationWith(west), relation]));
      const reach = async (id: string, pod?: string): Promise<string> => await reachAs(evil, id, pod);
      await waitFor('evil.example to be trusted', async () =>
        (await reach('spiffe://evil.example/ns/shop/sa/web')) === '403' ? true : undefined,
      );
      expect(await reach('spiffe://east.example/ns/shop/sa/local')).toBe('refused');
      expect(await reach('spiffe://west.example/ns/shop/sa/web')).toBe('refused');

      await (await east.mesh.startSidecar(guests)).ready();
      const stranger = 'spiffe://evil.example/ns/shop/sa/web';
      expect(await reach(stranger, guests)).toBe('403');
      expect(await reach('spiffe://east.example/ns/shop/sa/local', guests)).toBe('refused');
      east.mesh.writeConfig(configOf([relationWith(west)]));
      await waitFor('evil.example to be trusted no more', async () =>
        (await reach(stranger, guests)) === 'refused' && (await reach(stranger)) === 'refused'
          ? true
          : undefined,
      );
    },
  );

  it('part: within a second of the push nobody of the other is let in', patience, async () => {
    federate(true);
    await becomes(200, named);
    // On one connection between the sidecars, which goes on.
    const keeps = new Load({ ...west.mesh.wayOut(keeping), path: '/' });
    await waitFor('answers', () => (keeps.total > 5 ? true : undefined));
    east.mesh.writeConfig(configOf([]));
    await becomes(503, named);
    await waitFor('the next request on the open connection to be refused', () =>
      (keeps.statuses.get(403) ?? 0) > 0 ? true : undefined,
    );
    await keeps.stop();
    await waitFor('the access log', () =>
      east.mesh
        .envoy(cart)
        .accessLog()
        .some(({ denied_by: by }) => by === 'countersign-federation[west.example]')
        ? true
        : undefined,
    );
    expect((await east.mesh.call(local)).status).toBe(200);
    expect(await federationOf(east)).toEqual([]);
    const changes = east.mesh.controlPlane
      .audit()
      .filter(({ event, trustDomain }) => event === 'federation.changed' && trustDomain === 'west.example');
    expect(changes.at(-1)).toMatchObject({ change: 'removed', sequence: -1, roots: [] });
  });
});
