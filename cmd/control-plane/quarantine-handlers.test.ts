import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { AuditLog } from '../../src/audit/index.ts';
import { TrustDomain } from '../../src/identity/index.ts';
import { Mesh } from '../../src/mesh/index.ts';
import { openOperatorServer, type OperatorHandlers, type OperatorServer } from '../../src/operator/index.ts';
import { createLogger, createMetrics } from '../../src/telemetry/index.ts';
import { runInProcess, type Ran } from '../../test/harness/command.ts';
import { quarantineCommand } from '../quarantine.ts';
import { operatorSchema } from '../schema.ts';
import { quarantineHandlers } from './quarantine-handlers.ts';
import { Quarantine } from './quarantine.ts';

const FAULT = "the clock is 7200 s behind the API server's";
const web = ['--id', 'spiffe://cluster.local/ns/shop/sa/web', '--force'];
const why = ['--reason', 'stolen'];
const metrics = createMetrics();

let dataDir: string;
let quarantine: Quarantine;
let server: OperatorServer;
let fault: string | undefined;

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'countersign-'));
  fault = undefined;
  const sink = { write: (): void => {}, close: (): void => {} };
  quarantine = await Quarantine.open({
    ...{ dataDir, nowMs: Date.now, remark: () => {}, metrics },
    audit: new AuditLog({ sink, nowMs: Date.now, onError: () => {}, onRecovered: () => {} }),
    log: createLogger({ format: 'json', level: 'silent' }),
  });
  quarantine.useClock(Date.now);
  server = await openOperatorServer({
    root: operatorSchema(),
    dataDir,
    // Nobody calls the others.
    handlers: quarantineHandlers({
      quarantine,
      mesh: new Mesh({ rootNamespace: 'root' }),
      trustDomain: TrustDomain.parse('cluster.local'),
      enforcedHere: () => ({ entries: '', proxies: 0, current: 0, lagging: [] }),
      others: () => new Map(),
      silent: () => [],
      unshared: () => undefined,
      nowMs: Date.now,
      clockFault: () => fault,
    }) as OperatorHandlers,
    onError: (error) => expect.fail(String(error)),
  });
});
afterEach(async () => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
  await server.close();
  await quarantine.close();
  await rm(dataDir, { recursive: true });
});

async function ask(command: 'add' | 'remove' | 'list', ...argv: readonly string[]): Promise<Ran> {
  const ran = await runInProcess(quarantineCommand(), command, '--data-dir', dataDir, ...argv);
  vi.restoreAllMocks();
  process.exitCode = undefined;
  return ran;
}

describe('countersign quarantine', () => {
  it('names an entry that is in force and not written down, exit 1, and lifts it so', async () => {
    await mkdir(join(dataDir, 'quarantine.json'));
    const { out, err, exitCode } = await ask('add', ...web, ...why);
    expect(err).toBe('');
    expect(out).toMatch(
      /^(q-\w+) is in force\nenforced by 0\/0 proxies\nNOT WRITTEN DOWN: .*quarantine\.json cannot be written/u,
    );
    expect(exitCode).toBe(1);
    const [entry] = quarantine.ledger.entries;
    expect(out).toContain(entry?.name);
    expect((await ask('list')).out).toContain('NOT WRITTEN DOWN');
    const lifted = await ask('remove', entry?.name ?? '');
    expect(lifted).toMatchObject({ err: '', exitCode: 1 });
    expect(quarantine.ledger.entries).toEqual([]);
  });

  it('dates nothing by a clock that is wrong', async () => {
    fault = FAULT;
    for (const args of [
      web,
      [...web, '--for', '1h'],
      ['--issued-before', '2999-01-31T18:00:00Z', '--forever'],
    ]) {
      const { err, exitCode } = await ask('add', ...args, ...why);
      expect(err).toMatch(
        /neither an expiry nor --issued-before can be told here: the clock is 7200 s behind/u,
      );
      expect(exitCode).toBe(2);
    }
    expect(quarantine.ledger.entries).toEqual([]);
    const { err, exitCode } = await ask('add', ...web, '--forever', ...why);
    expect([err, exitCode ?? 0]).toEqual(['', 0]);
    expect(quarantine.ledger.entries).toHaveLength(1);
  });
});
