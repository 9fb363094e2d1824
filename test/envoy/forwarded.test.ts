import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { exchange } from '../harness/tcp.ts';
import { TestMesh } from './mesh.ts';
import { documents, policyYaml } from './policies.ts';

const cart = 'shop/cart';
const web = 'shop/web';
const blocked = '203.0.113.7';
const other = '198.51.100.7';

const policies = documents(
  policyYaml('shop/allow', { rules: [{}] }),
  policyYaml('shop/deny', {
    action: 'DENY',
    rules: [{ from: [{ source: { remoteIpBlocks: ['203.0.113.0/24'] } }] }],
  }),
  stringify({
    apiVersion: 'security.countersign.dev/v1',
    kind: 'PeerAuthentication',
    metadata: { namespace: 'shop', name: 'all' },
    spec: { mtls: { mode: 'PERMISSIVE' } },
  }),
);

async function start(...bootstrapFlags: readonly string[]): Promise<TestMesh> {
  return await TestMesh.start({
    pods: [
      { pod: cart, serves: ['http', 'tcp'] },
      { pod: web, calls: [{ to: cart, protocol: 'http' }] },
    ],
    policies: { all: policies },
    bootstrapFlags,
  });
}

describe('--trusted-hops 1', () => {
  let mesh: TestMesh;
  beforeAll(async () => {
    mesh = await start('--trusted-hops', '1');
  });
  afterAll(async () => mesh.stop());

  it.each([
    ['the address that the proxy in front has written', blocked, 403],
    ['another one', other, 200],
    ['what the proxy has written, not its caller', `${blocked}, ${other}`, 200],
    ['the last one', `${other}, ${blocked}`, 403],
  ])('remoteIpBlocks sees %s: %s', async (_, forwarded, status) => {
    const headers = { 'x-forwarded-for': forwarded };
    expect((await mesh.call(web, { headers })).status).toBe(status);
  });

  it('without the header, remoteIpBlocks sees the peer', async () => {
    expect((await mesh.call(web)).status).toBe(200);
  });
});

describe('--proxy-protocol', () => {
  let mesh: TestMesh;
  beforeAll(async () => {
    mesh = await start('--proxy-protocol');
  });
  afterAll(async () => mesh.stop());

  const from = (ip: string): string => `PROXY TCP4 ${ip} 127.0.0.1 40000 8080\r\n`;
  const http = async (before: string): Promise<string> =>
    await exchange({
      host: mesh.ip(cart),
      port: 8_080,
      text: `${before}GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`,
    });
  const tcp = async (before: string): Promise<string> =>
    await exchange({ host: mesh.ip(cart), port: 9_000, text: `${before}hello` });

  it('remoteIpBlocks sees the client that the header names, on HTTP and TCP', async () => {
    expect(await http(from(blocked))).toMatch(/^HTTP\/1\.1 403/u);
    expect(await http(from(other))).toMatch(/^HTTP\/1\.1 200/u);
    expect(await tcp(from(blocked))).toBe('');
    expect(await tcp(from(other))).toBe('hello');
  }, 40_000);

  it('a connection without the header is closed', async () => {
    expect(await http('')).toBe('');
  });
});
