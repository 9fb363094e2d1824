import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { waitFor } from '../../test/harness/wait.ts';
import { ApiServer } from '../kubernetes/index.ts';
import { FakeApiServer, listOf, type Asked, type Opened } from '../kubernetes/testing.ts';
import { packReport, type Report } from '../status/index.ts';
import type { OtherReplica } from './replica-pods.ts';
import { ReplicaReports } from './replica-reports.ts';

const collection = '/api/v1/namespaces/home/configmaps';
const report = (sequence: number): Report => ({
  policies: new Map(),
  bundle: { sequence, proxies: 1, current: 1, lagging: [], unawareUntilMs: 0 },
  svids: { signing: 'ab12', proxies: 1, current: 1, lagging: [] },
});

const running: OtherReplica = { sinceMs: 0, lost: false };

let server: FakeApiServer;
let api: ApiServer;
let clockMs: number;
let changes: number;
let failures: string[];
let pods: { own: string; others: Map<string, OtherReplica>; unknownSinceMs: number | undefined };
let silences: (readonly string[])[];
let watch: Opened | undefined;
let reports: ReplicaReports;
let stop: () => Promise<void>;
/** What is answered to a write. */
let written: (asked: Asked) => void;

function configMap(identity: string, version: number, packed: Buffer = packReport(report(1))): object {
  return {
    metadata: {
      name: `countersign-report-${identity}`,
      resourceVersion: String(version),
      annotations: {
        'security.countersign.dev/replica': identity,
        'security.countersign.dev/pod': `pod-${identity}`,
      },
    },
    binaryData: { report: packed.toString('base64') },
  };
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const probe = (): true => {
    if (holds()) return true;
    throw new Error(`so far: ${server.requests.join(', ')}`);
  };
  await waitFor(what, probe, { timeoutMs: 5_000, everyMs: 10 });
}
const writes = (): string[] => server.requests.filter((request) => !request.startsWith('GET'));

async function start(...there: readonly object[]): Promise<void> {
  server.answer = (asked) => {
    if (asked.method !== 'GET') written(asked);
    else if (asked.query.has('watch')) watch = asked.open();
    else asked.json(listOf(1, there));
  };
  reports = new ReplicaReports({
    api,
    namespace: 'home',
    identity: 'Me_1',
    pods,
    onSilent: (lines) => silences.push(lines),
    monotonicMs: () => clockMs,
    random: () => 0,
    onChange: () => (changes += 1),
    onFailing: (what) => failures.push(what),
    onRecovered: (what) => failures.push(`recovered: ${what}`),
    times: { everyMs: 20, renewMs: 10_000, goneMs: 30_000, sweepMs: 100 },
  });
  const stopping = new AbortController();
  const done = reports.run(stopping.signal);
  stop = async () => {
    stopping.abort();
    await done;
  };
  await until('the watch', () => watch !== undefined);
}

beforeEach(async () => {
  [clockMs, changes, failures, watch, silences] = [0, 0, [], undefined, []];
  pods = { own: 'me', others: new Map(), unknownSinceMs: undefined };
  written = ({ json }) => json({ metadata: { resourceVersion: '9' } });
  server = new FakeApiServer();
  api = new ApiServer({ access: await server.start() });
});
afterEach(async () => {
  await stop();
  await api.close();
  await server.stop();
});

describe('the own report', () => {
  it('is written when it changes, renewed when it does not, and taken back', async () => {
    await start();
    reports.publish(report(1));
    await until('the first', () => writes().length === 1);
    reports.publish(report(1));
    await sleep(100);
    expect(writes()).toHaveLength(1);
    reports.publish(report(2));
    await until('the change', () => writes().length === 2);
    clockMs = 10_000;
    await until('the renewal', () => writes().length === 3);
    await stop();
    expect(writes()).toEqual([
      ...Array.from({ length: 3 }, () => `PATCH ${collection}/countersign-report-me-1`),
      `DELETE ${collection}/countersign-report-me-1`,
    ]);
  });

  it('is made where it does not exist', async () => {
    written = ({ method, json }) => (method === 'PATCH' ? json({ message: 'none' }, 404) : json({}, 201));
    await start();
    reports.publish(report(1));
    await until('it', () => writes().includes(`POST ${collection}`));
    expect(failures).toEqual([]);
  });

  it('is tried again, and its failure told once', async () => {
    written = ({ json }) => json({ message: 'no' }, 403);
    await start();
    reports.publish(report(1));
    await until('three tries', () => writes().length >= 3);
    expect(failures).toEqual(['the own report to the other replicas']);
    written = ({ json }) => json({});
    await until('the return', () => failures.length === 2);
  });
});

