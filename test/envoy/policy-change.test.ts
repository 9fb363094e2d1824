import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { call, oneConnection } from '../harness/http.ts';
import { Http2Connection } from '../harness/http2.ts';
import { waitFor } from '../harness/wait.ts';
import { useHttp1 } from './bootstrap-edits.ts';
import { TestMesh } from './mesh.ts';
import { allowAll, policyYaml } from './policies.ts';

const cart = 'shop/cart';
/** Speaks HTTP/2 with cart, and `old` HTTP/1.1. */
const web = 'shop/web';
const old = 'shop/old';

interface Connection {
  status(path: string): Promise<number>;
  close(): void;
}

function http1(mesh: TestMesh): Connection {
  const agent = oneConnection();
  return {
    status: async (path) => (await call({ ...mesh.wayOut(old), path, agent })).status,
    close: () => agent.destroy(),
  };
}

describe.each(['sotw', 'delta'] as const)('policies change, %s xDS', (xds) => {
  let mesh: TestMesh;

  beforeEach(async () => {
    const calls = [{ to: cart, protocol: 'http' }] as const;
    mesh = await TestMesh.start({
      xds,
      pods: [
        { pod: cart, serves: ['http'] },
        { pod: web, calls },
        { pod: old, calls, edit: useHttp1 },
      ],
      policies: { cart: allowAll('shop/cart', 'cart') },
    });
  });
  afterEach(async () => mesh.stop());

  /** Connections that were ever made or closed, by the Envoys of both sides. */
  async function connections(): Promise<Readonly<Record<string, number>>> {
    const inbound = `http.${mesh.inboundName(cart)}`;
    const counts: Record<string, number> = {};
    for (const name of ['downstream_cx_total', 'downstream_cx_destroy', 'downstream_cx_http1_total'])
      counts[name] = await mesh.envoy(cart).stat(`${inbound}.${name}`);
    for (const pod of [web, old]) {
      const outbound = `outbound|${mesh.wayOut(pod).host}|${mesh.wayOut(pod).port}`;
      for (const name of ['upstream_cx_total', 'upstream_cx_destroy'])
        counts[`${pod} ${name}`] = await mesh.envoy(pod).stat(`cluster.${outbound}.${name}`);
      for (const name of ['downstream_cx_total', 'downstream_cx_destroy'])
        counts[`${pod} ${name}`] = await mesh.envoy(pod).stat(`http.${outbound}.${name}`);
    }
    return counts;
  }

  it('a change, an addition and a deletion reach open HTTP/1.1 and HTTP/2 connections, and close none', async () => {
    const open: readonly Connection[] = [http1(mesh), new Http2Connection(mesh.wayOut(web))];
    const everywhere = async (path: string, status: number): Promise<void> => {
      for (const connection of open)
        await waitFor(`${status} for ${path}`, async () =>
          (await connection.status(path)) === status ? true : undefined,
        );
    };
    await everywhere('/', 200);
    const before = await connections();
    expect(before).toMatchObject({
      downstream_cx_total: 2,
      downstream_cx_http1_total: 1,
      downstream_cx_destroy: 0,
    });

    mesh.writePolicy(
      'cart',
      policyYaml('shop/cart', { rules: [{ to: [{ operation: { paths: ['/new'] } }] }] }),
    );
    await everywhere('/', 403);
    await everywhere('/new', 200);

    mesh.writePolicy('deny', policyYaml('shop/deny', { action: 'DENY', rules: [{}] }));
    await everywhere('/new', 403);

    mesh.deletePolicy('deny');
    await everywhere('/new', 200);

    mesh.deletePolicy('cart');
    await everywhere('/new', 403);

    mesh.writePolicy('cart', allowAll('shop/cart', 'cart'));
    await everywhere('/', 200);

    expect(await connections()).toEqual(before);
    for (const connection of open) connection.close();
  });

  it('a bad document keeps the last good policy in force, and is reported by file, line and field', async () => {
    const connection = new Http2Connection(mesh.wayOut(web));
    expect(await connection.status('/')).toBe(200);
    const bad = policyYaml('shop/cart', { rules: [{ to: [{ operation: { path: ['/new'] } }] }] });
    mesh.writePolicy('cart', bad);
    const event = await waitFor('the rejection in the audit log', () =>
      mesh.controlPlane.audit().find(({ event: name }) => name === 'policy.rejected'),
    );
    const line = bad.split('\n').findIndex((text) => text.includes('path:')) + 1;
    expect(event['where']).toBe(`policies/cart.yaml:${line} spec.rules[0].to[0].operation.path`);
    expect(event['detail']).toContain('paths');
    // A later change of another file arrives; the bad one is not in it.
    mesh.writePolicy(
      'deny',
      policyYaml('shop/deny', { action: 'DENY', rules: [{ to: [{ operation: { paths: ['/x'] } }] }] }),
    );
    await waitFor('the later policy', async () =>
      (await connection.status('/x')) === 403 ? true : undefined,
    );
    expect(await connection.status('/')).toBe(200);
    expect(await mesh.controlPlane.metrics()).toMatch(/problems\S* 1$/mu);

    mesh.writePolicy('cart', bad.replace('path:', 'paths:'));
    await waitFor('the corrected policy', async () =>
      (await connection.status('/')) === 403 ? true : undefined,
    );
    expect(await connection.status('/new')).toBe(200);
    connection.close();
  });
});
