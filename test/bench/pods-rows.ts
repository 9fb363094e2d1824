import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { at, firstEvents, type ApiClient, type WatchEvent } from '../cluster/api-client.ts';
import type { AuditedRequest } from '../cluster/audit-log.ts';
import { crdFiles } from '../deploy/chart.ts';
import { reviewToken } from '../cluster/tokens.ts';
import { waitFor } from '../harness/wait.ts';
import { audience, controlPlaneAccount, KubernetesWorld } from '../kubernetes/world.ts';
import { writeMesh, type BenchMesh } from './bench-mesh.ts';
import { monotonicMs } from './clock.ts';
import { tokenKeyAndSignature } from './crypto-limits.ts';
import { bare, bareAndCryptography } from './fleet-rows.ts';
import { runFleet, type FleetRun } from './fleet-run.ts';
import { fleetScript, type FleetProtocol } from './fleet.ts';
import { MeasuredProcess } from './measured-process.ts';
import type { BenchOptions } from './options.ts';
import { cpuSecondsOf } from './other-process.ts';
import { rate } from './rates.ts';
import { row, type Row } from './row.ts';
import { startBareStreams, startControlPlaneInCluster } from './servers.ts';
import type { SidecarIdentity } from './sidecar.ts';

const reviewing =
  'the API server alone: it reviews those tokens for a client that does nothing else, as many at once as the control plane has under way';
const parsing = 'JSON.parse of the same events, each once';
const perNewcomer = 'one for each, as each sends a token that was never seen';

/** The API server answers for a token that it has seen within this time without looking. */
const rememberedMs = 10_000;
/** Requests of the bench under way; as many reviews as the control plane has. */
const atOnce = 32;
/** What was heard of the last pod has been dealt with by then. */
const quietMs = 1_500;

/** Pods made at once at a real API server, then their sidecars, all at once. */
export async function podsRows(
  { size, profile }: BenchOptions,
  progress: (text: string) => void,
): Promise<readonly Row[]> {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-bench-'));
  const world = await KubernetesWorld.start();
  // Beside those of cold-start, which is measured in the same way.
  const profiles = profile === undefined ? undefined : join(profile, 'pods');
  if (profiles !== undefined) mkdirSync(profiles, { recursive: true });
  const fleet = new MeasuredProcess<FleetProtocol>({ name: 'fleet', folder, script: fleetScript });
  try {
    const mesh = writeMesh(folder, size.pods);
    await prepare(world, mesh);
    // Not by way of the wire: that would measure the bench too.
    const kubeconfig = await world.cluster.kubeconfigOf(controlPlaneAccount);
    const server = await startControlPlaneInCluster(kubeconfig, folder, mesh);
    let made: Made;
    let product: FleetRun;
    let apiServerSeconds: number;
    const apiServerCpu = (): number => cpuSecondsOf(world.cluster.apiServer.pid);
    try {
      progress(`  ${size.pods} pods`);
      made = await makePods(world, mesh, async () => server.process.ask('cpu', undefined));
      progress(`  their sidecars, and the same at a bare server`);
      const { sidecars } = made;
      const before = apiServerCpu();
      product = await runFleet({ fleet, server, sidecars, changes: [], profile: profiles });
      apiServerSeconds = apiServerCpu() - before;
    } finally {
      await server.process.stop();
    }
    const reviews = await reviewsIn(world, size.pods);
    const limit = await measureBare(folder, fleet, mesh, made.sidecars, product);
    const proofSeconds = size.pods / rate(tokenKeyAndSignature(), size.rounds * size.roundMs);
    await sleep(rememberedMs);
    const before = apiServerCpu();
    const reviewsMs = await reviewAll(world.cluster.operator, made.sidecars);
    const reviewsAlone = { ms: reviewsMs, cpuSeconds: apiServerCpu() - before };
    return rowsOf({ made, product, apiServerSeconds, limit, proofSeconds, reviews, reviewsAlone });
  } finally {
    await fleet.stop();
    await world.dispose();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Everything but the pods. */
async function prepare(world: KubernetesWorld, mesh: BenchMesh): Promise<void> {
  const { make } = world.cluster;
  for (const file of crdFiles()) await world.kubectl(['apply', '-f', file]);
  const accounts = new Set(mesh.workloads.map(({ serviceAccount }) => serviceAccount));
  for (const namespace of new Set([...accounts].map((account) => account.namespace))) {
    await make.namespace(namespace);
  }
  for (const { namespace, name } of accounts) await make.serviceAccount(namespace, name);
  for (const node of new Set(mesh.workloads.map(({ pod }) => pod.nodeName ?? ''))) await make.node(node);
  await world.kubectl(['apply', '--server-side', '-f', join(mesh.directory, 'policies')]);
}

interface Made {
  readonly sidecars: readonly SidecarIdentity[];
  /** Of the control plane, which follows. */
  readonly followCpuSeconds: number;
  readonly parseCpuSeconds: number;
  /** From the first request to the last pod's address. */
  readonly madeMs: number;
}

async function makePods(
  world: KubernetesWorld,
  mesh: BenchMesh,
  cpuSeconds: () => Promise<number>,
): Promise<Made> {
  const { cluster } = world;
  // Each is made, and then has its address.
  const events = firstEvents(cluster.operator, at('pods'), 2 * mesh.workloads.length);
  const before = await cpuSeconds();
  const startedMs = monotonicMs();
  await each(mesh.workloads, async ({ pod }) => {
    const { namespace, name, serviceAccount, nodeName, ips, labels } = pod;
    await cluster.make.pod({ namespace, name, serviceAccount, node: nodeName, ips, labels });
  });
  const madeMs = monotonicMs() - startedMs;
  await sleep(quietMs);
  const followCpuSeconds = (await cpuSeconds()) - before;
  const parseCpuSeconds = parseSeconds(await events);
  const sidecars = await each(mesh.workloads, async ({ pod: { namespace, name, serviceAccount, ips } }) => ({
    name,
    address: ips[0] ?? '',
    token: await cluster.token({ namespace, serviceAccount, pod: name, audiences: [audience] }),
  }));
  return { sidecars, followCpuSeconds, parseCpuSeconds, madeMs };
}

function parseSeconds(events: readonly WatchEvent[]): number {
  const lines = events.map((event) => JSON.stringify(event));
  const { user, system } = process.cpuUsage();
  for (const line of lines) JSON.parse(line);
  const after = process.cpuUsage();
  return (after.user + after.system - user - system) / 1e6;
}

/** Some at a time, in their order. */
async function each<T, R>(items: readonly T[], run: (item: T) => Promise<R>): Promise<readonly R[]> {
  const results: R[] = [];
  const waiting = items.entries();
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (const [index, item] of waiting) results[index] = await run(item);
    }),
  );
  return results;
}