describe('the reports of others', () => {
  it('count while they are seen to be renewed, by our own clock', async () => {
    await start(configMap('r1', 1), configMap('r2', 2));
    expect([...reports.others.keys()]).toEqual(['r1', 'r2']);
    clockMs = 20_000;
    watch?.events({ type: 'MODIFIED', object: configMap('r2', 3, packReport(report(5))) });
    await until('the renewal', () => reports.others.get('r2')?.bundle.sequence === 5);
    clockMs = 30_000;
    expect([...reports.others.keys()]).toEqual(['r2']);
    const before = changes;
    await until('that it is noticed', () => changes > before);
    watch?.events({ type: 'DELETED', object: configMap('r2', 4) });
    await until('nobody', () => reports.others.size === 0);
  });

  it('leave out our own, and what is no report', async () => {
    await start(configMap('me-1', 1), configMap('r1', 2, Buffer.from('edited')), configMap('r2', 3));
    expect([...reports.others.keys()]).toEqual(['r2']);
    expect(failures).toEqual([expect.stringContaining('countersign-report-r1')]);
  });

  it('count anew after a time in which nobody could be seen', async () => {
    await start(configMap('r1', 1));
    const { answer } = server;
    server.answer = ({ json }) => json({ message: 'away' }, 503);
    watch?.cut();
    await until('the failure', () => failures.length > 0);
    clockMs = 40_000;
    server.answer = answer;
    await until('the return', () => failures.some((each) => each.startsWith('recovered')));
    expect([...reports.others.keys()]).toEqual(['r1']);
  });

  it('are missed where a pod is ready and none of it is there, or none can be read', async () => {
    pods.others.set('pod-r1', running).set('pod-r2', running);
    await start(configMap('r1', 1));
    await until('the list', () => reports.others.size === 1);
    expect(reports.silent()).toEqual(['replica pod-r2 does not report']);
    expect(reports.silent('due')).toEqual([]);
    expect(reports.awaited()).toEqual(['replica pod-r2 has not reported yet']);
    clockMs = 10_000;
    expect(reports.silent('due')).toEqual(['replica pod-r2 does not report']);
    await until('that it is told', () => silences.length === 1);
    clockMs = 30_000;
    expect(reports.silent()).toEqual(['replica pod-r1 does not report', 'replica pod-r2 does not report']);
    pods.others.clear();
    pods.unknownSinceMs = 25_000;
    expect(reports.silent()).toEqual(['which replicas there are is not known']);
    expect(reports.silent('due')).toEqual([]);
  });

  it('are missed of a pod that may run where nobody can reach it, and what to do is said', async () => {
    pods.others.set('pod-r1', { ...running, lost: true });
    await start(configMap('r1', 1));
    await until('the list', () => reports.others.size === 1);
    expect(reports.silent()).toEqual([]);
    clockMs = 30_000;
    const line =
      'replica pod-r1 does not report and may still run on a node out of reach: if that node is dead for good, kubectl delete pod -n home pod-r1 --force';
    expect([reports.silent(), reports.silent('due')]).toEqual([[line], [line]]);
  });

  it('that were taken back are missed at once by who needs them, and by all once they would not count any more', async () => {
    pods.others.set('pod-r1', running);
    await start(configMap('r1', 1));
    await until('the list', () => reports.others.size === 1);
    clockMs = 25_000;
    watch?.events({ type: 'DELETED', object: configMap('r1', 2) });
    await until('that it is gone', () => reports.others.size === 0);
    const line = 'replica pod-r1 does not report';
    expect([reports.silent(), reports.silent('due'), reports.awaited()]).toEqual([[line], [], []]);
    clockMs = 30_000;
    expect([reports.silent(), reports.silent('due')]).toEqual([[line], [line]]);
  });

  it('are not held against anybody while the API server is away, only against a right that is missing', async () => {
    pods.others.set('pod-r1', running);
    await start(configMap('r1', 1));
    await until('the list', () => reports.others.size === 1);
    server.answer = ({ json }) => json({ message: 'away' }, 503);
    watch?.cut();
    await until('the failure', () => failures.length > 0);
    clockMs = 600_000;
    expect([...reports.others.keys()]).toEqual(['r1']);
    expect(reports.silent('due')).toEqual([]);
    expect(reports.silent()).toEqual(['the reports of the other replicas cannot be read']);
  });

  it('that may not be read are said to be unread', async () => {
    await start(configMap('r1', 1));
    await until('the list', () => reports.others.size === 1);
    server.answer = ({ json }) => json({ message: 'no' }, 403);
    watch?.cut();
    await until('the cut and the refusal', () => failures.length > 1);
    clockMs = 10_000;
    expect(reports.silent('due')).toEqual(['the reports of the other replicas cannot be read']);
  });

  it('are deleted by one replica when they have long not been renewed', async () => {
    await start(configMap('r1', 1), configMap('me-1', 2));
    const term = new AbortController();
    const done = reports.sweep(term.signal);
    await sleep(60);
    expect(writes()).toEqual([]);
    clockMs = 100;
    await until('the deletion', () => writes().length > 0);
    expect(writes()[0]).toBe(`DELETE ${collection}/countersign-report-r1`);
    expect(writes().some((each) => each.includes('me-1'))).toBe(false);
    term.abort();
    await done;
  });
});
