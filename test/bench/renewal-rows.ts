import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { operatorSchema } from '../../cmd/schema.ts';
import { callOperator } from '../../src/operator/index.ts';
import { writeMesh } from './bench-mesh.ts';
import { monotonicMs } from './clock.ts';
import { fleetScript, type FleetProtocol } from './fleet.ts';
import { MeasuredProcess } from './measured-process.ts';
import type { BenchOptions } from './options.ts';
import { row, type Row } from './row.ts';
import { identitiesOf, startControlPlane } from './servers.ts';
import type { SidecarIdentity } from './sidecar.ts';
import { median, quantile } from './statistics.ts';

const quiet = 'renewals of the same sidecars that were due before the newcomers came';
const mostRenewed = 500;
/** Only the Secret `default` holds one. */
const renewedSecret = '-----BEGIN PRIVATE KEY';

/** One renewal. Times of the monotonic clock. */
interface Renewal {
  readonly dueMs: number;
  readonly receivedMs: number;
}

interface Measured {
  readonly renewals: readonly Renewal[];
  readonly newcomersMs: { readonly started: number; readonly served: number };
}

/**
 * How late renewals are, from when they are due until the sidecar has them. Half are due before newcomers connect, all
 * at once, and the others from then on.
 */
export async function renewalRows(
  { size }: BenchOptions,
  progress: (text: string) => void,
): Promise<readonly Row[]> {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-bench-'));
  const processes: { stop(): Promise<void> }[] = [];
  const fleetProcess = (name: string): MeasuredProcess<FleetProtocol> => {
    const fleet = new MeasuredProcess<FleetProtocol>({ name, folder, script: fleetScript });
    processes.push(fleet);
    return fleet;
  };
  try {
    const renewed = Math.min(mostRenewed, size.sidecars);
    const newcomers = 2 * size.sidecars;
    const mesh = writeMesh(folder, renewed + newcomers);
    const server = await startControlPlane(folder, mesh, ['--svid-ttl', `${size.renewedTtlSeconds}s`]);
    processes.push(server.process);
    const identities = await identitiesOf(folder, mesh);
    const served = fleetProcess('fleet');
    const coming = fleetProcess('newcomers');
    const sidecars = identities.slice(0, renewed);
    await served.ask('open', { ...server.target, sidecars });
    await served.ask('expect', renewedSecret);
    const due = await dueTimes(join(folder, 'data'), sidecars);
    const startMs = median(due);
    progress(
      `  ${renewed} renewals, the last one due in ${Math.round((Math.max(...due) - monotonicMs()) / 1_000)} s; ${newcomers} newcomers`,
    );
    await sleep(Math.max(0, startMs - monotonicMs()));
    const opened = await coming.ask('open', { ...server.target, sidecars: identities.slice(renewed) });
    const { atMs } = await served.ask('arrived', undefined);
    const renewals = due.map((dueMs, at) => ({ dueMs, receivedMs: atMs[at] ?? NaN }));
    const newcomersMs = { started: opened.startedMs, served: Math.max(...opened.completeMs) };
    return rowsOf({ renewals, newcomersMs }, newcomers);
  } finally {
    for (const process of processes.toReversed()) await process.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** When the SVID of each is renewed, as the control plane itself says. */
async function dueTimes(dataDir: string, sidecars: readonly SidecarIdentity[]): Promise<readonly number[]> {
  const { proxies } = await callOperator(operatorSchema(), dataDir, 'ListProxies', {});
  const monotonicLessWall = monotonicMs() - Date.now();
  const byPod = new Map(
    proxies.map(({ pod, renew_at }) => [pod.slice(pod.indexOf('/') + 1), Date.parse(renew_at)]),
  );
  return sidecars.map(({ name }) => {
    const dueMs = byPod.get(name) ?? NaN;
    if (Number.isNaN(dueMs)) throw new Error(`${name} has no SVID that will be renewed`);
    return dueMs + monotonicLessWall;
  });
}

function rowsOf({ renewals, newcomersMs: { started, served } }: Measured, newcomers: number): readonly Row[] {
  const late = (some: readonly Renewal[]): readonly number[] =>
    some.map(({ dueMs, receivedMs }) => receivedMs - dueMs);
  const before = late(renewals.filter(({ receivedMs }) => receivedMs < started));
  const after = renewals.filter(({ receivedMs }) => receivedMs >= started);
  const meanwhile = after.filter(({ dueMs }) => dueMs <= served);
  // A few newcomers are served before the next renewal is due.
  const beside = late(meanwhile.length === 0 ? after : meanwhile);
  const seconds = ((served - started) / 1_000).toPrecision(2);
  const common = { unit: 'ms', better: 'lower', limitIs: quiet } as const;
  return [
    row({
      ...common,
      name: 'renewal-busy-p50',
      what: `from due to received, ${newcomers} newcomers served meanwhile (for ${seconds} s): half of ${beside.length} renewals`,
      value: median(beside),
      limit: median(before),
    }),
    row({
      ...common,
      name: 'renewal-busy-p99',
      what: '99 % of them',
      value: quantile(beside, 0.99),
      limit: quantile(before, 0.99),
    }),
  ];
}
