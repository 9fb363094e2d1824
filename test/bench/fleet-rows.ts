import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { marker, prepareChange, writeMesh, type BenchMesh } from './bench-mesh.ts';
import { tokenKeyAndSignature } from './crypto-limits.ts';
import { runFleet, type FleetChange, type FleetRun } from './fleet-run.ts';
import { fleetScript, type FleetProtocol } from './fleet.ts';
import { MeasuredProcess } from './measured-process.ts';
import type { BenchOptions } from './options.ts';
import { rate } from './rates.ts';
import { row, type Row } from './row.ts';
import { identitiesOf, startBareHandshakes, startBareStreams, startControlPlane } from './servers.ts';
import type { SidecarIdentity } from './sidecar.ts';
import { median, quantile } from './statistics.ts';

export const bare: string =
  'a bare grpc-js server in its place: it proves nobody, and writes the bytes, already encoded, that the control plane sent';
export const bareAndCryptography: string =
  'what that bare server spends, TLS included, and in cryptography what it is spared: for each sidecar one RS256 verification, one P-256 key generation and one signature';
const cryptography =
  'cryptography alone, as CPU time: for each sidecar one RS256 verification, one P-256 key generation and one signature by node:crypto, and one TLS 1.3 handshake of a node:tls server';

/** Runs the control plane and the bare server in turns, each started cold and each with the same fleet. */
export async function fleetRows(
  options: BenchOptions,
  progress: (text: string) => void,
): Promise<readonly Row[]> {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-bench-'));
  const fleet = new MeasuredProcess<FleetProtocol>({ name: 'fleet', folder, script: fleetScript });
  if (options.profile !== undefined) mkdirSync(options.profile, { recursive: true });
  try {
    return await measureAll(options, folder, fleet, progress);
  } finally {
    await fleet.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measureAll(
  { size, profile }: BenchOptions,
  folder: string,
  fleet: MeasuredProcess<FleetProtocol>,
  progress: (text: string) => void,
): Promise<readonly Row[]> {
  const mesh = writeMesh(folder, size.sidecars);
  const products: FleetRun[] = [];
  const limits: FleetRun[] = [];
  const handshakes: number[] = [];
  let sidecars: readonly SidecarIdentity[] | undefined;
  let nextChange = 1;
  for (let at = 1; at <= size.starts; at += 1) {
    progress(
      `  cold start ${at} of ${size.starts}: ${size.sidecars} sidecars, ${size.changes} policy changes`,
    );
    const server = await startControlPlane(folder, mesh);
    try {
      sidecars ??= await identitiesOf(folder, mesh);
      const changes = changesFrom(folder, mesh, nextChange, size.changes);
      nextChange += size.changes;
      products.push(await runFleet({ fleet, server, sidecars, changes, profile }));
    } finally {
      await server.process.stop();
    }
    const product = products[products.length - 1];
    if (product === undefined) throw new Error('the control plane was not measured');
    limits.push(await measureBare(folder, fleet, mesh, sidecars, product, nextChange, size.changes));
    nextChange += size.changes;
    handshakes.push(await measureHandshakes(folder, fleet, size.sidecars));
  }
  const perSecond = rate(tokenKeyAndSignature(), size.rounds * size.roundMs);
  const proofSeconds = size.sidecars / perSecond;
  return rowsOf(size.sidecars, products, limits, { proofSeconds, handshakeSeconds: median(handshakes) });
}

async function measureBare(
  folder: string,
  fleet: MeasuredProcess<FleetProtocol>,
  mesh: BenchMesh,
  sidecars: readonly SidecarIdentity[],
  product: FleetRun,
  firstChange: number,
  count: number,
): Promise<FleetRun> {
  const changes = changesFrom(folder, mesh, firstChange, count);
  const server = await startBareStreams(folder, {
    messages: product.messages,
    changes: changes.map((change) => withMarker(product.change, change.marker)),
    watchedFile: mesh.changingFile,
  });
  try {
    return await runFleet({ fleet, server, sidecars, changes, profile: undefined });
  } finally {
    await server.process.stop();
  }
}

/** The same bytes, with another marker of the same length. */
function withMarker(message: Uint8Array, text: string): Buffer {
  const bytes = Buffer.from(message);
  const at = bytes.indexOf(marker(0).slice(0, -5));
  bytes.write(text, at);
  return bytes;
}

function changesFrom(folder: string, mesh: BenchMesh, first: number, count: number): readonly FleetChange[] {
  return Array.from({ length: count }, (_, at) => ({
    marker: marker(first + at),
    apply: prepareChange(folder, mesh, first + at),
  }));
}

/** CPU seconds of a TLS server for so many handshakes. */
async function measureHandshakes(
  folder: string,
  fleet: MeasuredProcess<FleetProtocol>,
  count: number,
): Promise<number> {
  const server = await startBareHandshakes(folder);
  try {
    const before = await server.process.ask('cpu', undefined);
    await fleet.ask('handshakes', { ...server.target, count });
    return (await server.process.ask('cpu', undefined)) - before;
  } finally {
    await server.process.stop();
  }
}

function rowsOf(
  sidecars: number,
  products: readonly FleetRun[],
  limits: readonly FleetRun[],
  floor: { readonly proofSeconds: number; readonly handshakeSeconds: number },
): readonly Row[] {
  const both = (measure: (runs: readonly FleetRun[]) => number): { value: number; limit: number } => ({
    value: measure(products),
    limit: measure(limits),
  });
  const each = (measure: (run: FleetRun) => number): { value: number; limit: number } =>
    both((runs) => median(runs.map(measure)));
  const arrivals = (runs: readonly FleetRun[]): readonly number[] =>
    runs.flatMap(({ changesMs }) => changesMs.flat());
  const last = (runs: readonly FleetRun[]): readonly number[] =>
    runs.flatMap(({ changesMs }) => changesMs.map((times) => Math.max(...times)));
  const better = 'lower' as const;
  const milliseconds = { better, unit: 'ms', limitIs: bare } as const;
  const cpuSeconds = {
    better,
    unit: 'CPU seconds',
    value: median(products.map(({ startCpuSeconds }) => startCpuSeconds)),
  } as const;
  const kibibytes = { better, unit: 'KiB', limitIs: bare } as const;
  return [
    row({
      ...milliseconds,
      name: 'cold-start-time',
      what: `${sidecars} sidecars connect until all hold all`,
      ...each(({ startMs }) => startMs),
    }),
    row({
      ...cpuSeconds,
      name: 'cold-start-cpu',
      what: 'what the server spends on it',
      limit: floor.proofSeconds + floor.handshakeSeconds,
      limitIs: cryptography,
    }),
    row({
      ...cpuSeconds,
      name: 'cold-start-cpu-grpc',
      what: 'the same, against gRPC and cryptography',
      limit: floor.proofSeconds + median(limits.map(({ startCpuSeconds }) => startCpuSeconds)),
      limitIs: bareAndCryptography,
    }),
    row({
      ...milliseconds,
      name: 'policy-change-p50',
      what: 'a file is replaced until half have the filter',
      ...both((runs) => median(arrivals(runs))),
    }),
    row({
      ...milliseconds,
      name: 'policy-change-p99',
      what: 'until 99 % have it',
      ...both((runs) => quantile(arrivals(runs), 0.99)),
    }),
    row({
      ...milliseconds,
      name: 'policy-change-all',
      what: 'until all have it, median change',
      ...both((runs) => median(last(runs))),
    }),
    row({
      ...milliseconds,
      name: 'policy-change-cpu',
      what: 'CPU that the server spends on one change',
      ...each(({ changeCpuSeconds }) => changeCpuSeconds * 1_000),
    }),
    row({
      ...kibibytes,
      name: 'memory-resident',
      what: 'per connected sidecar, resident',
      ...each(({ residentBytes }) => residentBytes / 1_024),
    }),
    row({
      ...kibibytes,
      name: 'memory-heap',
      what: 'per connected sidecar, JavaScript and buffers',
      ...each(({ heapBytes }) => heapBytes / 1_024),
    }),
  ];
}
