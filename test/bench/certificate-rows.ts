import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeMesh } from './bench-mesh.ts';
import { callersScript, type CallersProtocol } from './callers.ts';
import { requestPem } from './certificate-request.ts';
import { verificationAndSignature } from './crypto-limits.ts';
import { csrLimit } from './issuance.ts';
import { MeasuredProcess } from './measured-process.ts';
import type { BenchOptions } from './options.ts';
import { rate, type RatePair } from './rates.ts';
import { row, type Row } from './row.ts';
import { identitiesOf, startBareCertificates, startControlPlane, type MeasuredServer } from './servers.ts';
import type { SidecarIdentity } from './sidecar.ts';
import { median } from './statistics.ts';

const bareLimit =
  'a bare grpc-js server in its place, that proves nobody: for each call one P-256 verification, one signature, and ready bytes';
const callerCount = 64;
/** About as many as a chain has. */
const answerBytes = 2_750;
/** Answers of one round, for each ms of the limit's half of it. */
const callsPerMs = 10;
const warmUpRounds = 5;

type Callers = MeasuredProcess<CallersProtocol>;

/** A server under measurement, with callers of its own. */
interface Side {
  readonly server: MeasuredServer;
  readonly callers: Callers;
}

/**
 * Certificates for requests from a control plane process: TLS, gRPC, the proof, audit and log included. It and the
 * limits take turns, round by round.
 */
export async function certificateRows({ size, profile }: BenchOptions): Promise<readonly Row[]> {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-bench-'));
  const processes: { stop(): Promise<void> }[] = [];
  const open = async (
    name: string,
    server: MeasuredServer,
    sidecars: readonly SidecarIdentity[],
  ): Promise<Side> => {
    processes.push(server.process);
    const callers: Callers = new MeasuredProcess({ name, folder, script: callersScript });
    processes.push(callers);
    await callers.ask('open', { ...server.target, sidecars, requests: sidecars.map(() => requestPem()) });
    // A server's code is compiled as it is used: what the first calls cost is not what the others do.
    await callers.ask('call', warmUpRounds * callsPerMs * size.roundMs);
    return { server, callers };
  };
  try {
    const mesh = writeMesh(folder, callerCount);
    const controlPlane = await startControlPlane(folder, mesh);
    const sidecars = await identitiesOf(folder, mesh);
    const product = await open('callers', controlPlane, sidecars);
    const bare = await open(
      'bare-callers',
      await startBareCertificates(folder, randomBytes(answerBytes)),
      sidecars,
    );
    const rounds = await measure(product, bare, size);
    if (profile !== undefined) await writeProfile(product, profile);
    return rowsOf(rounds);
  } finally {
    for (const process of processes.toReversed()) await process.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Per CPU second. */
interface Round {
  readonly value: number;
  readonly crypto: number;
  readonly bare: number;
}

async function measure(product: Side, bare: Side, size: BenchOptions['size']): Promise<readonly Round[]> {
  const limit = verificationAndSignature();
  const answers = callsPerMs * size.roundMs;
  const rounds: Round[] = [];
  for (let at = 0; at < size.rounds; at += 1) {
    const crypto = rate(limit, size.roundMs);
    rounds.push({ crypto, bare: await answerRate(bare, answers), value: await answerRate(product, answers) });
  }
  return rounds;
}

async function answerRate({ server, callers }: Side, answers: number): Promise<number> {
  const before = await server.process.ask('cpu', undefined);
  await callers.ask('call', answers);
  return answers / ((await server.process.ask('cpu', undefined)) - before);
}

function rowsOf(rounds: readonly Round[]): readonly Row[] {
  const against = (limitOf: (round: Round) => number): RatePair => ({
    value: median(rounds.map(({ value }) => value)),
    limit: median(rounds.map(limitOf)),
    ofLimit: median(rounds.map((round) => round.value / limitOf(round))),
  });
  const common = { unit: 'per CPU second', better: 'higher' } as const;
  return [
    row({
      ...common,
      name: 'csr-grpc',
      what: `the same over gRPC and TLS, ${callerCount} callers`,
      limitIs: csrLimit,
      ...against(({ crypto }) => crypto),
    }),
    row({
      ...common,
      name: 'csr-grpc-bare',
      what: 'the same, against a bare gRPC server',
      limitIs: bareLimit,
      ...against(({ bare }) => bare),
    }),
  ];
}

async function writeProfile({ server, callers }: Side, folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  await server.process.ask('profile', undefined);
  await callers.ask('call', 10_000);
  await server.process.ask('profiled', join(folder, 'csr-grpc.cpuprofile'));
}
