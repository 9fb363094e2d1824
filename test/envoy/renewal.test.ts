import { connect } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { Load } from '../harness/http.ts';
import { waitFor } from '../harness/wait.ts';
import { useConnectionsOnce } from './bootstrap-edits.ts';
import { inboundPorts, TestMesh, type TestMeshOptions } from './mesh.ts';
import { allowAll } from './policies.ts';

const cart = 'shop/cart';
/** Keeps its connection to cart; `busy` makes a new one for each request. */
const web = 'shop/web';
const busy = 'shop/busy';
const gone = 'shop/gone';

/** A renewal at half of a minute, 10 % more or less, is waited for. */
const patience = { timeout: 180_000 };

async function startMesh(options: Partial<TestMeshOptions>): Promise<TestMesh> {
  const calls = [{ to: cart, protocol: 'http' }] as const;
  return await TestMesh.start({
    pods: [
      { pod: cart, serves: ['http'] },
      { pod: web, calls },
      { pod: busy, calls, edit: useConnectionsOnce },
      { pod: gone, calls },
    ],
    policies: { cart: allowAll('shop/cart', 'cart') },
    ...options,
  });
}

/** The serial that a sidecar presents on a new connection. */
async function presented(host: string): Promise<string> {
  return await new Promise((resolve, reject) => {
    const socket = connect({ host, port: inboundPorts.http, rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate().serialNumber.toLowerCase());
      socket.destroy();
    });
    socket.once('error', reject);
  });
}

/** What cart's app is told of its caller's certificate on this call: its SHA-256. */
async function callersDigest(mesh: TestMesh, from: string): Promise<string | undefined> {
  const { body } = await mesh.call(from);
  return /Hash=([0-9a-f]+)/u.exec((JSON.parse(body) as { client: string }).client)?.[1];
}

function issuedDigest(mesh: TestMesh, serial: string | undefined): unknown {
  return mesh.controlPlane
    .audit()
    .find((event) => event['event'] === 'svid.issued' && event['serial'] === serial)?.['digest'];
}

async function newSerial(
  mesh: TestMesh,
  pod: string,
  old: readonly string[],
  timeoutMs?: number,
): Promise<string> {
  return await waitFor(
    `a new serial in the Envoy of ${pod}`,
    async () => (await mesh.envoy(pod).serials()).find((serial) => !old.includes(serial)),
    timeoutMs === undefined ? {} : { timeoutMs, everyMs: 100 },
  );
}

describe.concurrent('SVIDs are renewed under load', () => {
  it.each(['sotw', 'delta'] as const)('ordered, %s xDS: no request fails', patience, async (xds) => {
    const mesh = await startMesh({ xds });
    const loads = [web, busy].map((pod) => new Load({ ...mesh.wayOut(pod), path: '/items' }));
    try {
      for (const pod of [cart, web, busy]) {
        const old = await mesh.envoy(pod).serials();
        await mesh.controlPlane.ask('renew', '--pod', pod);
        const serial = await newSerial(mesh, pod, old);
        const totals = loads.map(({ total }) => total);
        await waitFor('traffic after it', () =>
          loads.every(({ total }, index) => total > (totals[index] ?? 0) + 10) ? true : undefined,
        );
        if (pod === cart) expect(await presented(mesh.ip(cart))).toBe(serial);
        if (pod === busy) expect(await callersDigest(mesh, busy)).toBe(issuedDigest(mesh, serial));
      }
    } finally {
      await Promise.all(loads.map((load) => load.stop()));
      await mesh.stop();
    }
    expect(loads.map(({ failed }) => failed)).toEqual([0, 0]);
  });

  it('by itself at half-life, and not for a pod that is gone', patience, async () => {
    const mesh = await startMesh({ flags: ['--svid-ttl', '1m'] });
    const loads = [web, busy].map((pod) => new Load({ ...mesh.wayOut(pod), path: '/items' }));
    try {
      const old = new Map<string, readonly string[]>();
      for (const pod of [cart, web, busy, gone]) old.set(pod, await mesh.envoy(pod).serials());
      mesh.deletePod(gone);
      for (const pod of [cart, web, busy]) {
        const serial = await newSerial(mesh, pod, old.get(pod) ?? [], 45_000);
        const issued = mesh.controlPlane.audit().find((event) => event['serial'] === serial);
        expect(issued).toMatchObject({ event: 'svid.issued', actor: pod, reason: 'renewal' });
      }
      const [ofCart] = await mesh.envoy(cart).serials();
      expect(await presented(mesh.ip(cart))).toBe(ofCart);
      const [ofBusy] = await mesh.envoy(busy).serials();
      expect(await callersDigest(mesh, busy)).toBe(issuedDigest(mesh, ofBusy));
      // It was started with the others, so its time has come as well.
      const ofGone = mesh.controlPlane.audit().filter((event) => event['actor'] === gone);
      expect(ofGone.filter(({ event }) => event === 'svid.issued')).toHaveLength(1);
      expect(ofGone.some(({ event }) => event === 'svid.refused')).toBe(true);
      expect(await mesh.envoy(gone).serials()).toEqual(old.get(gone));
    } finally {
      await Promise.all(loads.map((load) => load.stop()));
      await mesh.stop();
    }
    expect(loads.map(({ failed }) => failed)).toEqual([0, 0]);
    expect(loads.every(({ total }) => total > 0)).toBe(true);
  });
});