/** How many TokenReviews the control plane made, by the API server's own audit log. */
async function reviewsIn(world: KubernetesWorld, expected: number): Promise<number> {
  const ours = ({ user, resource }: AuditedRequest): boolean =>
    resource === 'tokenreviews' && user.endsWith(`:${controlPlaneAccount.serviceAccount}`);
  const count = (): number => world.cluster.audit.requests(ours).length;
  await waitFor('the reviews in the audit log', () => (count() >= expected ? true : undefined));
  return count();
}

async function reviewAll(operator: ApiClient, sidecars: readonly SidecarIdentity[]): Promise<number> {
  const startedMs = monotonicMs();
  await each(sidecars, async ({ token }) => {
    const { authenticated } = await reviewToken(operator, token, [audience]);
    if (!authenticated) throw new Error('a token was not authenticated');
  });
  return monotonicMs() - startedMs;
}

async function measureBare(
  folder: string,
  fleet: MeasuredProcess<FleetProtocol>,
  mesh: BenchMesh,
  sidecars: readonly SidecarIdentity[],
  product: FleetRun,
): Promise<FleetRun> {
  const { messages } = product;
  const server = await startBareStreams(folder, { messages, changes: [], watchedFile: mesh.changingFile });
  try {
    return await runFleet({ fleet, server, sidecars, changes: [], profile: undefined });
  } finally {
    await server.process.stop();
  }
}

function rowsOf(measured: {
  readonly made: Made;
  readonly product: FleetRun;
  readonly limit: FleetRun;
  readonly proofSeconds: number;
  readonly reviews: number;
  /** Of the API server, while they start. */
  readonly apiServerSeconds: number;
  readonly reviewsAlone: { readonly ms: number; readonly cpuSeconds: number };
}): readonly Row[] {
  const { made, product, apiServerSeconds, limit, proofSeconds, reviews, reviewsAlone } = measured;
  const count = made.sidecars.length;
  const better = 'lower' as const;
  return [
    row({
      name: 'pods-follow-cpu',
      what: `${count} pods are made within ${Math.round(made.madeMs)} ms: what following costs`,
      better,
      unit: 'CPU seconds',
      value: made.followCpuSeconds,
      limit: made.parseCpuSeconds,
      limitIs: parsing,
    }),
    row({
      name: 'pods-time',
      what: `their ${count} sidecars connect until all hold all`,
      better,
      unit: 'ms',
      value: product.startMs,
      limit: limit.startMs,
      limitIs: bare,
    }),
    row({
      name: 'pods-time-reviews',
      what: 'the same, against the reviews of their tokens',
      better,
      unit: 'ms',
      value: product.startMs,
      limit: reviewsAlone.ms,
      limitIs: reviewing,
    }),
    row({
      name: 'pods-cpu',
      what: 'what the server spends on it',
      better,
      unit: 'CPU seconds',
      value: product.startCpuSeconds,
      limit: proofSeconds + limit.startCpuSeconds,
      limitIs: bareAndCryptography,
    }),
    row({
      name: 'pods-cpu-api-server',
      what: 'what the API server spends on it',
      better,
      unit: 'CPU seconds',
      value: apiServerSeconds,
      limit: reviewsAlone.cpuSeconds,
      limitIs: reviewing,
    }),
    row({
      name: 'pods-reviews',
      what: 'TokenReviews that it asks for',
      better,
      unit: 'reviews',
      value: reviews,
      limit: count,
      limitIs: perNewcomer,
    }),
  ];
}
