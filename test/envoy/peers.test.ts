import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { call } from '../harness/http.ts';
import { Http2Connection } from '../harness/http2.ts';
import { exchange } from '../harness/tcp.ts';
import { waitFor } from '../harness/wait.ts';
import { Evaluator, type PeerMode } from '../../src/policy/index.ts';
import { parsePolicies } from './judge.ts';
import { inboundPorts, TestMesh, trustDomain } from './mesh.ts';
import { policyYaml } from './policies.ts';

const cart = 'shop/cart';
const other = 'shop/other';
const web = 'shop/web';

type Spec = Readonly<Record<string, unknown>>;

function peers(name: string, spec: Spec): string {
  const [namespace, short] = name.split('/');
  return stringify({
    apiVersion: 'security.istio.io/v1',
    kind: 'PeerAuthentication',
    metadata: { namespace, name: short },
    spec,
  });
}

/** `/mine` is for a proven caller, the rest for anybody. */
const allow = policyYaml('shop/allow', {
  rules: [
    { to: [{ operation: { notPaths: ['/mine'] } }] },
    { from: [{ source: { principals: ['*'] } }] },
    { to: [{ operation: { ports: ['9000'] } }] },
  ],
});

const ofCart = (mode: string, ports?: Readonly<Record<number, { mode: string }>>): string =>
  peers('shop/cart', {
    selector: { matchLabels: { app: 'cart' } },
    mtls: { mode },
    ...(ports && { portLevelMtls: ports }),
  });

