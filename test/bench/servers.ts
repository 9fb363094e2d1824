import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Authority, memoryKeyStore } from '../../src/authority/index.ts';
import { LocalIssuer } from '../../src/attestation/index.ts';
import { SpiffeId, TrustDomain } from '../../src/identity/index.ts';
import { freePort } from '../harness/ports.ts';
import { root } from '../harness/paths.ts';
import { waitFor } from '../harness/wait.ts';
import { bareScript, type BareContent, type BareProtocol, type Certificate } from './bare.ts';
import type { BenchMesh } from './bench-mesh.ts';
import type { FleetTarget } from './fleet.ts';
import { MeasuredProcess } from './measured-process.ts';
import type { ProbeProtocol } from './probe.ts';
import type { SidecarIdentity } from './sidecar.ts';

/** A server under measurement, and how sidecars reach it. */
export interface MeasuredServer {
  readonly process: MeasuredProcess<ProbeProtocol>;
  readonly target: Omit<FleetTarget, 'sidecars'>;
}

const probe = new URL('probe.ts', import.meta.url);
const serverName = 'localhost';
const tokenIssuer = 'https://countersign.local';
const audience = 'countersign';

/** The control plane over a directory, asking for every factor. */
export async function startControlPlane(
  folder: string,
  mesh: BenchMesh,
  flags: readonly string[] = [],
): Promise<MeasuredServer> {
  const source = ['--directory', mesh.directory, '--token-issuer', tokenIssuer, ...flags];
  return await startOver(source, folder, mesh);
}

/** The same over an API server, which issues the tokens. */
export async function startControlPlaneInCluster(
  kubeconfig: string,
  folder: string,
  mesh: Pick<BenchMesh, 'workloads'>,
): Promise<MeasuredServer> {
  return await startOver(['--kubeconfig', kubeconfig], folder, mesh);
}

/** As `countersign control-plane` starts it. */
async function startOver(
  source: readonly string[],
  folder: string,
  mesh: Pick<BenchMesh, 'workloads'>,
): Promise<MeasuredServer> {
  const dataDir = join(folder, 'data');
  const port = await freePort();
  const admin = await freePort();
  const controlPlane = new MeasuredProcess<ProbeProtocol>({
    name: 'control-plane',
    folder,
    preload: probe,
    script: new URL(`file://${root}cmd/main.ts`),
    args: [
      ...['control-plane', ...source, '--data-dir', dataDir],
      ...['--listen', `127.0.0.1:${port}`, '--admin', `127.0.0.1:${admin}`],
      ...['--audience', audience, '--peer-address', 'require'],
      ...['--max-concurrent-attestations', String(Math.max(1_024, 2 * mesh.workloads.length))],
      ...['--max-requests-per-minute', String(10 ** 9)],
      ...['--audit-log', join(folder, 'audit.log')],
    ],
  });
  await waitFor('the control plane to be ready', async () => {
    controlPlane.assertRunning();
    return (await fetch(`http://127.0.0.1:${admin}/readyz`)).ok ? true : undefined;
  });
  const authorities = readFileSync(join(dataDir, 'bundle.pem'), 'utf8');
  return { process: controlPlane, target: { port, serverName, authorities } };
}

/** Tokens of the control plane's own issuer, one for each pod. */
export async function identitiesOf(folder: string, mesh: BenchMesh): Promise<readonly SidecarIdentity[]> {
  const directory = join(folder, 'data');
  const issuer = await LocalIssuer.open({ directory, issuer: tokenIssuer, nowMs: Date.now });
  return await Promise.all(
    mesh.workloads.map(async ({ pod, serviceAccount }) => ({
      name: pod.name,
      address: pod.ips[0] ?? '127.0.0.1',
      token: await issuer.issue({ pod, serviceAccount, audience, ttlSeconds: 3_600 }),
    })),
  );
}

/** The bare grpc-js server. */
export async function startBareStreams(folder: string, content: BareContent): Promise<MeasuredServer> {
  return await startBare(folder, async (bare, certificate) =>
    bare.ask('streams', { ...certificate, ...content }),
  );
}

/** The bare grpc-js server of a call: its cryptography, and bytes that are ready. */
export async function startBareCertificates(folder: string, answer: Uint8Array): Promise<MeasuredServer> {
  return await startBare(folder, async (bare, certificate) =>
    bare.ask('certificates', { ...certificate, answer }),
  );
}

/** A TLS server that does handshakes and nothing else. */
export async function startBareHandshakes(folder: string): Promise<MeasuredServer> {
  return await startBare(folder, async (bare, certificate) => bare.ask('handshakes', certificate));
}

type BareProcess = MeasuredProcess<BareProtocol & ProbeProtocol>;

async function startBare(
  folder: string,
  listen: (bare: BareProcess, certificate: Certificate) => Promise<number>,
): Promise<MeasuredServer> {
  const trustDomain = TrustDomain.parse('cluster.local');
  const authority = await Authority.open({
    store: memoryKeyStore(),
    trustDomain,
    nowMs: Date.now,
    svidTtlMs: 3_600_000,
  });
  const id = SpiffeId.workload(trustDomain, 'bench', 'bare');
  const { chainPem, privateKeyPem } = authority.issue(id, { dnsNames: [serverName] });
  const bare: BareProcess = new MeasuredProcess({
    name: 'bare-server',
    folder,
    preload: probe,
    script: bareScript,
  });
  const port = await listen(bare, { chain: chainPem, key: privateKeyPem });
  return { process: bare, target: { port, serverName, authorities: authority.bundle.toPem() } };
}
