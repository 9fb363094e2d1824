import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { at, type ApiClient, type WatchEvent } from '../cluster/api-client.ts';
import { crdFiles } from '../deploy/chart.ts';
import { TestControlPlane } from '../harness/control-plane.ts';
import { Load } from '../harness/http.ts';
import { TwoSidecars } from '../kubernetes/two-sidecars.ts';
import { installWebhook, webhookTrusted } from '../kubernetes/webhook.ts';
import { controlPlaneAccount, KubernetesWorld, policy } from '../kubernetes/world.ts';
import type { BenchOptions } from './options.ts';
import { row, type Row } from './row.ts';
import { quantile } from './statistics.ts';

const bareWatch =
  'the API server alone: from the same moment until a bare watch, which does nothing else, has the event';
const watchAndRequest =
  'how much later than the answer to the write a bare watch has the event (nothing, where it was earlier), and one request between the two Envoys';
const policies = at('security.countersign.dev/v1/authorizationpolicies', 'shop');
const name = 'bench';
/** Acknowledgements have been dealt with by then. */
const quietMs = 50;
const patienceMs = 30_000;

/** One change; moments of `performance.now()`. */
interface Change {
  /** The request, or kubectl, began. */
  readonly startedMs: number;
  /** The API server had answered; of kubectl, it had ended. */
  readonly acceptedMs: number;
  /** A bare watch had the event. */
  readonly watchedMs: number;
  /** The first request that was judged by it had its answer. */
  readonly judgedMs: number;
  /** What that request took. */
  readonly requestMs: number;
}

/** From a policy's write at a real API server to the first request that a real Envoy judges by it. */
export async function applyRows({ size }: BenchOptions): Promise<readonly Row[]> {
  const world = await KubernetesWorld.start();
  const closers: (() => void | Promise<void>)[] = [async () => world.dispose()];
  try {
    const { cluster } = world;
    for (const file of crdFiles()) await world.kubectl(['apply', '-f', file]);
    const sidecars = await TwoSidecars.make(world);
    const controlPlane = await TestControlPlane.start({
      // Not by way of the wire: that would measure the bench too.
      kubeconfig: await cluster.kubeconfigOf(controlPlaneAccount),
      dataDir: join(cluster.folder, 'data'),
      flags: await installWebhook(world),
    });
    closers.push(async () => void (await controlPlane.stop()));
    closers.push(async () => sidecars.stop());
    await webhookTrusted(world);
    await sidecars.attach(controlPlane);
    const caller = new Caller(sidecars.target);
    closers.push(async () => caller.stop());
    const watch = new BareWatch(cluster.operator);
    const scene = { caller, watch };
    const kubectl = async (document: object): Promise<void> => world.apply(document);
    const patch = async (document: object): Promise<void> => {
      await cluster.operator.request('PATCH', `${policies}/${name}?fieldManager=bench&force=true`, {
        body: document,
        contentType: 'application/apply-patch+yaml',
      });
    };
    // What the first ones cost is not what the others do.
    await changes(scene, patch, Math.min(size.applies, 10));
    return rowsOf(
      await changes(scene, patch, size.applies),
      await changes(scene, kubectl, Math.ceil(size.applies / 2)),
    );
  } finally {
    for (const close of closers.toReversed()) await close();
  }
}

type Judged = Pick<Change, 'judgedMs' | 'requestMs'>;

interface Scene {
  readonly caller: Caller;
  readonly watch: BareWatch;
}

/** One after the other: each turns the answer that web gets from cart. */
async function changes(
  { caller, watch }: Scene,
  write: (document: object) => Promise<void>,
  count: number,
): Promise<readonly Change[]> {
  const done: Change[] = [];
  for (let index = 0; index < count; index += 1) {
    const allows = caller.status !== 200;
    const document = policy(name, {
      selector: { matchLabels: { app: 'cart' } },
      rules: [{ from: [{ source: { serviceAccounts: [allows ? 'web' : 'nobody'] } }] }],
    });
    const judged = caller.next(allows ? 200 : 403);
    const watched = watch.next();
    const startedMs = performance.now();
    await write(document);
    const acceptedMs = performance.now();
    done.push({ startedMs, acceptedMs, watchedMs: await watched, ...(await judged) });
    await sleep(quietMs);
  }
  return done;
}

