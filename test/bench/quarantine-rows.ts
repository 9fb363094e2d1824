import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { TestMesh } from '../envoy/mesh.ts';
import { allowAll } from '../envoy/policies.ts';
import { Http2Connection } from '../harness/http2.ts';
import { waitFor } from '../harness/wait.ts';
import { writeMesh } from './bench-mesh.ts';
import { fleetScript, type FleetProtocol } from './fleet.ts';
import { MeasuredProcess } from './measured-process.ts';
import type { BenchOptions } from './options.ts';
import { row, type Row } from './row.ts';
import { identitiesOf } from './servers.ts';
import { quantile } from './statistics.ts';

const commandAndRequest =
  'a command that asks the same control plane and changes nothing (quarantine list), from its start to its end, and one request on that connection';
const cart = 'shop/cart';
const web = 'shop/web';
/** What follows a decision has been dealt with by then: the streams of who was cut off are over. */
const quietMs = 200;
const patienceMs = 60_000;

/** From the command to the first 403 on an HTTP/2 connection that is open, and back, while a fleet is told the same. */
export async function quarantineRows(
  { size }: BenchOptions,
  progress: (text: string) => void,
): Promise<readonly Row[]> {
  const sidecars = Math.ceil(size.sidecars / 2);
  const mesh = await TestMesh.start({
    pods: [
      { pod: cart, serves: ['http'] },
      { pod: web, calls: [{ to: cart, protocol: 'http' }] },
    ],
    policies: { cart: allowAll(cart, 'cart') },
    flags: ['--max-concurrent-attestations', String(Math.max(1_024, 2 * sidecars))],
  });
  const fleet = new MeasuredProcess<FleetProtocol>({
    name: 'fleet',
    folder: mesh.folder,
    script: fleetScript,
  });
  const caller = new Caller(mesh.wayOut(web));
  try {
    await connectFleet(mesh, fleet, sidecars);
    progress(`  ${sidecars} sidecars and two Envoys are connected; ${size.cuts} identities are cut off`);
    return rowsOf(sidecars, await cut(mesh, caller, size.cuts));
  } finally {
    await caller.stop();
    await fleet.stop();
    await mesh.stop();
  }
}

async function connectFleet(
  mesh: TestMesh,
  fleet: MeasuredProcess<FleetProtocol>,
  count: number,
): Promise<void> {
  const { controlPlane, folder } = mesh;
  const others = writeMesh(folder, count);
  for (const { pod } of others.workloads.slice(-1)) {
    const name = `${pod.namespace}/${pod.name}`;
    await waitFor('the pods to be known', async () =>
      (await controlPlane.tryToAsk('token', '--pod', name)).code === 0 ? true : undefined,
    );
  }
  await fleet.ask('open', {
    port: Number(controlPlane.address.split(':').at(-1)),
    serverName: 'localhost',
    authorities: readFileSync(controlPlane.bundle, 'utf8'),
    sidecars: await identitiesOf(folder, others),
  });
}

/** Milliseconds, one for each round. */
interface Cuts {
  readonly cutMs: number[];
  readonly liftedMs: number[];
  readonly commandMs: number[];
  readonly requestMs: number[];
}

async function cut(mesh: TestMesh, caller: Caller, count: number): Promise<Cuts> {
  const { controlPlane } = mesh;
  const cuts: Cuts = { cutMs: [], liftedMs: [], commandMs: [], requestMs: [] };
  for (let round = 0; round < count; round += 1) {
    const begunMs = performance.now();
    await controlPlane.ask('quarantine list', '-o', 'json');
    cuts.commandMs.push(performance.now() - begunMs);
    const timed = async (status: number, ...command: readonly [string, ...string[]]): Promise<string> => {
      const judged = caller.next(status);
      const startedMs = performance.now();
      const said = controlPlane.ask(...command, '-o', 'json');
      const { atMs, requestMs } = await judged;
      (status === 403 ? cuts.cutMs : cuts.liftedMs).push(atMs - startedMs);
      cuts.requestMs.push(requestMs);
      return await said;
    };
    const { added } = JSON.parse(
      await timed(403, 'quarantine add', '--id', mesh.id(web), '--reason', 'bench'),
    ) as { added: string };
    await sleep(quietMs);
    await timed(200, 'quarantine remove', added);
    await sleep(quietMs);
  }
  return cuts;
}

/** Calls cart from web, one request after the other, on one HTTP/2 connection. */
class Caller {
  readonly #connection: Http2Connection;
  readonly #done: Promise<void>;
  #running = true;
  #failure: Error | undefined;
  #awaited: { readonly status: number; readonly resolve: (at: Judged) => void } | undefined;

  constructor(target: { readonly host: string; readonly port: number }) {
    this.#connection = new Http2Connection(target);
    this.#done = this.#run();
  }

  async next(status: number): Promise<Judged> {
    if (this.#failure !== undefined) throw this.#failure;
    const { promise, resolve, reject } = Promise.withResolvers<Judged>();
    const late = setTimeout(() => {
      reject(this.#failure ?? new Error(`no ${status} within ${patienceMs} ms`));
    }, patienceMs);
    this.#awaited = { status, resolve };
    return await promise.finally(() => clearTimeout(late));
  }

  async stop(): Promise<void> {
    this.#running = false;
    await this.#done;
    this.#connection.close();
  }

  async #run(): Promise<void> {
    while (this.#running) {
      const sentMs = performance.now();
      const status = await this.#connection.status('/items');
      const atMs = performance.now();
      if (status === this.#awaited?.status) {
        this.#awaited.resolve({ atMs, requestMs: atMs - sentMs });
        this.#awaited = undefined;
      } else if (status !== 200 && status !== 403) {
        this.#failure = new Error(`the open connection gave ${status}`);
        return;
      }
      // Without a pause, one of two cores would be missing where it is measured.
      await sleep(1);
    }
  }
}

interface Judged {
  /** Of `performance.now()`. */
  readonly atMs: number;
  readonly requestMs: number;
}

function rowsOf(sidecars: number, { cutMs, liftedMs, commandMs, requestMs }: Cuts): readonly Row[] {
  const pair = (label: string, what: string, measured: readonly number[]): readonly Row[] =>
    ([0.5, 0.99] as const).map((share) => {
      const percent = `p${share * 100}`;
      return row({
        unit: 'ms',
        better: 'lower',
        name: `quarantine-${label}${percent}`,
        what: share === 0.5 ? `${what}: half of ${measured.length}` : `${share * 100} % of them`,
        value: quantile(measured, share),
        limit: quantile(commandMs, share) + quantile(requestMs, share),
        limitIs: commandAndRequest,
      });
    });
  return [
    ...pair('', `quarantine add starts, until a 403 on an open connection, ${sidecars} sidecars`, cutMs),
    ...pair('lifted-', 'quarantine remove starts, until a 200 there', liftedMs),
  ];
}
