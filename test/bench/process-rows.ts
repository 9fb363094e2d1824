import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fleetPods } from '../kubernetes/fleet-pods.ts';
import { installPolicyCrds } from '../kubernetes/outage.ts';
import { controlPlaneAccount, KubernetesWorld } from '../kubernetes/world.ts';
import { callersScript, type CallersProtocol } from './callers.ts';
import { requestPem } from './certificate-request.ts';
import { MeasuredProcess } from './measured-process.ts';
import type { BenchOptions, BenchSize } from './options.ts';
import { row, type Row } from './row.ts';
import { startControlPlaneInCluster, type MeasuredServer } from './servers.ts';
import type { SidecarIdentity } from './sidecar.ts';
import { median } from './statistics.ts';

const eachAlone =
  'what each of them reaches while the other is asked for nothing, summed; rounds of both take turns';
/** Of each replica: both together have as many as the one of csr-grpc. */
const callersOfEach = 32;
/** Answers of one round, for each ms of a round. */
const callsPerMs = 5;
const warmUpRounds = 5;

interface Replica {
  readonly server: MeasuredServer;
  readonly callers: MeasuredProcess<CallersProtocol>;
}

/**
 * Two replicas at a real API server, which share one root: certificates for each CPU second of each, both asked at once,
 * beside each asked alone.
 */
export async function processRows({ size }: BenchOptions): Promise<readonly Row[]> {
  const closers: (() => Promise<unknown>)[] = [];
  const top = mkdtempSync(join(tmpdir(), 'countersign-bench-'));
  try {
    const world = await KubernetesWorld.start();
    closers.push(async () => await world.dispose());
    await installPolicyCrds(world);
    const kubeconfig = await world.cluster.kubeconfigOf(controlPlaneAccount);
    const pods = await fleetPods(world.cluster, 2 * callersOfEach);
    const replica = async (name: string, sidecars: readonly SidecarIdentity[]): Promise<Replica> => {
      const folder = join(top, name);
      mkdirSync(folder);
      const server = await startControlPlaneInCluster(kubeconfig, folder, { workloads: [] });
      closers.push(async () => await server.process.stop());
      const callers = new MeasuredProcess<CallersProtocol>({
        name: 'callers',
        folder,
        script: callersScript,
      });
      closers.push(async () => await callers.stop());
      await callers.ask('open', { ...server.target, sidecars, requests: sidecars.map(() => requestPem()) });
      await callers.ask('call', warmUpRounds * callsPerMs * size.roundMs);
      return { server, callers };
    };
    const first = await replica('first', pods.slice(0, callersOfEach));
    const second = await replica('second', pods.slice(callersOfEach));
    if (first.server.target.authorities !== second.server.target.authorities) {
      throw new Error('the replicas do not share a root');
    }
    return [await measure(first, second, size)];
  } finally {
    for (const close of closers.toReversed()) await close();
    rmSync(top, { recursive: true, force: true });
  }
}

async function measure(first: Replica, second: Replica, size: BenchSize): Promise<Row> {
  const answers = callsPerMs * size.roundMs;
  const rounds: { value: number; limit: number }[] = [];
  for (let at = 0; at < size.rounds; at += 1) {
    const limit = (await answerRate(first, answers)) + (await answerRate(second, answers));
    const both = await Promise.all([answerRate(first, answers), answerRate(second, answers)]);
    rounds.push({ limit, value: both[0] + both[1] });
  }
  return row({
    name: 'csr-processes',
    what: `certificates for requests, of two replicas with one root, ${callersOfEach} callers each: the sum`,
    unit: 'per CPU second',
    better: 'higher',
    value: median(rounds.map(({ value }) => value)),
    limit: median(rounds.map(({ limit }) => limit)),
    ofLimit: median(rounds.map(({ value, limit }) => value / limit)),
    limitIs: eachAlone,
  });
}

async function answerRate({ server, callers }: Replica, answers: number): Promise<number> {
  const before = await server.process.ask('cpu', undefined);
  await callers.ask('call', answers);
  return answers / ((await server.process.ask('cpu', undefined)) - before);
}