/** Calls cart from web, one request after the other, over one open connection. */
class Caller {
  /** Of the last answer. */
  status = 0;
  readonly #load: Load;
  #awaited: { readonly status: number; readonly resolve: (judged: Judged) => void } | undefined;

  constructor(target: TwoSidecars['target']) {
    const heard: ConstructorParameters<typeof Load>[1] = ({ status }, atMs, sentMs) => {
      this.status = status;
      if (this.#awaited?.status !== status) return;
      this.#awaited.resolve({ judgedMs: atMs, requestMs: atMs - sentMs });
      this.#awaited = undefined;
    };
    // Without a pause, one of two cores would be missing where it is measured.
    this.#load = new Load(target, heard, 1);
  }

  /** The first answer with this status. */
  async next(status: number): Promise<Judged> {
    const { promise, resolve } = Promise.withResolvers<Judged>();
    this.#awaited = { status, resolve };
    return await inTime(`a ${status}`, promise);
  }

  async stop(): Promise<void> {
    await this.#load.stop();
  }
}

/** Hears of each new generation of the policy, and does nothing else. */
class BareWatch {
  readonly #events: AsyncGenerator<WatchEvent>;
  readonly #done: Promise<void>;
  #generation: number | undefined;
  #heard: ((atMs: number) => void) | undefined;

  constructor(client: ApiClient) {
    this.#events = client.watch(policies);
    this.#done = this.#run();
    this.#done.catch(() => {}); // Whoever waits hears of it.
  }

  /** When the next new generation is there. */
  async next(): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.#heard = resolve;
    this.#done.then(() => reject(new Error('the watch has ended')), reject);
    return await inTime('an event of the bare watch', promise);
  }

  async #run(): Promise<void> {
    for await (const { object } of this.#events) {
      const { generation } = object.metadata;
      // A status that was written leaves it as it is.
      if (generation === this.#generation) continue;
      this.#generation = generation;
      this.#heard?.(performance.now());
    }
  }
}

async function inTime<T>(what: string, promise: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`${what}: not within ${patienceMs} ms`)), patienceMs);
  return await Promise.race([promise, late.promise]).finally(() => clearTimeout(timer));
}

function rowsOf(written: readonly Change[], applied: readonly Change[]): readonly Row[] {
  const common = { unit: 'ms', better: 'lower' } as const;
  const pair = (
    label: string,
    what: string,
    limitIs: string,
    them: readonly Change[],
    value: (change: Change) => number,
    limit: (change: Change) => number,
  ): readonly Row[] =>
    ([0.5, 0.99] as const).map((share) => {
      const percent = `p${share * 100}`;
      return row({
        ...common,
        name: `apply-${label}${percent}`,
        what: share === 0.5 ? `${what}: half of ${them.length} changes` : `${share * 100} % of them`,
        value: quantile(them.map(value), share),
        limit: quantile(them.map(limit), share),
        limitIs,
      });
    });
  const watched = ({ startedMs, watchedMs }: Change): number => watchedMs - startedMs;
  const judged = ({ startedMs, judgedMs }: Change): number => judgedMs - startedMs;
  const least = ({ acceptedMs, watchedMs, requestMs }: Change): number =>
    Math.max(0, watchedMs - acceptedMs) + requestMs;
  const sinceAccepted = ({ acceptedMs, judgedMs }: Change): number => judgedMs - acceptedMs;
  return [
    ...pair('', 'a policy is sent, until a request is judged by it', bareWatch, written, judged, watched),
    ...pair('accepted-', 'it is accepted, until then', watchAndRequest, written, sinceAccepted, least),
    ...pair('kubectl-', 'kubectl apply starts, until then', bareWatch, applied, judged, watched),
  ];
}
