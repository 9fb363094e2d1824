import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { UidClaims } from './uid-claims.ts';

it('names every UID that several claim now, and just those, after any changes', () => {
  const step = fc.tuple(
    fc.constantFrom('a', 'b', 'c', 'd'),
    fc.option(fc.constantFrom('1', '2', '3'), { nil: undefined }),
  );
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const claims = new UidClaims();
      for (const [object, uid] of steps) claims.set(object, uid);
      const claimants = Map.groupBy(new Map(steps), ([, uid]) => uid);
      const expected = [...claimants].flatMap(([uid, objects]) =>
        uid === undefined || objects.length < 2
          ? []
          : [
              `${uid}: ${objects
                .map(([id]) => id)
                .sort()
                .join()}`,
            ],
      );
      expect([...claims.shared()].map(([uid, ids]) => `${uid}: ${[...ids].sort().join()}`).sort()).toEqual(
        expected.sort(),
      );
    }),
    { numRuns: 300 },
  );
});
