import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { setTimeout as sleep } from 'node:timers/promises';
import { waitFor } from '../../test/harness/wait.ts';
import { ApiServer } from '../kubernetes/index.ts';
import { FakeApiServer, type Asked } from '../kubernetes/testing.ts';
import { StatusWriter, type PolicyStanding } from './status-writer.ts';

const resource = 'authorizationpolicies.security.countersign.dev';
const collection = '/apis/security.countersign.dev/v1/authorizationpolicies';

let server: FakeApiServer;
let api: ApiServer;
let told: string[];
let stop: () => Promise<void>;
let writer: StatusWriter;
let clockMs: number;
let batchMs: number;
let standings: PolicyStanding[];
/** What is answered to a patch. */
let patched: (asked: Asked, name: string) => void;

/** As many policies as there are names, which say nothing yet. */
async function start(...names: readonly string[]): Promise<void> {
  const metadata = (name: string): object => ({
    namespace: 'shop',
    name,
    uid: name,
    generation: 1,
    resourceVersion: '1',
  });
  standings = names.map((name) => ({
    resource,
    namespace: 'shop',
    name,
    uid: name,
    standing: {
      generation: 1,
      issues: [],
      lastGood: false,
      progress: { proxies: 1, current: 1 },
      unseenBy: [],
      silent: [],
      awaited: [],
    },
  }));
  server.answer = (asked) => {
    if (asked.method === 'PATCH') patched(asked, asked.path.split('/').at(-2) ?? '');
    else if (asked.query.has('watch')) asked.open();
    else
      asked.json({
        metadata: { resourceVersion: '1' },
        items: names.map((name) => ({ metadata: metadata(name) })),
      });
  };
  writer = new StatusWriter({
    api,
    resources: [resource],
    standings: () => standings,
    wallMs: () => 0,
    monotonicMs: () => clockMs,
    random: () => 0,
    onWritten: () => told.push('written'),
    onFailing: (what, error) => told.push(`failing: ${what}: ${error.refused?.status ?? error.code}`),
    onRecovered: (what) => told.push(`recovered: ${what}`),
    times: { batchMs, textMs: 5_000 },
  });
  const term = new AbortController();
  const done = writer.run(term.signal);
  stop = async () => {
    term.abort();
    await done;
  };
}

/** The answer of an API server that took the patch; its version is another one then. */
function taken(asked: Asked, name: string, generation = 1): void {
  const { standing } = standings.find((each) => each.name === name) ?? {};
  const condition = { observedGeneration: 1, lastTransitionTime: '1970-01-01T00:00:00Z' };
  const { proxies = 0, current = 0 } = standing?.progress ?? {};
  const message = `${current}/${proxies} proxies`;
  asked.json({
    metadata: { namespace: 'shop', name, uid: name, generation, resourceVersion: '2' },
    status: {
      observedGeneration: 1,
      conditions: [
        { type: 'Accepted', status: 'True', reason: 'Valid', message: 'in force', ...condition },
        { type: 'Programmed', status: 'True', reason: 'Acknowledged', message, ...condition },
      ],
    },
  });
}

const patches = (): string[] => server.requests.filter((request) => request.startsWith('PATCH'));

async function until(what: string, holds: () => boolean): Promise<void> {
  const probe = (): true => {
    if (holds()) return true;
    throw new Error(`so far: ${told.join(', ')}`);
  };
  await waitFor(what, probe, { timeoutMs: 5_000, everyMs: 10 });
}
/** Several batches. */
const aWhile = async (): Promise<void> => await sleep(200);

beforeEach(async () => {
  told = [];
  clockMs = 0;
  batchMs = 20;
  patched = taken;
  server = new FakeApiServer();
  api = new ApiServer({ access: await server.start() });
});
afterEach(async () => {
  await stop();
  await api.close();
  await server.stop();
});

describe('StatusWriter', () => {
  it('writes each object once, at its subresource, and nothing while nothing changes', async () => {
    await start('a', 'b');
    await until('both', () => told.length === 2);
    expect(patches().toSorted()).toEqual(
      ['a', 'b'].map(
        (name) => `PATCH ${collection.replace('/auth', '/namespaces/shop/auth')}/${name}/status`,
      ),
    );
    writer.wake();
    await aWhile();
    expect(patches()).toHaveLength(2);
  });

  it('writes fifty in a batch, four at once', async () => {
    let [open, most] = [0, 0];
    patched = (asked, name) => {
      open += 1;
      most = Math.max(most, open);
      setImmediate(() => {
        open -= 1;
        taken(asked, name);
      });
    };
    batchMs = 400;
    await start(...Array.from({ length: 60 }, (_, index) => `p${index}`));
    await until('the first batch', () => told.length >= 50);
    await sleep(50);
    expect(told).toHaveLength(50);
    await until('all of them', () => told.length === 60);
    expect(most).toBe(4);
  });

  it('waits with a text that alone has changed', async () => {
    await start('a');
    await until('the first', () => told.length === 1);
    const [only] = standings;
    if (only === undefined) throw new Error('there is one');
    standings = [{ ...only, standing: { ...only.standing, progress: { proxies: 2, current: 2 } } }];
    writer.wake();
    await aWhile();
    expect(patches()).toHaveLength(1);
    clockMs = 5_000;
    await until('the text', () => patches().length === 2);
  });

  it('leaves an object that is refused alone for a while, and goes on with the others', async () => {
    patched = (asked, name) => {
      if (name === 'a') asked.json({ message: 'too many conditions' }, 422);
      else taken(asked, name);
    };
    await start('a', 'b');
    await until('b', () => told.includes('written'));
    await aWhile();
    expect(patches()).toHaveLength(2);
    expect(told).toContain(`failing: the status of ${resource} shop/a: 422`);
    patched = taken;
    clockMs = 5_000;
    await until('a', () => told.filter((each) => each === 'written').length === 2);
  });

  it.each([403, 429, 500])('asks no more after a %i, for a while, and says so once', async (status) => {
    patched = (asked) => asked.json({ message: 'no' }, status);
    await start(...Array.from({ length: 20 }, (_, index) => `p${index}`));
    await until('a failure', () => told.length > 0);
    await aWhile();
    // Those that were under way.
    expect(patches().length).toBeLessThanOrEqual(4);
    expect(told).toEqual([`failing: the status of policies: ${status}`]);
    patched = taken;
    await until('the return', () => told.includes('recovered: the status of policies'));
  });

  it('leaves alone what it does not know in the generation and UID that it was told of', async () => {
    await start('a', 'b');
    standings = standings.map((each) => (each.name === 'a' ? { ...each, uid: 'former' } : each));
    standings = standings.map((each) =>
      each.name === 'b' ? { ...each, standing: { ...each.standing, generation: 2 } } : each,
    );
    await aWhile();
    expect(patches()).toEqual([]);
  });
});
