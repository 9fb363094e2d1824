import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AuditLog } from '../../src/audit/index.ts';
import { ObjectShelf } from '../../src/cluster/testing.ts';
import { ApiServer } from '../../src/kubernetes/index.ts';
import { FakeApiServer, listOf } from '../../src/kubernetes/testing.ts';
import { EMPTY, parseLedger, serializeLedger, withEntry, type Entry } from '../../src/quarantine/index.ts';
import { createLogger, createMetrics } from '../../src/telemetry/index.ts';
import { waitFor } from '../../test/harness/wait.ts';
import type { HomeOptions } from './home.ts';
import { Quarantine } from './quarantine.ts';
import { quarantineObject, readShared, shareQuarantine } from './shared-quarantine.ts';

const COLLECTION = '/api/v1/namespaces/home/configmaps';
const OBJECT = `${COLLECTION}/countersign-quarantine`;
const HOUR = 3_600_000;
const subject = { kind: 'id', id: 'spiffe://cluster.local/ns/shop/sa/web' } as const;
const metrics = createMetrics();

let dataDir: string;
let fake: FakeApiServer;
let shelf: ObjectShelf;
let api: ApiServer;
let quarantine: Quarantine;
let remarks: Map<string, string>;
let options: HomeOptions;
/** What replicas end entries by. */
let endingMs: number | undefined;
const closers: (() => Promise<void>)[] = [];

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'countersign-'));
  fake = new FakeApiServer();
  shelf = new ObjectShelf();
  fake.answer = (asked) => {
    if (asked.method !== 'GET' || asked.path !== COLLECTION) shelf.answer(asked);
    else if (asked.query.get('watch') === null) asked.json(listOf(1, [...shelf.objects.values()]));
    else asked.open();
  };
  api = new ApiServer({ access: await fake.start() });
  remarks = new Map();
  endingMs = Date.now();
  const log = createLogger({ format: 'json', level: 'silent' });
  const sink = { write: (): void => {}, close: (): void => {} };
  const audit = new AuditLog({ sink, nowMs: Date.now, onError: () => {}, onRecovered: () => {} });
  const remark = (name: string, what: string | undefined): void =>
    void (what === undefined ? remarks.delete(name) : remarks.set(name, what));
  quarantine = await Quarantine.open({ dataDir, nowMs: Date.now, remark, audit, log, metrics });
  quarantine.useClock(() => endingMs);
  const tell = { starting: (): void => {}, remark };
  options = {
    ...{ quarantine, witnesses: { audit, log, metrics }, tell },
    signal: new AbortController().signal,
  } as unknown as HomeOptions;
});
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
  await quarantine.close();
  await api.close();
  await fake.stop();
  await rm(dataDir, { recursive: true });
});

async function share(): Promise<void> {
  const object = quarantineObject(api, 'home', options);
  await readShared(object, options);
  closers.push(shareQuarantine(object, options));
}

function shared(): readonly string[] {
  const { data } = (shelf.objects.get(OBJECT) ?? {}) as { data?: Readonly<Record<string, string>> };
  return parseLedger(data?.['quarantine.json'] ?? serializeLedger(EMPTY)).entries.map(({ reason }) => reason);
}

/** As another replica has written it. */
function put(...entries: readonly Entry[]): void {
  const ledger = { entries, removals: [] };
  shelf.put(OBJECT, {
    metadata: { name: 'countersign-quarantine' },
    data: { 'quarantine.json': serializeLedger(ledger) },
  } as Parameters<ObjectShelf['put']>[1]);
}

function entry(reason: string, expiresAtMs: number | undefined): Entry {
  return { name: 'q-00000000aa', subject, reason, by: 'b', addedAtMs: Date.now(), expiresAtMs };
}

const decision = { subject, by: 'a', expiresAtMs: undefined };

describe('the quarantine of several replicas', () => {
  it('is shared by one that cannot write it down', async () => {
    put(entry('there', undefined));
    await share();
    await rm(join(dataDir, 'quarantine.json'));
    await mkdir(join(dataDir, 'quarantine.json'));
    await quarantine.add({ ...decision, reason: 'here' });
    await waitFor('it to be shared', async () => (shared().length === 2 ? true : undefined));
    expect(shared().toSorted()).toEqual(['here', 'there']);
    expect(quarantine.unkept).toMatch(/quarantine\.json cannot be written/u);
    expect([...remarks.keys()]).toEqual(['quarantine']);
  });

  it('keeps what others decided, while the clock is wrong', async () => {
    endingMs = undefined;
    put(entry('over by this clock', Date.now() - HOUR));
    await share();
    await quarantine.add({ ...decision, reason: 'here' });
    await waitFor('it to be shared', async () => (shared().includes('here') ? true : undefined));
    expect(shared()).toHaveLength(2);
    expect(quarantine.ledger.entries).toHaveLength(2);
  });

  it('is not written for what has ended alone', async () => {
    put(entry('over', Date.now() - HOUR));
    await share();
    expect(quarantine.ledger).toEqual(EMPTY);
    const other = withEntry(EMPTY, { ...entry('taken over', undefined), name: 'q-00000000bb' });
    await waitFor('it to be followed', async () =>
      fake.requests.some((line) => line.includes('watch=')) ? true : undefined,
    );
    expect(fake.requests.filter((line) => !line.startsWith('GET'))).toEqual([]);
    await quarantine.follow(other, 'a test');
    await waitFor('it to be written', async () => (shared().includes('taken over') ? true : undefined));
    expect(shared()).toEqual(['taken over']);
  });
});
