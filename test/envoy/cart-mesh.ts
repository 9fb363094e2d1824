import type { RotateRootResponse } from '../../src/operator/index.ts';
import { Load } from '../harness/http.ts';
import { exchange } from '../harness/tcp.ts';
import { useConnectionsOnce } from './bootstrap-edits.ts';
import { overHttp2, Repeated } from './load.ts';
import { TestMesh } from './mesh.ts';
import { allowAll } from './policies.ts';

export const cart = 'shop/cart';
export const web = 'shop/web';
/** Makes a new connection for each request. */
export const busy = 'shop/busy';

/** A mesh whose authority is to change while two sidecars call a third, over HTTP and TCP. */
export async function startCartMesh(...flags: readonly string[]): Promise<TestMesh> {
  const calls = [
    { to: cart, protocol: 'http' },
    { to: cart, protocol: 'tcp' },
  ] as const;
  return await TestMesh.start({
    pods: [
      { pod: cart, serves: ['http', 'tcp'] },
      { pod: web, calls },
      { pod: busy, calls, edit: useConnectionsOnce },
    ],
    policies: { cart: allowAll(cart, 'cart') },
    flags,
  });
}

/** HTTP/1.1, HTTP/2 and TCP, of both callers. @param pauseMs between two calls; absent: none */
export function loadsOf(mesh: TestMesh, pauseMs?: number): readonly (Load | Repeated)[] {
  return [web, busy].flatMap((pod) => {
    const [http, tcp] = [mesh.wayOut(pod), mesh.wayOut(pod, 1)];
    return [
      new Load({ ...http, path: '/items' }, undefined, pauseMs),
      overHttp2(http, pauseMs),
      new Repeated(async () => (await exchange({ ...tcp, text: 'hello' })) === 'hello', pauseMs),
    ];
  });
}

export async function rotationOf(mesh: TestMesh): Promise<RotateRootResponse> {
  return JSON.parse(await mesh.controlPlane.ask('rotate status', '-o', 'json')) as RotateRootResponse;
}