describe.each(['sotw', 'delta'] as const)('PeerAuthentication on a running mesh, %s xDS', (xds) => {
  let mesh: TestMesh;

  beforeAll(async () => {
    mesh = await TestMesh.start({
      xds,
      pods: [
        { pod: cart, serves: ['http', 'tcp'] },
        { pod: other, serves: ['http'] },
        {
          pod: web,
          calls: [
            { to: cart, protocol: 'http' },
            { to: cart, protocol: 'tcp' },
            { to: other, protocol: 'http' },
          ],
        },
      ],
      policies: {
        allow,
      },
    });
  });
  afterAll(async () => mesh.stop());

  const plaintext = async (path = '/', pod = cart, headers = {}): Promise<{ status: number; body: string }> =>
    await call({
      host: mesh.ip(pod),
      port: inboundPorts.http,
      path,
      headers: { connection: 'close', ...headers },
    });
  const plaintextTcp = async (): Promise<string> =>
    await exchange({ host: mesh.ip(cart), port: inboundPorts.tcp, text: 'hello' });
  const mtls = async (path = '/'): Promise<number> => (await mesh.call(web, { path })).status;
  const mtlsTcp = async (): Promise<string> => await exchange({ ...mesh.wayOut(web, 1), text: 'hello' });
  const until = async (what: string, probe: () => Promise<boolean>): Promise<void> => {
    await waitFor(what, async () => ((await probe()) ? true : undefined));
  };

  /** Every caller's every path, by the Envoy and by the evaluator. */
  async function agree(mode: PeerMode): Promise<void> {
    const evaluator = new Evaluator(parsePolicies(allow), {
      settings: { trustDomain, rootNamespace: 'countersign-system', defaultAction: 'deny' },
      peer: { mode, ports: new Map(), from: ['shop/cart'] },
    });
    for (const [principal, ask] of [
      [mesh.id(web), mtls],
      [undefined, async (path: string): Promise<number> => (await plaintext(path)).status],
    ] as const) {
      for (const path of ['/', '/mine']) {
        const { verdict } = evaluator.decide({
          protocol: 'http',
          principal,
          sourceIp: undefined,
          remoteIp: undefined,
          destinationIp: mesh.ip(cart),
          destinationPort: inboundPorts.http,
          sni: undefined,
          method: 'GET',
          path,
          host: undefined,
          headers: {},
        });
        const allowed = (await ask(path)) === 200;
        expect({ mode, principal, path, allowed }).toEqual({
          mode,
          principal,
          path,
          allowed: verdict === 'ALLOW',
        });
      }
    }
  }

  it('without a document plaintext is refused, and the log says which way it came', async () => {
    expect((await plaintext()).status).toBe(0);
    expect(await plaintextTcp()).toBe('');
    await agree('STRICT');
    expect(await mtlsTcp()).toBe('hello');
    const refused = await mesh
      .envoy(cart)
      .logged(({ chain, details }) => chain === 'plaintext' && details !== null);
    expect(refused.details).toBe('rbac_access_denied_matched_policy[none]');
    const request = await mesh.envoy(cart).logged(({ path }) => path === '/mine');
    expect(request.chain).toBe('mtls');
  });

  it('a TLS client without a certificate is refused, and the log says why', async () => {
    const socket = connectTls({ host: mesh.ip(cart), port: inboundPorts.http, rejectUnauthorized: false });
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    socket.on('error', () => socket.destroy()).resume();
    await closed;
    const line = await mesh
      .envoy(cart)
      .logged(({ chain, tls_failure: failure }) => chain === 'mtls' && typeof failure === 'string');
    expect(line.tls_failure).toContain('PEER_DID_NOT_RETURN_A_CERTIFICATE');
  });

  it('PERMISSIVE lets both in, and nobody who proves nothing becomes somebody; open connections stay', async () => {
    const connection = new Http2Connection(mesh.wayOut(web));
    expect(await connection.status('/mine')).toBe(200);
    mesh.writePolicy('peers', ofCart('PERMISSIVE'));
    await until('plaintext', async () => (await plaintext()).status === 200);
    await agree('PERMISSIVE');
    expect(await plaintextTcp()).toBe('hello');
    expect((await plaintext('/mine')).status).toBe(403);
    const claim = { 'x-forwarded-client-cert': `URI=${mesh.id(web)}` };
    expect((await plaintext('/mine', cart, claim)).status).toBe(403);
    expect((await plaintext('/', cart, claim)).body).not.toContain(mesh.id(web));
    expect((await plaintext('/', other)).status).toBe(0);
    expect(await mtls('/mine')).toBe(200);
    expect(await connection.status('/mine')).toBe(200);
    expect(connection.closed).toBe(false);
    connection.close();
    const event = mesh.controlPlane.audit().findLast(({ event: name }) => name === 'policy.changed');
    expect(event).toMatchObject({ kind: 'PeerAuthentication', policy: 'shop/cart', workloads: 1 });
  });

  it('on a connection that is open, STRICT refuses the next request', async () => {
    const open = new Http2Connection({ host: mesh.ip(cart), port: inboundPorts.http });
    expect(await open.status('/')).toBe(200);
    mesh.writePolicy('peers', ofCart('STRICT'));
    await until('the refusal', async () => (await open.status('/')) === 403);
    const refused = await mesh
      .envoy(cart)
      .logged(({ details }) => details === 'rbac_access_denied_matched_policy[plaintext]');
    expect(refused).toMatchObject({ status: 403, chain: 'plaintext' });
    mesh.writePolicy('peers', ofCart('PERMISSIVE'));
    await until('the answer', async () => (await open.status('/')) === 200);
    expect(open.closed).toBe(false);
    open.close();
  });

  it('DISABLE is plaintext alone', async () => {
    mesh.writePolicy('peers', ofCart('DISABLE'));
    await until('mTLS to be refused', async () => (await mtls('/')) === 403);
    await agree('DISABLE');
    expect(await plaintextTcp()).toBe('hello');
    expect(await mtlsTcp()).toBe('');
  });

  it('a port has a mode of its own', async () => {
    mesh.writePolicy('peers', ofCart('STRICT', { [inboundPorts.tcp]: { mode: 'PERMISSIVE' } }));
    await until('mTLS', async () => (await mtls('/')) === 200);
    expect((await plaintext()).status).toBe(0);
    expect(await plaintextTcp()).toBe('hello');
    expect(await mtlsTcp()).toBe('hello');
    mesh.writePolicy('peers', ofCart('PERMISSIVE', { [inboundPorts.tcp]: { mode: 'STRICT' } }));
    await until('plaintext', async () => (await plaintext()).status === 200);
    expect(await plaintextTcp()).toBe('');
  });

  it('the wider scope holds where the workload says nothing, and STRICT comes back with the documents gone', async () => {
    mesh.writePolicy('peers', peers('countersign-system/mesh', { mtls: { mode: 'PERMISSIVE' } }));
    await until('the mesh', async () => (await plaintext('/', other)).status === 200);
    mesh.writePolicy('namespace', peers('shop/namespace', { mtls: { mode: 'STRICT' } }));
    await until('the namespace', async () => (await plaintext('/', other)).status === 0);
    mesh.deletePolicy('namespace');
    await until('the mesh again', async () => (await plaintext('/', other)).status === 200);
    mesh.deletePolicy('peers');
    await until('STRICT', async () => (await plaintext('/', other)).status === 0);
    expect((await plaintext()).status).toBe(0);
  });

  it('a client that says nothing is closed after the time that TLS is waited for', async () => {
    const socket = connect({ host: mesh.ip(cart), port: inboundPorts.http });
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    socket.on('error', () => socket.destroy()).resume();
    await closed;
    expect(socket.bytesRead).toBe(0);
  });
});
