import { describe, expect, it } from 'vitest';
import { operatorCa } from '../../test/harness/operator-ca.ts';
import { AuditLog } from '../../src/audit/index.ts';
import {
  Authority,
  caParts,
  checkCa,
  memoryKeyStore,
  type KeyStore,
  type PluggedCa,
} from '../../src/authority/index.ts';
import { TrustDomain } from '../../src/identity/index.ts';
import type { Proxies } from '../../src/proxy/index.ts';
import { packReport, unpackReport, type Report } from '../../src/status/index.ts';
import { createLogger } from '../../src/telemetry/index.ts';
import { RootRotation } from './root-rotation.ts';

const trustDomain = TrustDomain.parse('example.org');
const without =
  'cannot sign below the new root: the CA of that root has not arrived there or was refused, which its log and /readyz say';

async function plugged(name: string): Promise<PluggedCa> {
  const { pem, keyPem } = await operatorCa({ name });
  const parts = caParts({ certificates: pem, key: keyPem, roots: '' }, name);
  return await checkCa(parts, { trustDomain, nowMs: Date.now(), dnsNames: [], ipAddresses: [] });
}

const sink = { write: () => {}, close: () => {} };

interface Replica {
  readonly store: KeyStore;
  readonly authority: Authority;
  readonly rotation: RootRotation;
  /** What it is told of the others. */
  readonly others: Map<string, Report>;
}

async function replica(store: KeyStore, ca?: PluggedCa): Promise<Replica> {
  const authority = await Authority.open({ store, trustDomain, nowMs: Date.now, svidTtlMs: 60_000, ca });
  const others = new Map<string, Report>();
  const rotation = new RootRotation({
    authority,
    // With no stream, it is asked for nothing.
    proxies: {} as Proxies,
    streams: () => [],
    unawareUntilMs: () => 0,
    others: () => others,
    silent: () => [],
    refreshHintMs: undefined,
    audit: new AuditLog({ sink, nowMs: Date.now, onError: () => {}, onRecovered: () => {} }),
    log: createLogger({ format: 'json', level: 'silent' }),
  });
  return { store, authority, rotation, others };
}

/** Two on one store, of which the first has prepared a rotation that the second has followed. */
async function two(former?: PluggedCa, next?: PluggedCa): Promise<readonly [Replica, Replica]> {
  const store = memoryKeyStore();
  const [one, other] = [await replica(store, former), await replica(store, former)];
  if (next !== undefined) await one.authority.plugIn(next);
  await one.authority.prepareRotation();
  await other.authority.follow((await store.load())!);
  return [one, other];
}

/** As it comes over. */
function reportOf({ rotation }: Replica): Report {
  return unpackReport(packReport({ policies: new Map(), ...rotation.report() }));
}

describe('activate, with several replicas', () => {
  it("waits until each of them has the operator's CA that is to sign", async () => {
    const next = await plugged('next');
    const [one, other] = await two(await plugged('former'), next);
    one.others.set('r1', reportOf(other));
    expect(one.rotation.lagging('activate')).toEqual([`replica r1 ${without}`]);
    await expect(one.rotation.take('activate', false, 'test')).rejects.toThrow(`replica r1 ${without}`);
    await other.authority.plugIn(next);
    one.others.set('r1', reportOf(other));
    expect(one.rotation.lagging('activate')).toEqual([]);
  });

  it('is refused in words by the one that lacks it, forced too', async () => {
    const [one, other] = await two(await plugged('former'), await plugged('next'));
    other.others.set('r0', reportOf(one));
    expect(other.rotation.lagging('activate')).toEqual([`this replica ${without}`]);
    await expect(other.rotation.take('activate', true, 'test')).rejects.toMatchObject({
      code: 'ROTATION_REFUSED',
      message: expect.stringContaining("an operator's CA signs, and it is not at hand") as string,
    });
    expect(other.authority.rotation.step).toBe('prepared');
  });

  it('waits for one of an earlier release, which does not say so', async () => {
    const [one, other] = await two();
    const { svids, ...report } = reportOf(other);
    const { canSign: _, ...former } = svids;
    one.others.set('r1', { ...report, svids: former });
    expect(one.rotation.lagging('activate')).toEqual([
      'replica r1 does not say whether it can sign below the new root: it is of an earlier release, so bring it to this one',
    ]);
  });

  it('needs nothing more where the shared state holds the key, and names who is behind once', async () => {
    const [one, other] = await two();
    one.others.set('r1', reportOf(other));
    expect(one.rotation.lagging('activate')).toEqual([]);
    const behind = await replica(memoryKeyStore());
    one.others.set('r1', reportOf(behind));
    expect(one.rotation.lagging('activate')).toEqual(['replica r1 gives out an earlier bundle']);
  });

  it('asks for nothing of the kind once it was done', async () => {
    const next = await plugged('next');
    const [one, other] = await two(await plugged('former'), next);
    await one.rotation.take('activate', true, 'test');
    one.others.set('r1', reportOf(other));
    expect(one.rotation.lagging('retire')).toContain('replica r1 signs below another root');
  });
});
