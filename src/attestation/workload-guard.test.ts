import { describe, expect, it } from 'vitest';
import type { MeshUpdate } from '../mesh/index.ts';
import { WorkloadGuard } from './index.ts';
import type { ProvenWorkload, Refusal } from './index.ts';
import { claimsOf, newWorld, sign, START_MS, WEB, WEB_ACCOUNT } from './testing/world.ts';
import type { World } from './testing/world.ts';

async function proven(): Promise<{ world: World; workload: ProvenWorkload }> {
  const world = await newWorld();
  const verdict = await world.attestor.attest(await sign(claimsOf()), { address: undefined });
  if (!verdict.ok) throw new Error(verdict.refusal.detail);
  return { world, workload: verdict.workload };
}

const endings: [string, MeshUpdate, Refusal['factor']][] = [
  ['is deleted', { op: 'delete', kind: 'Pod', key: 'shop/web-1' }, 'pod'],
  ['is made anew', { op: 'set', object: { ...WEB, uid: 'another' } }, 'pod'],
  ['terminates', { op: 'set', object: { ...WEB, terminating: true } }, 'pod'],
  ['finishes', { op: 'set', object: { ...WEB, phase: 'Failed' } }, 'pod'],
  ['changes its account', { op: 'set', object: { ...WEB, serviceAccount: 'cart' } }, 'service-account'],
  ['loses its account', { op: 'delete', kind: 'ServiceAccount', key: 'shop/web' }, 'service-account'],
  ['has its account made anew', { op: 'set', object: { ...WEB_ACCOUNT, uid: 'x' } }, 'service-account'],
  ['changes its node', { op: 'set', object: { ...WEB, nodeName: 'node-b' } }, 'node'],
];

describe('recheck', () => {
  it('finds nothing while the pod lives, whatever else changes about it', async () => {
    const { world, workload } = await proven();
    world.mesh.update([{ op: 'set', object: { ...WEB, labels: {}, ips: ['10.9.9.9'] } }]);
    expect(world.attestor.recheck(workload)).toBeUndefined();
  });

  it.each(endings)('refuses when the pod %s', async (_, update, factor) => {
    const { world, workload } = await proven();
    world.mesh.update([update]);
    expect(world.attestor.recheck(workload)).toMatchObject({ factor, code: 'PERMISSION_DENIED' });
  });

  it('refuses from the moment the token has expired', async () => {
    const { world, workload } = await proven();
    world.now = START_MS + 3_599_999;
    expect(world.attestor.recheck(workload)).toBeUndefined();
    world.now += 1;
    expect(world.attestor.recheck(workload)).toMatchObject({ factor: 'token', code: 'UNAUTHENTICATED' });
  });
});

describe('watchRevocation', () => {
  it.each(endings)('calls back once when the pod %s', async (_, update, factor) => {
    const { world, workload } = await proven();
    const gone: Refusal[] = [];
    world.attestor.watchRevocation(workload, (refusal) => gone.push(refusal));
    world.mesh.update([{ op: 'set', object: { ...WEB, labels: { changed: 'yes' } } }]);
    expect(gone).toEqual([]);
    world.mesh.update([update]);
    expect(gone.map((refusal) => refusal.factor)).toEqual([factor]);
    world.mesh.update([{ op: 'set', object: { ...WEB, uid: 'third' } }]);
    expect(gone).toHaveLength(1);
  });

  it('calls back when the pod went between its proof and the call, after returning', async () => {
    const { world, workload } = await proven();
    world.mesh.update([{ op: 'delete', kind: 'Pod', key: 'shop/web-1' }]);
    const gone: Refusal[] = [];
    world.attestor.watchRevocation(workload, (refusal) => gone.push(refusal));
    const stop = world.attestor.watchRevocation(workload, () => gone.push(undefined as never));
    stop();
    expect(gone).toEqual([]);
    await Promise.resolve();
    expect(gone.map(({ factor }) => factor)).toEqual(['pod']);
  });

  it('stops when told to, for that caller alone', async () => {
    const { world, workload } = await proven();
    const called: string[] = [];
    const stop = world.attestor.watchRevocation(workload, () => called.push('a'));
    world.attestor.watchRevocation(workload, () => called.push('b'));
    stop();
    stop();
    world.mesh.update([{ op: 'delete', kind: 'Pod', key: 'shop/web-1' }]);
    expect(called).toEqual(['b']);
  });

  it('lets a throwing callback harm nobody else, and reports it', async () => {
    const { world, workload } = await proven();
    const errors: unknown[] = [];
    const { mesh } = world;
    const onCallbackError = (error: unknown): number => errors.push(error);
    const guard = new WorkloadGuard({ mesh, nowMs: () => START_MS, onCallbackError });
    const broken = (): never => {
      throw new Error('broken callback');
    };
    const called: string[] = [];
    guard.watchRevocation(workload, broken);
    guard.watchRevocation(workload, () => called.push('second'));
    mesh.update([{ op: 'delete', kind: 'Pod', key: 'shop/web-1' }]);
    expect(called).toEqual(['second']);
    expect(errors).toEqual([new Error('broken callback')]);
    guard.watchRevocation(workload, broken);
    await Promise.resolve();
    expect(errors).toHaveLength(2);
  });

  it('keeps nothing of those that are gone or stopped, and nothing after close', async () => {
    const { world, workload } = await proven();
    const guard = new WorkloadGuard({ mesh: world.mesh, nowMs: () => world.now });
    const called: string[] = [];
    guard.watchRevocation(workload, () => called.push('a'))();
    expect(guard.watched).toBe(0);
    guard.watchRevocation(workload, () => called.push('b'));
    guard.close();
    expect(guard.watched).toBe(0);
    world.mesh.update([{ op: 'delete', kind: 'Pod', key: 'shop/web-1' }]);
    expect(called).toEqual([]);
  });
});
