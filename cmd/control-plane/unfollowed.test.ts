import { expect, it } from 'vitest';
import { ApiServerError } from '../../src/kubernetes/index.ts';
import type { Metrics } from '../../src/telemetry/index.ts';
import { Unfollowed } from './unfollowed.ts';

it('says what is not followed, and since when, until it is followed again', () => {
  let count = -1;
  let said: string | undefined = 'nothing was said';
  let nowMs = Date.UTC(2026, 0, 1);
  const unfollowed = new Unfollowed(
    { unfollowed: { set: (value: number) => (count = value) } } as unknown as Metrics,
    (_, what) => (said = what),
    () => nowMs,
  );
  expect(count).toBe(0);
  const error = new ApiServerError('UNREACHABLE', 'away');
  unfollowed.take({ kind: 'failing', resource: 'services', error });
  nowMs += 1_000;
  unfollowed.take({ kind: 'failing', resource: 'pods', error });
  expect(count).toBe(2);
  expect(said).toBe(
    'not followed since 2026-01-01T00:00:00.000Z: pods, services; what is known stays in force',
  );
  unfollowed.take({ kind: 'recovered', resource: 'services' });
  unfollowed.take({ kind: 'recovered', resource: 'pods' });
  expect([count, said]).toEqual([0, undefined]);

  unfollowed.take({ kind: 'remembered', objects: 3 });
  expect(said).toBe(
    'not followed since 2026-01-01T00:00:01.000Z: everything, as an earlier run knew it; what is known stays in force',
  );
  unfollowed.take({ kind: 'synced' });
  expect(said).toBeUndefined();
});
