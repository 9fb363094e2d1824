import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { AuditLog } from '../../src/audit/index.ts';
import { parseLedger } from '../../src/quarantine/index.ts';
import { createLogger, createMetrics } from '../../src/telemetry/index.ts';
import { Quarantine } from './quarantine.ts';

const NOW = Date.UTC(2026, 10, 22, 12);
const subject = { kind: 'id', id: 'spiffe://cluster.local/ns/shop/sa/web' } as const;
const decision = { subject, reason: 'stolen', by: 'somebody', expiresAtMs: NOW + 60_000 };
const suspect = {
  id: subject.id,
  pod: { namespace: 'shop', name: 'web', uid: 'uid-1', nodeName: 'node-1' },
};

let dataDir: string;
let remarks: Map<string, string>;
const metrics = createMetrics();
const opened: Quarantine[] = [];

async function open(endingMs: () => number | undefined = Date.now): Promise<Quarantine> {
  const quarantine = await Quarantine.open({
    dataDir,
    nowMs: Date.now,
    remark: (name, what) => void (what === undefined ? remarks.delete(name) : remarks.set(name, what)),
    audit: new AuditLog({
      sink: { write: () => {}, close: () => {} },
      nowMs: Date.now,
      onError: () => {},
      onRecovered: () => {},
    }),
    log: createLogger({ format: 'json', level: 'silent' }),
    metrics,
  });
  opened.push(quarantine);
  quarantine.useClock(endingMs);
  return quarantine;
}

beforeEach(async () => {
  vi.useFakeTimers({ now: NOW, toFake: ['Date', 'setTimeout', 'clearTimeout'] });
  dataDir = await mkdtemp(join(tmpdir(), 'countersign-'));
  remarks = new Map();
});
afterEach(async () => {
  for (const quarantine of opened.splice(0)) await quarantine.close();
  vi.useRealTimers();
  await rm(dataDir, { recursive: true });
});

describe('Quarantine', () => {
  it('is in force before it is written, and written when it is said to be', async () => {
    const quarantine = await open();
    const told = vi.fn(() => quarantine.rulesOf(suspect));
    quarantine.onChange(told);
    const adding = quarantine.add(decision);
    expect(told).toHaveBeenCalledOnce();
    expect(quarantine.rulesOf(suspect)).toMatchObject([{ callers: { kind: 'everyone' } }]);
    const entry = await adding;
    const kept = parseLedger(await readFile(join(dataDir, 'quarantine.json'), 'utf8'));
    expect(kept.entries).toEqual([entry]);
    expect((await open()).ledger.entries).toEqual([entry]);
  });

  it('ends by the clock, and so in a start after its end', async () => {
    const quarantine = await open();
    await quarantine.add(decision);
    vi.advanceTimersByTime(59_999);
    expect(quarantine.entryAgainst(suspect)).toBeDefined();
    vi.advanceTimersByTime(1);
    expect(quarantine.entryAgainst(suspect)).toBeUndefined();
    await quarantine.close();
    expect((await open()).ledger.entries).toEqual([]);
  });

  it('ends for nobody while nobody can tell the time, be it in a start, and at once when somebody can', async () => {
    let isRight = false;
    const endingMs = (): number | undefined => (isRight ? Date.now() : undefined);
    const before = await open();
    await before.add(decision);
    await before.close();
    vi.advanceTimersByTime(25 * 3_600_000);
    const quarantine = await open(endingMs);
    await quarantine.follow(quarantine.ledger, 'another replica');
    vi.advanceTimersByTime(60_000);
    expect(quarantine.entryAgainst(suspect)).toBeDefined();
    const kept = parseLedger(await readFile(join(dataDir, 'quarantine.json'), 'utf8'));
    expect(kept.entries).toHaveLength(1);
    isRight = true;
    vi.advanceTimersByTime(10_000);
    expect(quarantine.entryAgainst(suspect)).toBeUndefined();
  });

  it('writes nothing for a start alone: it is not known yet what others know', async () => {
    const quarantine = await open();
    await quarantine.close();
    expect(quarantine.isKept).toBe(false);
    expect(await readdir(dataDir)).toEqual([]);
  });

  it('that cannot be written is in force, says so, and is written later', async () => {
    const quarantine = await open();
    const file = join(dataDir, 'quarantine.json');
    await mkdir(file);
    const entry = await quarantine.add(decision);
    expect(quarantine.entryAgainst(suspect)).toBe(entry);
    expect(quarantine.unkept).toMatch(/lost with a restart .*quarantine\.json cannot be written/u);
    expect(remarks.get('quarantine')).toBe(quarantine.unkept);
    await rm(file, { recursive: true });
    await quarantine.follow(quarantine.ledger, 'again');
    expect(remarks.size).toBe(0);
    expect(quarantine.unkept).toBeUndefined();
    expect(await readdir(dataDir)).toEqual(['quarantine.json']);
  });

  it('with a damaged file is none at all', async () => {
    await writeFile(join(dataDir, 'quarantine.json'), '{"version": 1}');
    await expect(open()).rejects.toThrowError(
      /quarantine\.json: the quarantine cannot be read: .* Nothing is started/u,
    );
  });
});
