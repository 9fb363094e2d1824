import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { TestControlPlane } from '../harness/control-plane.ts';
import { waitFor } from '../harness/wait.ts';
import { fleetPods, fleetTarget } from '../kubernetes/fleet-pods.ts';
import { followed, installPolicyCrds } from '../kubernetes/outage.ts';
import { controlPlaneUser, KubernetesWorld } from '../kubernetes/world.ts';
import { fleetScript, type FleetProtocol, type FleetTarget, type Returned } from './fleet.ts';
import { MeasuredProcess } from './measured-process.ts';
import type { BenchOptions, BenchSize } from './options.ts';
import { row, type Row } from './row.ts';
import { startBareStreams } from './servers.ts';
import type { SidecarIdentity } from './sidecar.ts';
import { median } from './statistics.ts';

const mostSidecars = 500;

type Fleet = MeasuredProcess<FleetProtocol>;

/** What an absence costs on a real API server: of the API server itself, and of a replica. */
export async function returnRows(
  { size }: BenchOptions,
  progress: (text: string) => void,
): Promise<readonly Row[]> {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-bench-'));
  const fleet: Fleet = new MeasuredProcess<FleetProtocol>({ name: 'fleet', folder, script: fleetScript });
  const closers: (() => Promise<unknown>)[] = [async () => await fleet.stop()];
  try {
    const world = await KubernetesWorld.start();
    closers.push(async () => await world.dispose());
    await installPolicyCrds(world);
    const count = Math.min(mostSidecars, size.sidecars);
    progress(`  ${count} pods in the API server`);
    const sidecars = await fleetPods(world.cluster, count);
    const replica = async (name: string): Promise<TestControlPlane> => {
      const dataDir = join(world.cluster.folder, `data-${name}`);
      const started = await TestControlPlane.start({ kubeconfig: world.kubeconfig, dataDir });
      closers.push(async () => await started.stop());
      return started;
    };
    const a = await replica('a');
    progress(`  the API server is away for ${size.outageMs / 1_000} s`);
    const requests = await measureRequests({ world, leader: a, fleet, sidecars, size });
    const b = await replica('b');
    const times: number[] = [];
    const limits: number[] = [];
    for (let at = 1; at <= size.starts; at += 1) {
      progress(`  kill ${at} of ${size.starts}`);
      const [first, second] = at % 2 === 1 ? [a, b] : [b, a];
      const target = { ...fleetTarget(first, second), sidecars };
      const { messages, ms } = await killed(fleet, target, async () => await first.killHard());
      times.push(ms);
      limits.push(await measureBare(folder, fleet, sidecars, messages));
      await first.restart();
    }
    return rowsOf(count, size.outageMs / 1_000, requests, { value: median(times), limit: median(limits) });
  } finally {
    for (const close of closers.toReversed()) await close();
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Requests {
  /** In a time without an outage. */
  readonly ordinary: number;
  readonly afterReturn: number;
}

/** What a replica that leads asks of the API server. */
async function measureRequests({
  world,
  leader,
  fleet,
  sidecars,
  size: { outageMs },
}: {
  readonly world: KubernetesWorld;
  readonly leader: TestControlPlane;
  readonly fleet: Fleet;
  readonly sidecars: readonly SidecarIdentity[];
  readonly size: BenchSize;
}): Promise<Requests> {
  const { apiServer, audit } = world.cluster;
  const requestsOf = async (act: () => Promise<void>): Promise<number> => {
    // From before it answers: whoever waits at its door is counted too.
    const fromMs = Date.now();
    await act();
    const toMs = Date.now() + outageMs;
    // What was answered is in the log a moment later.
    await sleep(outageMs + 1_000);
    return audit.requests(({ user, atMs }) => user === controlPlaneUser && atMs >= fromMs && atMs < toMs)
      .length;
  };
  await waitFor('it to lead', async () =>
    (await leader.metric('countersign_leader')) === 1 ? true : undefined,
  );
  await fleet.ask('open', { ...fleetTarget(leader, leader), sidecars });
  const ordinary = await requestsOf(async () => {});
  await apiServer.kill();
  await sleep(outageMs);
  const afterReturn = await requestsOf(async () => await apiServer.start());
  await fleet.ask('close', undefined);
  return { ordinary, afterReturn };
}

/** @returns what the first sidecar was sent, and how long it took until all were back */
async function killed(
  fleet: Fleet,
  target: FleetTarget,
  kill: () => Promise<void>,
): Promise<{ readonly messages: readonly Uint8Array[]; readonly ms: number }> {
  const { messages } = await fleet.ask('open', target);
  await kill();
  const ms = spanOf(await fleet.ask('returned', undefined));
  await fleet.ask('close', undefined);
  return { messages, ms };
}

function spanOf({ lostMs, completeMs }: Returned): number {
  return Math.max(...completeMs) - Math.min(...lostMs);
}

async function measureBare(
  folder: string,
  fleet: Fleet,
  sidecars: readonly SidecarIdentity[],
  messages: readonly Uint8Array[],
): Promise<number> {
  const content = { messages, changes: [], watchedFile: join(folder, 'never-written') };
  const first = await startBareStreams(folder, content);
  const second = await startBareStreams(folder, content);
  try {
    // Each has an authority of its own.
    const authorities = first.target.authorities + second.target.authorities;
    const target = { ...first.target, authorities, fallbackPort: second.target.port, sidecars };
    return (await killed(fleet, target, async () => await first.process.kill())).ms;
  } finally {
    await second.process.stop();
    await first.process.stop();
  }
}

function rowsOf(
  sidecars: number,
  seconds: number,
  { ordinary, afterReturn }: Requests,
  back: { readonly value: number; readonly limit: number },
): readonly Row[] {
  return [
    row({
      name: 'api-return-requests',
      what: `asked of the API server in the ${seconds} s from its return, ${sidecars} sidecars connected`,
      unit: 'requests',
      better: 'lower',
      value: afterReturn,
      limit: ordinary + followed,
      limitIs: `what is asked in ${seconds} s without an outage, and one watch for each of the ${followed} things that a leader follows`,
    }),
    row({
      ...back,
      name: 'api-return-sidecars',
      what: `a replica is killed until its ${sidecars} sidecars hold all from another`,
      unit: 'ms',
      better: 'lower',
      limitIs:
        'two bare grpc-js servers in place of the replicas, and the same sidecars with the same back-off: nobody is proven, by nobody is a token reviewed',
    }),
  ];
}
