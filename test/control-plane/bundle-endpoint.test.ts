import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { stringify } from 'yaml';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TrustDomain } from '../../src/identity/index.ts';
import { credentialsOf } from '../fake/pem.ts';
import { FakeCa, type Deviation } from '../fake/ca.ts';
import type { TestControlPlane } from '../harness/control-plane.ts';
import { freePort } from '../harness/ports.ts';
import { waitFor } from '../harness/wait.ts';
import { logLines, World } from './world.ts';

const world = new World('shop/web');
const partner = new World('shop/web');
const certFile = join(world.folder, 'web.pem');
const keyFile = join(world.folder, 'web.key');
let web: FakeCa;
let port = 0;
let controlPlane: TestControlPlane;

function validFor(minutes: number): { notBeforeMs: number; notAfterMs: number } {
  return { notBeforeMs: Date.now() - 3_600_000, notAfterMs: Date.now() + minutes * 60_000 };
}
async function made(deviation: Deviation = {}): Promise<{ cert: string; key: string }> {
  return credentialsOf(
    await web.leaf('spiffe://web.example/x', { ...validFor(60), dnsNames: ['localhost'], ...deviation }),
  );
}
function write({ cert, key }: { cert: string; key: string }): void {
  writeFileSync(certFile, cert);
  writeFileSync(keyFile, key);
}
const flags = (): string[] => [
  '--bundle-endpoint',
  `127.0.0.1:${port}`,
  '--bundle-endpoint-profile',
  'https_web',
  '--bundle-endpoint-cert',
  certFile,
  '--bundle-endpoint-key',
  keyFile,
];
/** Serial of the certificate that the endpoint shows now. */
async function shown(): Promise<string> {
  return await new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false }, () => {
      resolve(socket.getPeerX509Certificate()?.serialNumber ?? '');
      socket.destroy();
    });
    socket.once('error', reject);
  });
}
async function ready(): Promise<string> {
  return await (await fetch(`http://${controlPlane.admin}/readyz`)).text();
}

beforeAll(async () => {
  web = await FakeCa.root(TrustDomain.parse('web.example'), validFor(120));
  const [, root = ''] = credentialsOf(await web.leaf('x'), web.der).cert.split(/(?=-----BEGIN)/u);
  const caFile = join(world.folder, 'web-ca.pem');
  writeFileSync(caFile, root);
  process.env['NODE_EXTRA_CA_CERTS'] = caFile;
  port = await freePort();
  write(await made());
  controlPlane = await world.start('--trust-domain', 'east.example', ...flags());
});
afterAll(async () => {
  delete process.env['NODE_EXTRA_CA_CERTS'];
  await world.close();
  await partner.close();
});

describe('the bundle endpoint by https_web', () => {
  it('is federated with by its name in Web PKI', async () => {
    const config = join(partner.folder, 'mesh.yaml');
    const relation = {
      trustDomain: 'east.example',
      bundleEndpointURL: `https://localhost:${port}/`,
      bundleEndpointProfile: { type: 'https_web' },
    };
    writeFileSync(config, stringify({ federation: [relation] }));
    const other = await partner.start('--trust-domain', 'west.example', '--mesh-config', config);
    const list = await waitFor('the bundle', async () => {
      const text = await other.ask('federation list');
      return text.includes(' ok') && !text.includes('never') ? text : undefined;
    });
    expect(list).toMatch(/east\.example +https_web +\d+ +[0-9a-f]{16}/u);
    expect(await other.metrics()).toMatch(/federation_bundle_sequence\{trust_domain="east\.example"\} \d/u);
    await controlPlane.stop();
    expect(await other.ask('federation list')).toContain('east.example');
    await controlPlane.restart();
  });

  it('follows its files, and keeps the certificate of before where the new one is bad', async () => {
    const before = await shown();
    const good = await made();
    write(good);
    const after = await waitFor('the new certificate', async () => {
      const now = await shown();
      return now === before ? undefined : now;
    });
    for (const [bad, why] of [
      [{ cert: good.cert, key: (await made()).key }, /is not the key of/u],
      [{ cert: good.cert, key: 'none' }, /holds no private key/u],
      [{ cert: 'none', key: good.key }, /holds no certificate/u],
      [await made(validFor(-1)), /has expired/u],
      [await made({ dnsNames: [] }), /names no host/u],
    ] as const) {
      write(bad);
      await waitFor(`${why} in /readyz`, async () => (why.test(await ready()) ? true : undefined));
      expect(await shown()).toBe(after);
    }
    expect(await controlPlane.metrics()).toMatch(/bundle_endpoint_certificate_failures_total [5-9]/u);
    write(good);
    await waitFor('/readyz to be clear', async () =>
      (await ready()).includes('bundle endpoint') ? undefined : true,
    );
    expect(logLines(controlPlane.log).some(({ msg }) => /KEY-----/u.test(String(msg)))).toBe(false);
  });
});

describe('flags of the bundle endpoint', () => {
  it.each([
    [['--bundle-endpoint-cert', 'a', '--bundle-endpoint-key', 'b'], /need --bundle-endpoint/u],
    [['--bundle-endpoint', '127.0.0.1:0', '--bundle-endpoint-key', 'b'], /leave --bundle-endpoint-cert/u],
    [
      ['--bundle-endpoint', '127.0.0.1:0', '--bundle-endpoint-profile', 'https_web'],
      /needs --bundle-endpoint-cert/u,
    ],
    [['--bundle-refresh-hint', '1500ms'], /whole seconds between 1s and 24h/u],
  ])('%j are refused', async (bad, why) => {
    const other = new World('shop/web');
    const { code, output } = await other.refused(...bad);
    expect([code, output]).toEqual([2, expect.stringMatching(why)]);
    await other.close();
  });
});
