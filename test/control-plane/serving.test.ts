import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TrustBundle, TrustDomain, verifySvid } from '../../src/identity/index.ts';
import type { TestControlPlane } from '../harness/control-plane.ts';
import { root } from '../harness/paths.ts';
import { run } from '../harness/process.ts';
import { waitFor } from '../harness/wait.ts';
import { serverName } from './envoy-client.ts';
import { handshake } from './handshake.ts';
import { checkHealth, watchHealth } from './health.ts';
import { World } from './world.ts';

const world = new World('shop/web');
let controlPlane: TestControlPlane;
beforeAll(async () => {
  controlPlane = await world.start('--server-name', 'mesh.example');
});
afterAll(async () => {
  await world.close();
});

describe('TLS', () => {
  it('is 1.3 and nothing older', async () => {
    expect((await handshake(controlPlane)).protocol).toBe('TLSv1.3');
    await expect(handshake(controlPlane, { version: 'TLSv1.2' })).rejects.toThrow(/protocol version/u);
  });

  it.each([serverName, 'localhost', 'mesh.example'])(
    'verifies with bundle.pem under %s',
    async (servername) => {
      expect((await handshake(controlPlane, { servername })).chain.length).toBeGreaterThan(0);
    },
  );

  it('does not verify under another name', async () => {
    await expect(handshake(controlPlane, { servername: 'elsewhere.example' })).rejects.toThrow(
      /elsewhere\.example/u,
    );
  });

  it('shows a valid X.509-SVID of the control plane', async () => {
    const trustDomain = TrustDomain.parse('cluster.local');
    const bundle = TrustBundle.parse(trustDomain, readFileSync(join(world.dataDir, 'bundle.json'), 'utf8'));
    const { chain } = await handshake(controlPlane);
    const id = verifySvid({ chain, bundles: () => bundle, nowMs: Date.now() });
    expect(id.uri).toBe('spiffe://cluster.local/ns/countersign-system/sa/control-plane');
  });
});

describe('grpc.health.v1', () => {
  it('answers Check without a token', async () => {
    expect(await checkHealth(controlPlane)).toBe('SERVING');
    expect(await checkHealth(controlPlane, 'no.such.Service')).toBe('NOT_FOUND');
  });

  it('answers Watch without a token', async () => {
    const watch = watchHealth(controlPlane);
    await waitFor('a status', () => watch.statuses[0]);
    expect(watch.statuses).toEqual(['SERVING']);
    watch.close();
  });
});

describe('reflection, as buf sees it,', () => {
  const xds = 'envoy.service';
  const services = [
    `${xds}.discovery.v3.AggregatedDiscoveryService`,
    `${xds}.extension.v3.ExtensionConfigDiscoveryService`,
    `${xds}.secret.v3.SecretDiscoveryService`,
    'grpc.health.v1.Health',
    'grpc.reflection.v1.ServerReflection',
    'grpc.reflection.v1alpha.ServerReflection',
    'istio.v1.auth.IstioCertificateService',
  ];
  const buf = async (...args: readonly string[]): ReturnType<typeof run> =>
    await run(`${root}node_modules/.bin/buf`, [
      ...['curl', '--protocol', 'grpc', '--cacert', controlPlane.bundle, '--servername', serverName],
      ...args,
    ]);

  it('lists the services', async () => {
    const { stdout } = await buf('--list-services', `https://${controlPlane.address}`);
    expect(stdout.trim().split('\n')).toEqual(services);
  });

  it('describes each method of each service', async () => {
    const { stdout, stderr } = await buf('--list-methods', `https://${controlPlane.address}`);
    expect(stderr).toBe('');
    for (const service of services) expect(stdout).toContain(`${service}/`);
    expect(stdout).toContain(`${xds}.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources`);
  });

  it('is enough to make calls with', async () => {
    const health = await buf('-d', '{}', `https://${controlPlane.address}/grpc.health.v1.Health/Check`);
    expect(JSON.parse(health.stdout)).toEqual({ status: 'SERVING' });
    const token = await controlPlane.ask('token', '--pod', 'shop/web');
    const request = {
      type_url: 'type.googleapis.com/x',
      resource_names: ['y'],
      node: { metadata: { a: [1] } },
    };
    const ads = await buf(
      ...['-H', `authorization: Bearer ${token}`, '-d', JSON.stringify(request)],
      `https://${controlPlane.address}/${xds}.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources`,
    );
    expect(ads.stderr).toBe('');
    expect(ads.code).toBe(0);
  });
});

describe('the admin port', () => {
  const get = async (path: string, method = 'GET'): Promise<Response> =>
    await fetch(`http://${controlPlane.admin}${path}`, { method });

  it('answers /healthz and /readyz', async () => {
    for (const path of ['/healthz', '/readyz']) {
      const response = await get(path);
      expect({ status: response.status, body: await response.text() }).toEqual({ status: 200, body: 'ok\n' });
    }
    expect((await get('/nonsense')).status).toBe(404);
    expect((await get('/metrics', 'POST')).status).toBe(405);
  });

  it('shows metrics in Prometheus’ text form', async () => {
    const response = await get('/metrics');
    expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/u);
    const text = await response.text();
    const comment = /^# (?:HELP [a-z_]\w* \S.*|TYPE [a-z_]\w* (?:counter|gauge|histogram|summary))$/u;
    const label = String.raw`[a-z_]\w*="(?:[^"\\\n]|\\[\\"n])*"`;
    const sample = new RegExp(
      String.raw`^([a-zA-Z_:][\w:]*)(?:\{(?:${label},?)*\})? (?:[-+]?[\d.]+(?:e[-+]?\d+)?|[-+]Inf|NaN)$`,
      'u',
    );
    const typed = new Map<string, string>();
    const names = new Set<string>();
    for (const line of text.split('\n').filter((one) => one !== '')) {
      if (line.startsWith('#')) {
        expect(line).toMatch(comment);
        const [, , name = '', kind = ''] = line.split(' ');
        if (line.startsWith('# TYPE')) {
          expect(typed.has(name)).toBe(false);
          typed.set(name, kind);
        }
        continue;
      }
      expect(line).toMatch(sample);
      const name = sample.exec(line)?.[1] ?? '';
      names.add(name);
      const family = typed.has(name) ? name : name.replace(/_(?:bucket|sum|count)$/u, '');
      expect(typed.has(family), `${name} has a TYPE before it`).toBe(true);
    }
    for (const name of ['countersign_mesh_generation', 'countersign_certificate_not_after_seconds']) {
      expect(names).toContain(name);
    }
    for (const [name, kind] of typed) {
      if (kind === 'counter' && name.startsWith('countersign_')) expect(name).toMatch(/_total$/u);
    }
  });
});
